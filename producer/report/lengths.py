"""The lengths of a job's rows, and what padding them would have cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows of a padded batch, for comparison.
BATCH_ROWS = 32
#: Lengths below this are counted in an array; the few that aren't, one by one.
_ARRAY = 2**16
#: Most bars of the histogram, and the share of rows that they show; the rest is named beside them.
MOST_BARS, SHOWN_SHARE = 64, 0.995


class Bar(NamedTuple):
    """Rows of lengths from `first` to `last`."""

    first: int
    last: int
    rows: int


@dataclass(slots=True)
class Lengths:
    """Counts of rows by their number of real tokens.

    Attributes:
        rows, tokens: counted so far.
        longest: the largest length.
    """

    rows: int = 0
    tokens: int = 0
    longest: int = 0
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_ARRAY, np.int64))
    _long: Counter[int] = field(default_factory=Counter)
    _padded: int = 0
    _batch: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # one that isn't full yet

    def add(self, lengths: NDArray[np.integer]) -> None:
        """Add the rows of a part, in order."""
        if not len(lengths):
            return
        self.rows += len(lengths)
        self.tokens += int(lengths.sum(dtype=np.int64))
        self.longest = max(self.longest, int(lengths.max()))
        short = lengths[lengths < _ARRAY]
        self._counts += np.bincount(short, minlength=_ARRAY)
        self._long.update(lengths[lengths >= _ARRAY].tolist())
        ordered = np.concatenate([self._batch, lengths])
        full = len(ordered) // BATCH_ROWS * BATCH_ROWS
        self._padded += BATCH_ROWS * int(ordered[:full].reshape(-1, BATCH_ROWS).max(axis=1).sum())
        self._batch = ordered[full:]

    @property
    def padded_in_order(self) -> int:
        """Steps of batches of `BATCH_ROWS` rows as they follow each other, padded to the longest row of the batch."""
        return self._padded + len(self._batch) * int(self._batch.max(initial=0))

    @property
    def padded_sorted(self) -> int:
        """Steps of batches of `BATCH_ROWS` rows that were sorted by length over the whole job."""
        lengths, ends = self._cumulative()
        if not self.rows:
            return 0
        stops = np.minimum(np.arange(BATCH_ROWS, self.rows + BATCH_ROWS, BATCH_ROWS), self.rows)
        longest = lengths[np.searchsorted(ends, stops)]
        return int((longest * np.diff(np.concatenate([[0], stops]))).sum())

    @property
    def padded_whole(self) -> int:
        """Steps where every row is padded to the longest one."""
        return self.rows * self.longest

    def quantile(self, share: float) -> int:
        """The smallest length that at least this share of the rows doesn't exceed."""
        lengths, ends = self._cumulative()
        if not self.rows:
            return 0
        return int(lengths[np.searchsorted(ends, np.ceil(share * self.rows))])

    def histogram(self) -> tuple[list[Bar], int]:
        """Bars of equal width, and the number of longer rows that they leave out."""
        if not self.rows:
            return [], 0
        lengths, ends = self._cumulative()
        counts = np.diff(np.concatenate([[0], ends]))
        end = self.quantile(SHOWN_SHARE)
        if self.longest <= 1.25 * end:  # a short tail needs no cut
            end = self.longest
        width = nice(max(1, end / MOST_BARS))
        shown = lengths <= end // width * width + width - 1
        numbers = lengths[shown] // width
        rows = np.bincount(numbers, counts[shown], minlength=int(end // width) + 1).astype(np.int64)
        bars = [Bar(number * width, number * width + width - 1, int(count)) for number, count in enumerate(rows)]
        return bars, int(counts[~shown].sum())

    def _cumulative(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The lengths that occur, ascending, and the rows up to each."""
        lengths = np.flatnonzero(self._counts)
        counts = self._counts[lengths]
        if self._long:
            long = np.array(sorted(self._long), np.int64)
            lengths = np.concatenate([lengths, long])
            counts = np.concatenate([counts, [self._long[length] for length in long.tolist()]])
        return lengths, np.cumsum(counts)


def nice(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50 … that is at least this."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= least:
                return factor * power
        power *= 10
