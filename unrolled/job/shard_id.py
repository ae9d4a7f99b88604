"""Naming a shard and its part."""

import re
from dataclasses import dataclass
from typing import Self

from unrolled.errors import PayloadError

_SHARD = re.compile(r"([0-9]{6,12})-([0-9a-f]{12})")
_PART = re.compile(r"part-(.+)\.parquet")


@dataclass(frozen=True, order=True, slots=True)
class ShardId:
    """Which shard of its job, and of what content; as text "000042-0123456789ab".

    Attributes:
        index: position of the shard in its job, from 0, below 10**12.
        hash: 12 lower-case hexadecimal digits of the content's hash.
    """

    index: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one spelling that `str()` gives; ids come from outside and become file names.

        Raises:
            PayloadError: the text is anything else.
        """
        found = _SHARD.fullmatch(text)
        shard = found and cls(int(found[1]), found[2])
        if not shard or str(shard) != text:
            raise PayloadError(
                f"shard id {text[:80]!r} is not 6 to 12 digits, '-' and 12 hexadecimal digits, as in"
                " 000042-0123456789ab; the message was not sent by this product: drop it"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.index:06d}-{self.hash}"


def part_name(shard: ShardId) -> str:
    """The name of a shard's file: part-000042-0123456789ab.parquet."""
    return f"part-{shard}.parquet"


def shard_of_part(name: str) -> ShardId:
    """Which shard a file name belongs to.

    Raises:
        PayloadError: the name is not one that `part_name` gives.
    """
    found = _PART.fullmatch(name)
    return ShardId.parse(found[1] if found else name)
