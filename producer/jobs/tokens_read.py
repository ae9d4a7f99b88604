"""How many of a job's tokens its parts have, and in how many of these a verification has looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log


class TokensRead:
    """Tokens of the parts that are there: how many are read, and how many there are.

    The log says how many tokens each shard has. Rows that the engine failed on are in no part, or in that of the shard
    which tried them again; how many tokens they have is known once they were retried, or once their part is read. Till
    then they count.

    Args:
        log: the job's, with every shard whose part is there.
        published: bool (shards,), True for each shard of the log whose part is there.

    Attributes:
        done: real tokens in the parts that were read.
        total: real tokens in all parts.
    """

    def __init__(self, log: Log, published: NDArray[np.bool_]) -> None:
        self._log, self._published = log, published
        again = (log.entries[log.retried[source]].tokens for source in log.retried if self._is_there(source))
        self.done = 0
        self.total = int(log.entries.columns["tokens"][published].sum()) - sum(again)

    def add(self, shard: ShardId, found: int | None) -> None:
        """Note that a shard was looked at.

        Args:
            shard: a shard of the log, also one whose part isn't there.
            found: real tokens in its part; None if it has no part, or one that can't be trusted.
        """
        if not self._is_there(shard):
            return
        again = self._log.retried.get(shard)
        expected = self._log.entries[shard].tokens - (0 if again is None else self._log.entries[again].tokens)
        real = expected if found is None else found
        self.done += real
        self.total += real - expected

    def _is_there(self, shard: ShardId) -> bool:
        number = self._log.entries.number(shard)
        return number is not None and bool(self._published[number])
