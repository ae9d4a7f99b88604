"""The seconds of each shard by stage; `worker.runtime.telemetry.metrics` counts those of all shards together."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.opening import OpenJob

Stage = Literal["wait", "read", "compute", "write"]


@dataclass(slots=True, eq=False)
class ShardSeconds:
    """The measured time of one attempt that ended with a part.

    The four stages together are the attempt's time on its thread.

    Attributes:
        job: the shard's job.
        shard: the shard.
        rows: number of rows in the shard.
        tokens: number of real tokens in the shard.
        computed: steps that the engine computed for them, in proportion to the shard's share of its pool.
        wait: seconds in which the shard waited for memory, or for the engine while it computed other shards.
        read: seconds for reading the rows, and for checking them.
        compute: seconds of the engine: its time for the pool, in proportion to the shard's share of the tokens.
        write: seconds for encoding the part and for making it durable.
    """

    job: OpenJob
    shard: ShardId
    rows: int = 0
    tokens: int = 0
    computed: float = 0.0
    wait: float = 0.0
    read: float = 0.0
    compute: float = 0.0
    write: float = 0.0


class ShardTimes:
    """Collects the seconds of the attempts of many threads at once.

    Args:
        observers: called with the times of each attempt that ended with a part, on the attempt's thread; they must be
            quick and must not raise.
    """

    def __init__(self, observers: Sequence[Callable[[ShardSeconds], None]] = ()) -> None:
        self._observers = observers
        self._of_thread = threading.local()

    @contextlib.contextmanager
    def attempt(self, job: OpenJob, shard: ShardId) -> Iterator[None]:
        """Collect this thread's seconds for one shard until the block ends; only a written part is recorded."""
        self._of_thread.seconds = seconds = ShardSeconds(job, shard)
        try:
            yield
        finally:
            self._of_thread.seconds = None
        if seconds.write:
            for observe in self._observers:
                observe(seconds)

    def add(self, name: Stage, seconds: float) -> None:
        """Add seconds to a stage of this thread's attempt, if it has one."""
        if (current := self._current) is not None:
            setattr(current, name, getattr(current, name) + seconds)

    def computed(self, *, rows: int, tokens: int, computed: float, engine_seconds: float, all_seconds: float) -> None:
        """Add what the pool did for the shard of this thread's attempt.

        Args:
            rows: rows of the shard.
            tokens: real tokens of the shard.
            computed: steps that the engine computed for them.
            engine_seconds: the shard's share of the engine's time.
            all_seconds: how long the thread waited for its result.
        """
        if (current := self._current) is not None:
            current.rows, current.tokens, current.computed = rows, tokens, computed
            current.compute += engine_seconds
            current.wait += max(0.0, all_seconds - engine_seconds)

    @property
    def _current(self) -> ShardSeconds | None:
        return getattr(self._of_thread, "seconds", None)
