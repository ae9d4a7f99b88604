"""A part of a pool that can be computed in a short time, and that says how long the whole pool takes.

The engine takes the rows of a pool one token further at a time. Where hundreds of rows advance together, a token takes
equally long however many there are, so some of the rows are enough. The fewer rows are left, the longer a token takes:
so the rows' beginnings and what comes after them are measured apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Rows that advance together as fast as any number of rows.
ENOUGH_ROWS = 1024


class Cut(NamedTuple):
    """The first rows of a pool, each up to a number of tokens.

    Attributes:
        rows: how many rows.
        tokens: the most tokens of each.
    """

    rows: int
    tokens: int

    def size(self, lengths: NDArray[np.int64]) -> int:
        """Tokens in it, of rows of these lengths."""
        return int(np.minimum(lengths[: self.rows], self.tokens).sum())

    def beyond(self, lengths: NDArray[np.int64]) -> int:
        """Tokens of all rows that come after those of the cut."""
        return int(np.maximum(lengths - self.tokens, 0).sum())


def cut_to(lengths: NDArray[np.int64], most: int, longest: int) -> Cut:
    """The part of a pool that has about `most` tokens.

    Args:
        lengths: int64 (rows,), at least one.
        most: tokens that can be computed.
        longest: tokens that are known of every row.
    """
    rows = int(np.searchsorted(np.cumsum(lengths), most, side="right"))
    rows = min(len(lengths), max(rows, ENOUGH_ROWS))
    tokens = _most_tokens(lengths[:rows], most)
    return Cut(rows, max(1, min(tokens, longest)))


def _most_tokens(lengths: NDArray[np.int64], most: int) -> int:
    """The largest number of tokens of each row with which all rows have at most `most`."""
    least, most_tokens = 1, int(lengths.max())
    while least < most_tokens:
        middle = (least + most_tokens + 1) // 2
        if np.minimum(lengths, middle).sum() <= most:
            least = middle
        else:
            most_tokens = middle - 1
    return least


def rows_beyond(lengths: NDArray[np.int64], tokens: int) -> int:
    """How many rows advance together beyond their first tokens, in the middle of what comes after these; 0 if none."""
    beyond = np.sort(np.maximum(lengths - tokens, 0))
    # Tokens that are left below each level: below the k-th shortest row's end, all longer rows advance with it.
    rows = len(beyond) - np.arange(len(beyond))
    steps = np.diff(beyond, prepend=0) * rows
    total = int(steps.sum())
    return int(rows[np.searchsorted(np.cumsum(steps), total / 2)]) if total else 0
