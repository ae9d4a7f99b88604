"""A chapter: everything that decisions need to know of many consecutive segments of a log, in one object.

The layout, little-endian; equal segments give equal bytes:

| byte | content |
|---|---|
| 0 | SHA-256 of all following bytes |
| 32 | head: one line of JSON |
| | uint32 for each segment: the number of shards that it adds to the log |
| | uint64 for each of these shards that is a retry: the hash of its source (`unrolled.job.shard_keys`) |
| | each of these shards in 32 bytes (`unrolled.protocol.entries.COLUMNS`) |

The head has the number of the first segment; the numbers of segments, shards and retries; the SHA-256 of the last
segment; and, by their numbers, those segments that do more than add shards of the input, without their shards.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import JobError
from unrolled.job.segment import Segment
from unrolled.job.shard_id import INDEX_END, MOST_RETRIES
from unrolled.job.shard_keys import FIRST_RETRY
from unrolled.protocol.entries import COLUMNS

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_VERSION = 1
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, eq=False)
class Chapter:
    """One chapter.

    Attributes:
        first: number of the first segment.
        last: SHA-256 of the last segment, in hexadecimal digits.
        added: for each segment, the number of shards that it adds to the log.
        sources: for each retry among these shards, the hash of its source.
        columns: these shards.
        decisions: number → a segment that does more than add shards of the input, without its shards.
    """

    first: int
    last: str
    added: NDArray[np.uint32]
    sources: NDArray[np.uint64]
    columns: NDArray[Any]
    decisions: dict[int, Segment]

    def encode(self) -> bytes:
        """The chapter's bytes."""
        head = {
            "format_version": FORMAT_VERSION,
            "first": self.first,
            "segments": len(self.added),
            "shards": len(self.columns),
            "retries": len(self.sources),
            "last": self.last,
            "decisions": {number: segment.encode().decode() for number, segment in self.decisions.items()},
        }
        arrays = (self.added.astype("<u4"), self.sources.astype("<u8"), self.columns)
        content = b"".join([json.dumps(head).encode() + b"\n", *(array.tobytes() for array in arrays)])
        return hashlib.sha256(content).digest() + content

    @classmethod
    def decode(cls, name: str, content: bytes) -> Chapter:
        """Read a chapter from an untrusted source.

        Args:
            name: the object's name, for errors.
            content: the object's bytes.

        Raises:
            JobError: the content isn't a chapter, or has another version.
        """
        if hashlib.sha256(memoryview(content)[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
            raise JobError(f"{name}: damaged; delete it")
        try:
            start = content.index(b"\n", _DIGEST_BYTES) + 1
            head = json.loads(content[_DIGEST_BYTES:start])
            sizes: list[tuple[int, Any]] = [
                (head["segments"], "<u4"),
                (head["retries"], "<u8"),
                (head["shards"], COLUMNS),
            ]
            arrays: list[NDArray[Any]] = []
            for count, dtype in sizes:
                arrays.append(np.frombuffer(content, dtype, count, start))
                start += arrays[-1].nbytes
            decisions = {int(number): Segment.decode(name, text.encode()) for number, text in head["decisions"].items()}
            added, sources, columns = arrays
            chapter = cls(head["first"], head["last"], added, sources, columns, decisions)
            chapter._check(head["format_version"], len(content) - start)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise JobError(f"{name}: not a chapter of a job's log: {error!s:.200}; delete it") from error
        return chapter

    def _check(self, version: int, left: int) -> None:
        if version != FORMAT_VERSION:
            raise ValueError(f"its version is {version!s:.20}; {FORMAT_VERSION} is expected")
        is_retry = self.columns["hash"] >= FIRST_RETRY
        if left or self.added.sum() != len(self.columns) or np.count_nonzero(is_retry) != len(self.sources):
            raise ValueError("its counts contradict each other")
        retries = self.columns["hash"] // np.uint64(FIRST_RETRY)
        if (self.columns["index"] >= INDEX_END).any() or (retries > MOST_RETRIES).any():
            raise ValueError("it has a shard that can't exist")
        if (self.sources // np.uint64(FIRST_RETRY) + np.uint64(1) != retries[is_retry]).any():
            raise ValueError("it has a source that can't exist")
        if any(not self.first <= number < self.first + len(self.added) for number in self.decisions):
            raise ValueError("it has a segment that can't be there")
