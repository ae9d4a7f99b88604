"""Naming a shard and its part."""

import re
from dataclasses import dataclass
from typing import Self

from unrolled.errors import PayloadError

_SHARD = re.compile(r"([0-9]{6,12})(r{0,64})-([0-9a-f]{12})")
_PART = re.compile(r"part-(.+)\.parquet")


@dataclass(frozen=True, order=True, slots=True)
class ShardId:
    """Which shard of its job, and of what content; as text "000042-0123456789ab", its first retry "000042r-…".

    Attributes:
        index: position of the shard in its job, from 0, below 10**12; a retry has its source's.
        retries: how often rows of this place have failed and were brought again; 0 for rows of the input.
        hash: 12 lower-case hexadecimal digits of the hash over all that is in it.
    """

    index: int
    retries: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one spelling that `str()` gives; ids come from outside and become names of objects.

        Raises:
            PayloadError: the text is anything else.
        """
        found = _SHARD.fullmatch(text)
        shard = found and cls(int(found[1]), len(found[2]), found[3])
        if not shard or str(shard) != text:
            raise PayloadError(
                f"shard id {text[:80]!r} is not 6 to 12 digits, an r for each retry, '-' and 12 hexadecimal digits, "
                "as in 000042-0123456789ab; the message was not sent by this product: drop it"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.index:06d}{'r' * self.retries}-{self.hash}"


def part_name(shard: ShardId) -> str:
    """The name of a shard's part: part-000042-0123456789ab.parquet."""
    return f"part-{shard}.parquet"


def shard_of_part(name: str) -> ShardId:
    """The shard that a part belongs to.

    Raises:
        PayloadError: the name is not one that `part_name` gives.
    """
    found = _PART.fullmatch(name)
    return ShardId.parse(found[1] if found else name)
