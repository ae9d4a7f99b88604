"""How a quantity is distributed: how many values there were up to each of some bounds, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bounds for seconds, from a small shard's reading to a pool that takes minutes.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
#: Bounds for the tokens of a pool.
TOKENS = (256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0)


class Buckets(NamedTuple):
    """A distribution at one moment.

    Attributes:
        bounds: the bounds, in order.
        counts: for each bound, how many values were above the bound before it and not above this one; and at the end,
            how many were above the last.
        total: the sum of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float


class Distribution:
    """Counts values by size. It has no lock: its owner has one.

    Args:
        bounds: the bounds, in order.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def buckets(self) -> Buckets:
        """The counts now."""
        return Buckets(self._bounds, tuple(self._counts), self._total)
