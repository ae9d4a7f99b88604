"""Rows of many shards under one numbering: padded batches go out, results come in."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.ragged import Ragged
from worker.engines.tensorflow.buckets import Shape


class RowStore:
    """All rows of a pool, numbered through, and the places that their results belong in.

    Args:
        shards: the rows.
        outputs: for each shard and column float32 (tokens, width) or, where the column is pooled, (rows, width).
        columns: what is to be filled in. A row without tokens has zeros in pooled ones from the start.

    Attributes:
        lengths: int64 (rows,), tokens in each row.
        columns: as given.
    """

    def __init__(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> None:
        self.columns = columns
        self.lengths = np.concatenate([np.empty(0, np.int64), *(shard.lengths for shard in shards)])
        self._values = np.concatenate([np.empty(0, np.int32), *(shard.values for shard in shards)])
        self._starts = np.cumsum(self.lengths) - self.lengths  # (rows,) in _values
        self._shards = np.repeat(np.arange(len(shards)), [shard.rows for shard in shards])  # (rows,)
        self._places = np.concatenate([np.empty(0, np.int64), *(shard.offsets[:-1] for shard in shards)])
        self._numbers = np.concatenate([np.empty(0, np.int64), *(np.arange(shard.rows) for shard in shards)])
        self._outputs = outputs
        empty = np.flatnonzero(self.lengths == 0)
        for index, column in enumerate(columns):
            if not column.per_token:
                self.put_rows(index, empty, np.zeros((len(empty), column.width), np.float32))

    def tokens(
        self, rows: NDArray[np.int64], begun: int, lengths: NDArray[np.int64], shape: Shape
    ) -> NDArray[np.int32]:
        """One padded batch: tokens begun..begun + lengths of each row, zeros to the right and in fillers.

        Returns:
            int32 (shape.rows, shape.time).
        """
        real = np.arange(shape.time) < lengths[:, None]  # (rows, time)
        steps = self._starts[rows, None] + begun + np.arange(shape.time)
        batch = np.zeros(shape, np.int32)
        batch[: len(rows)][real] = self._values[steps[real]]
        return batch

    def row(self, row: int) -> NDArray[np.int32]:
        """All tokens of one row, int32 (its length,)."""
        return self._values[self._starts[row] : self._starts[row] + self.lengths[row]]

    def put_tokens(
        self,
        index: int,
        rows: NDArray[np.int64],
        begun: int,
        lengths: NDArray[np.int64],
        results: NDArray[np.float32],
    ) -> None:
        """Put such a batch's results (batch, time, width) into column `index`, without its padding."""
        # A copy a row, not an index a token: a row is one run of memory at both ends.
        places = self._places[rows] + begun
        ends = places + lengths
        columns = (self._shards[rows], places, ends, lengths)
        for result, shard, place, end, length in zip(results, *(c.tolist() for c in columns), strict=False):
            self._outputs[shard][index][place:end] = result[:length]

    def put_rows(self, index: int, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Put a vector for each row (rows, width) into the pooled column `index`."""
        shards = self._shards[rows]
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            self._outputs[shard][index][self._numbers[rows[mine]]] = vectors[mine]
