"""Rows of unequal length in two flat arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Lengths = Sequence[int] | NDArray[np.integer[Any]] | NDArray[np.bool_]


class Ragged(NamedTuple):
    """Token ids of many rows, end to end.

    Rows of vectors are rows of ids, too: the id of a token is the number of its vector in a table, counted from 1.

    Attributes:
        values: int32 (tokens,), the ids of all rows.
        offsets: int64 (rows + 1,), where each row begins; row r is values[offsets[r]:offsets[r + 1]].
        vectors: for rows of vectors, float32 (distinct vectors, width): id i is vectors[i - 1]. None for rows of ids.
        states: for rows that bring the initial states of a model's layers, float32 (rows, width): all those of a row
            side by side, as `ModelConfig.given_parts` orders them. None for rows that bring none.
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]
    vectors: NDArray[np.float32] | None = None
    states: NDArray[np.float32] | None = None

    @classmethod
    def from_lengths(
        cls,
        values: NDArray[np.int32],
        lengths: Lengths,
        vectors: NDArray[np.float32] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> Self:
        """Rows of these lengths, end to end in `values`."""
        return cls(values, offsets_of(lengths), vectors, states)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 (rows,): the number of tokens in each row."""
        return np.diff(self.offsets)

    def take(self, start: int, stop: int) -> "Ragged":
        """Rows start..stop, sharing the values' memory."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return self._replace(
            values=self.values[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            states=None if self.states is None else self.states[start:stop],
        )

    def select(self, rows: Sequence[int]) -> "Ragged":
        """Rows by their numbers, in this order, with the vectors that they contain."""
        values = [self.values[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        chosen = np.asarray(rows, np.int64)
        return self._replace(
            values=np.concatenate(values) if values else np.zeros(0, np.int32),
            offsets=offsets_of(self.lengths[chosen]),
            states=None if self.states is None else self.states[chosen],
        ).compact()

    def where(self, chosen: NDArray[np.bool_]) -> "Ragged":
        """The rows with only the tokens that are chosen, bool (tokens,)."""
        return self._replace(values=self.values[chosen], offsets=offsets_of(chosen)[self.offsets])

    def compact(self) -> "Ragged":
        """The rows with a table of only the vectors that they contain, in their order in the table."""
        if self.vectors is None:
            return self
        used, numbers = np.unique(self.values[self.values > 0], return_inverse=True)
        values = np.zeros_like(self.values)  # 0 is padding, and stays
        values[self.values > 0] = numbers + 1
        return self._replace(values=values, vectors=self.vectors[used - 1])


def offsets_of(lengths: Lengths) -> NDArray[np.int64]:
    """int64 (rows + 1,): where each of the rows of these lengths begins, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def runs(
    ends: NDArray[np.int64], most: int | None, *, begin: int = 0, most_rows: int | None = None
) -> list[tuple[int, int]]:
    """Cut rows into runs that are as long as the limits allow; a row over the limit is a run of its own.

    Args:
        ends: int64 (rows,), never falling: the tokens, or another weight, of all rows up to the end of each one.
        most: the most tokens in a run; None for no limit.
        begin: the tokens before the first row.
        most_rows: the most rows in a run, at least 1; None for no limit.

    Returns:
        (start, stop) of each run, in order; every row is in one.
    """
    found = []
    rows, start = len(ends), 0
    while start < rows:
        stop = rows if most_rows is None else min(start + most_rows, rows)
        if most is not None:
            before = int(ends[start - 1]) if start else begin
            # The total bounds what is looked for, because a limit may be any number.
            stop = min(stop, int(np.searchsorted(ends, min(before + most, int(ends[-1])), side="right")))
        stop = max(stop, start + 1)
        found.append((start, stop))
        start = stop
    return found
