"""How the queue names one shard of one job."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from unrolled.errors import PayloadError
from unrolled.job.shard_id import ShardId

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Names a job in Redis, see `JobDirectory.key`.
JOB_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """One shard of one job: a member of the ledger, and what a message points to.

    In the ledger it is the text "0123456789abcdef/000042-0123456789ab", in a message the two values
    ["0123456789abcdef", "000042-0123456789ab"].

    Attributes:
        job_key: 16 lower-case hexadecimal digits, `JobDirectory.key`.
        shard: which shard of the job.
    """

    job_key: str
    shard: ShardId

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text that `str()` gives, and no other.

        Raises:
            PayloadError: the text names no shard.
        """
        return cls.decode(text.split("/", 1))

    def __str__(self) -> str:
        return f"{self.job_key}/{self.shard}"

    @classmethod
    def decode(cls, values: Sequence[object]) -> Self:
        """Read the values of a message. Anybody with access to Redis may have sent it, so they may be anything.

        Raises:
            PayloadError: they are not a job key and a shard id.
        """
        if len(values) != 2:  # noqa: PLR2004 - the job key and the shard id
            raise PayloadError(f"{len(values)} value(s) found; two are expected, a job key and a shard id")
        job_key, shard = values
        if not isinstance(job_key, str) or not JOB_KEY.fullmatch(job_key):
            raise PayloadError(f"job key {str(job_key)[:80]!r}: 16 hexadecimal digits are expected")
        if not isinstance(shard, str):
            raise PayloadError(f"shard id {str(shard)[:80]!r}: a string is expected")
        return cls(job_key, ShardId.parse(shard))

    def encode(self) -> list[str]:
        """The values of its message, for JSON."""
        return [self.job_key, str(self.shard)]
