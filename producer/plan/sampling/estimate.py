"""Sums over the input, estimated from some of its bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Standard errors that are called the error: the true value is within it in 95 of 100 samples.
_STANDARD_ERRORS = 2.0
#: Errors below this share are not shown.
SMALL_SHARE = 0.0005


class Estimate(NamedTuple):
    """A number and how far it may be off.

    Attributes:
        value: the estimate.
        error: in 95 of 100 samples the true value is this near; 0 where it was counted, None where it isn't known.
    """

    value: float
    error: float | None = 0.0

    def times(self, factor: float) -> Estimate:
        """The estimate of a multiple."""
        return Estimate(self.value * factor, None if self.error is None else self.error * factor)


#: The part of the bytes that is called all of them.
_ALL = 1 - 1e-6


class Draws:
    """Draws from inputs of one kind.

    Args:
        size_bytes: stored bytes of all these inputs.
        names: the names of the sums.

    Attributes:
        covered_bytes: stored bytes that were read.
        whole: whether these are all; set by the caller.
    """

    def __init__(self, size_bytes: int, names: tuple[str, ...]) -> None:
        self.covered_bytes = 0.0
        self.whole = False
        self._names = names
        self._size_bytes = size_bytes
        self._ratios: list[NDArray[np.float64]] = []
        self._sums = np.zeros(len(names))

    def __len__(self) -> int:
        return len(self._ratios)

    def add(self, size_bytes: float, sums: NDArray[np.float64], *, repeated: bool) -> None:
        """Add a draw.

        Args:
            size_bytes: stored bytes that were drawn, above 0.
            sums: over the rows in them, with the parts of rows that are in them; one for each name.
            repeated: whether they were drawn before.
        """
        self._ratios.append(sums / size_bytes)
        if not repeated:
            self._sums += sums
            self.covered_bytes += size_bytes

    def weight(self, size_bytes: float) -> float:
        """How many rows of the input a row in a draw of this many bytes stands for."""
        return 1.0 if self.whole else self._size_bytes / size_bytes / max(len(self._ratios), 1)

    def estimates(self) -> dict[str, Estimate]:
        """The sums over all these inputs, by name."""
        if self.whole or not self._ratios or self.covered_bytes >= self._size_bytes * _ALL:
            return {name: Estimate(float(total)) for name, total in zip(self._names, self._sums, strict=True)}
        ratios = np.array(self._ratios)
        count, left = len(ratios), max(0.0, 1.0 - self.covered_bytes / self._size_bytes)
        means = ratios.mean(axis=0)
        errors: list[float | None] = [None] * len(self._names)
        if count > 1:
            spread = ratios.std(axis=0, ddof=1) * math.sqrt(left / count)
            errors = [float(error) * self._size_bytes * _STANDARD_ERRORS for error in spread]
        values = [float(mean) * self._size_bytes for mean in means]
        return {name: Estimate(*pair) for name, pair in zip(self._names, zip(values, errors, strict=True), strict=True)}


def total_of(parts: list[dict[str, Estimate]], name: str) -> Estimate:
    """The sum of estimates of one name over inputs of several kinds."""
    found = [part[name] for part in parts]
    if any(estimate.error is None for estimate in found):
        return Estimate(sum(estimate.value for estimate in found), None)
    return Estimate(
        sum(estimate.value for estimate in found),
        math.hypot(*(estimate.error or 0.0 for estimate in found)),
    )


def quantiles(values: NDArray[np.int64], weights: NDArray[np.float64], shares: tuple[float, ...]) -> list[int]:
    """The values below which these shares of the weight are."""
    if not len(values):
        return [0] * len(shares)
    order = np.argsort(values)
    ends = np.cumsum(weights[order])
    places = np.searchsorted(ends, np.array(shares) * ends[-1], side="left")
    return [int(values[order[min(place, len(order) - 1)]]) for place in places]
