"""A sample of a job's rows or tokens: the same for the same job, in whatever order the parts are read.

Each row has a number that looks random, made from its shard and its place in it; the rows with the smallest numbers are
the sample.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from unrolled.reading.scattering import scattered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.job.shard_id import ShardId

#: How much more than the sample is kept before it is cut.
_SLACK = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points of a map, in the order of the job.

    Attributes:
        keys: uint64 (points,), which decide what is in the sample.
        order: int64 (points, 3): the shard's number and retries, and the point's place in the shard.
        vectors: float32 (points, width).
        ids: ids of the points' rows.
        lengths: int32 (points,), the real tokens of the rows.
        positions: int32 (points,), the place of a token in its row, from 0; -1 for a whole row.
        tokens: for a row its first token ids, for a token those around it (`texts.window`); None where they aren't
            stored.
        shards: the shards of the points.
    """

    keys: NDArray[np.uint64]
    order: NDArray[np.int64]
    vectors: NDArray[np.float32]
    ids: NDArray[np.object_]
    lengths: NDArray[np.int32]
    positions: NDArray[np.int32]
    tokens: NDArray[np.object_]
    shards: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, chosen: NDArray[Any]) -> Points:
        """Some of the points."""
        return Points(*(getattr(self, field.name)[chosen] for field in fields(self)))

    @classmethod
    def joined(cls, many: Sequence[Points]) -> Points:
        """The points of several, one after another."""
        return cls(*(np.concatenate([getattr(each, field.name) for each in many]) for field in fields(cls)))

    @classmethod
    def none(cls, width: int) -> Points:
        """No point."""
        empty = np.empty(0, np.object_)
        return cls(
            np.empty(0, np.uint64), np.empty((0, 3), np.int64), np.empty((0, width), np.float32), empty,
            np.empty(0, np.int32), np.empty(0, np.int32), empty, empty,
        )  # fmt: skip


class Sample:
    """Keeps the points with the smallest keys.

    Args:
        most: the most points.
        width: numbers in a vector.
    """

    def __init__(self, most: int, width: int) -> None:
        self._most = most
        self._kept = [Points.none(width)]
        self._count = 0
        self._bound = np.uint64(2**64 - 1)

    def copy(self) -> Self:
        """A copy, which is added to by itself; it shares the points."""
        found = copy.copy(self)
        found._kept = [*self._kept]  # noqa: SLF001 - another of this class
        return found

    def wanted(
        self, shard: ShardId, start: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Which of some points of a shard may be in the sample, and their keys.

        Args:
            shard: the shard.
            start: the place of the first of the points in the shard.
            allowed: bool (points,), which of them there may be in the sample.

        Returns:
            The chosen ones' numbers among them, and their keys.
        """
        keys = scattered(np.arange(start, start + len(allowed), dtype=np.uint64) + np.uint64(int(shard.hash, 16) << 16))
        chosen = np.flatnonzero((keys <= self._bound) & allowed)
        if len(chosen) > self._most:  # the first points, before a bound is known
            chosen = np.sort(chosen[np.argpartition(keys[chosen], self._most - 1)[: self._most]])
        return chosen, keys[chosen]

    def add(self, points: Points) -> None:
        """Add points that `wanted` has chosen."""
        self._kept.append(points)
        self._count += len(points)
        if self._count > self._most * _SLACK:
            self._cut()

    def points(self) -> Points:
        """The sample, in the order of the job."""
        found = self._cut()
        at = found.order
        self._kept = [found.take(np.lexsort((at[:, 2], at[:, 1], at[:, 0])))]
        return self._kept[0]

    def _cut(self) -> Points:
        if self._count > self._most:
            keys = np.concatenate([points.keys for points in self._kept])
            self._bound = np.partition(keys, self._most - 1)[self._most - 1]
            # One after another and before they are joined, so that the vectors aren't in memory three times.
            for number, points in enumerate(self._kept):
                self._kept[number] = points.take(points.keys <= self._bound)
        found = Points.joined(self._kept)
        self._kept, self._count = [found], len(found)
        return found
