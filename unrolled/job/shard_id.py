"""The name of a shard, and of its part."""

import re
from dataclasses import dataclass
from typing import Self

from unrolled.errors import PayloadError

#: Most retries of one row. Each retry makes the part's name a letter longer.
MOST_RETRIES = 64

_SHARD = re.compile(rf"([0-9]{{6}}|[1-9][0-9]{{6,11}})(r{{0,{MOST_RETRIES}}})-([0-9a-f]{{12}})")
_HASH = re.compile(r"[0-9a-f]{12}")
#: Indices are below this.
INDEX_END = 10**12
_PART = re.compile(r"part-(.+)\.parquet")


@dataclass(frozen=True, order=True, slots=True)
class ShardId:
    """A shard's position in its job and its content; as text "000042-0123456789ab", its first retry "000042r-…".

    Shards are ordered by their index, which is the order of the input. Every ShardId is safe in a file name.

    Attributes:
        index: the shard's position in its job, from 0, below 10**12; a retry has the index of its source.
        hash: first 12 hexadecimal digits, in lower case, of the SHA-256 over everything in the shard.
        retries: how often these rows were retried; 0 for rows of the input.

    Raises:
        PayloadError: a value is out of range.
    """

    index: int
    hash: str
    retries: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.index < INDEX_END or not _HASH.fullmatch(self.hash) or not 0 <= self.retries <= MOST_RETRIES:
            raise PayloadError(
                f"shard {self.index!r:.80} with hash {self.hash!r:.80} and {self.retries!r:.80} retries: an index from "
                f"0 to {INDEX_END - 1}, 12 hexadecimal digits and at most {MOST_RETRIES} retries are expected"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text that `str()` gives. Ids come from untrusted sources and become file names.

        Raises:
            PayloadError: the text is malformed.
        """
        found = _SHARD.fullmatch(text)
        if not found:
            raise PayloadError(
                f"shard id {text[:80]!r}: 6 to 12 digits, an r for each retry, '-' and 12 hexadecimal digits are "
                "expected, as in 000042-0123456789ab"
            )
        number, retries, content = found.groups()
        return cls(int(number), content, len(retries))

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
    if not found:
        raise PayloadError(f"file name {name[:80]!r}: part-<shard id>.parquet is expected")
    return ShardId.parse(found[1])
