"""Carries the layers' states and the unfinished pooled vectors of long rows from one chunk to the next."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from worker.engines.tensorflow.partial_pooling import Partial, finish, first_partial, next_partial
from worker.engines.tensorflow.row_store import RowStore


class Carried:
    """The states and unfinished pooled vectors of the first rows of a pool, in its order; none before the first chunk.

    Args:
        columns: the columns.
        first_states: each (dim,), the states before a row's first token.
        rows: how many rows have tokens left.
        begun: for each state (rows, dim), before the first token of each row, if rows bring states; then nothing is
            pooled yet.
    """

    def __init__(
        self,
        columns: Sequence[VectorColumn],
        first_states: Sequence[NDArray[np.float32]],
        rows: int = 0,
        begun: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._first_states = first_states
        self._states = list(begun or [np.zeros((rows, len(state)), np.float32) for state in first_states])
        self._pooled: dict[int, Partial] = {
            index: first_partial(column.pooling, np.zeros((rows, column.width), np.float32))
            for index, column in enumerate(columns)
            if not column.per_token
        }

    def states(self, start: int, stop: int, batch: int) -> list[NDArray[np.float32]]:
        """The states (batch, dim) before a batch of rows start..stop.

        These are the first states in the first chunk, and in empty rows.
        """
        states = []
        for state, first in zip(self._states, self._first_states, strict=True):
            before = np.tile(first, (batch, 1))
            known = state[start:stop]
            before[: len(known)] = known
            states.append(before)
        return states

    def pooled(self, start: int, stop: int, results: Sequence[NDArray[np.float32]]) -> dict[int, Partial]:
        """The unfinished pooled vectors (rows, width) of rows start..stop, after a batch with these results."""
        pooled = {}
        for index, before in self._pooled.items():
            pooling, found = self._columns[index].pooling, results[index][: stop - start]
            known = before[start:stop]
            pooled[index] = next_partial(pooling, known, found) if len(known) else first_partial(pooling, found)
        return pooled

    def keep(self, start: int, stop: int, states: Sequence[Any], pooled: dict[int, Partial]) -> None:
        """Keep the states and unfinished vectors after a batch of rows start..stop, of rows that have tokens left."""
        count = min(stop, self._rows) - start
        if count <= 0:
            return
        for state, after in zip(self._states, states, strict=True):
            state[start : start + count] = after[:count]
        for index, partial in pooled.items():
            self._pooled[index][start : start + count] = partial[:count]

    def finish(self, store: RowStore, rows: NDArray[np.int64], pooled: dict[int, Partial]) -> None:
        """Store the pooled vectors of the rows that have no tokens left, which are the last ones of a batch."""
        if not len(rows):
            return
        for index, partial in pooled.items():
            store.put_rows(
                index, rows, finish(self._columns[index].pooling, partial[-len(rows) :], store.lengths[rows])
            )
