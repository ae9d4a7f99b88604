"""The name of a shard, and of its part."""

import re
from dataclasses import dataclass
from typing import Self

from unrolled.errors import PayloadError

_SHARD = re.compile(r"([0-9]{6,12})-([0-9a-f]{12})")
_HASH = re.compile(r"[0-9a-f]{12}")
_END = 10**12
_PART = re.compile(r"part-(.+)\.parquet")


@dataclass(frozen=True, order=True, slots=True)
class ShardId:
    """Which shard of its job, with which content; as text "000042-0123456789ab".

    Shards are ordered by their index, which is the order of the input. Every ShardId is safe in a file name.

    Attributes:
        index: position of the shard in its job, from 0, below 10**12.
        hash: first 12 hexadecimal digits of the content's SHA-256, in lower case.

    Raises:
        PayloadError: a value is out of range.
    """

    index: int
    hash: str

    def __post_init__(self) -> None:
        if not 0 <= self.index < _END or not _HASH.fullmatch(self.hash):
            raise PayloadError(
                f"shard {self.index!r:.80} with hash {self.hash!r:.80}: an index from 0 to {_END - 1} "
                "and 12 hexadecimal digits are expected"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the one spelling that `str()` gives. Ids come from outside and become file names.

        Raises:
            PayloadError: the text is anything else.
        """
        found = _SHARD.fullmatch(text)
        shard = found and cls(int(found[1]), found[2])
        if not shard or str(shard) != text:
            raise PayloadError(
                f"shard id {text[:80]!r}: 6 to 12 digits, '-' and 12 hexadecimal digits are expected, "
                "as in 000042-0123456789ab"
            )
        return shard

    def __str__(self) -> str:
        return f"{self.index:06d}-{self.hash}"


def part_name(shard: ShardId) -> str:
    """The file name of a shard's part: part-000042-0123456789ab.parquet."""
    return f"part-{shard}.parquet"


def shard_of_part(name: str) -> ShardId:
    """The shard whose part has this file name.

    Raises:
        PayloadError: the name is not one that `part_name` gives.
    """
    found = _PART.fullmatch(name)
    if not found:
        raise PayloadError(f"file name {name[:80]!r}: a part's is expected, as in part-000042-0123456789ab.parquet")
    return ShardId.parse(found[1])
