"""The name of one life of one shard in the queue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from unrolled.errors import PayloadError, counted
from unrolled.job.names import Life

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.job.shard_id import ShardId

#: The form of a job's name in Redis, see `OpenJob.key`.
JOB_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, order=True, slots=True)
class Member:
    """One life of one shard of one job, in the ledger and in a message.

    In the ledger it is the text "0123456789abcdef/000042-0123456789ab.0", in a message the two values
    ["0123456789abcdef", "000042-0123456789ab.0"].

    Attributes:
        job_key: 16 lower-case hexadecimal digits, see `OpenJob.key`.
        life: the shard, and which of its lives.
    """

    job_key: str
    life: Life

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text that `str()` gives.

        Raises:
            PayloadError: the text is malformed.
        """
        return cls.decode(text.split("/", 1))

    @property
    def shard(self) -> ShardId:
        """The shard."""
        return self.life.shard

    def __str__(self) -> str:
        return f"{self.job_key}/{self.life}"

    @classmethod
    def decode(cls, values: Sequence[object]) -> Self:
        """Read the values of a message. Anybody with access to Redis may have sent it, so they may be anything.

        Raises:
            PayloadError: the values aren't a job key and a life.
        """
        if len(values) != 2:  # noqa: PLR2004 - the job key and the shard id
            raise PayloadError(
                f"{counted(len(values), 'value')} found; two are expected, a job key and the life of a shard"
            )
        job_key, life = values
        if not isinstance(job_key, str) or not JOB_KEY.fullmatch(job_key):
            raise PayloadError(f"job key {str(job_key)[:80]!r}: 16 hexadecimal digits are expected")
        if not isinstance(life, str):
            raise PayloadError(f"life {str(life)[:80]!r}: a string is expected")
        return cls(job_key, Life.parse(life))

    def encode(self) -> list[str]:
        """The values of the member's message, for JSON."""
        return [self.job_key, str(self.life)]
