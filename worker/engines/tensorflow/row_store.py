"""Numbers the rows of all shards, makes padded batches of them, and stores the results."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.tokenization.ragged import Ragged
from worker.engines.tensorflow.buckets import Shape
from worker.engines.vectors import with_states, with_vectors


class RowStore:
    """All rows of a pool, numbered from 0 across the shards, and the arrays for their results.

    The pooled vectors of rows without tokens are set to zero at once.

    Args:
        shards: the rows; of ids, or all of vectors.
        outputs: for each shard and column float32 (tokens, width) or, if the column is pooled, (rows, width).
        columns: the columns.
        vector_dim: width of the vectors that rows contain; None if they contain token ids.
        given_dim: width of the initial states that rows bring; 0 if they bring none.

    Raises:
        RequestError: rows aren't of the kind that the model reads.

    Attributes:
        lengths: int64 (rows,), the number of tokens in each row.
        columns: the columns.
        states: float32 (rows, given_dim), the initial states that rows bring.
    """

    def __init__(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
        vector_dim: int | None = None,
        given_dim: int = 0,
    ) -> None:
        self.columns = columns
        self.lengths = np.concatenate([np.empty(0, np.int64), *(shard.lengths for shard in shards)])
        shards = [with_states(index, shard, given_dim) for index, shard in enumerate(shards)]
        given = [shard.states for shard in shards if shard.states is not None]
        self.states = np.concatenate([np.empty((0 if given else len(self.lengths), given_dim), np.float32), *given])
        self._vectors: NDArray[np.float32] | None = None
        if vector_dim is not None:
            shards, self._vectors = _joined(shards, vector_dim)
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
    ) -> NDArray[np.int32] | NDArray[np.float32]:
        """One padded batch.

        Args:
            rows: int64 (n,), the numbers of the rows, at most shape.rows.
            begun: the position of each row's first token in the batch.
            lengths: int64 (n,), how many tokens of each row are in the batch.
            shape: the shape of the batch.

        Returns:
            int32 (shape.rows, shape.time), with zeros to the right of each row's tokens and in further rows; of rows
            of vectors float32 (shape.rows, shape.time, width).
        """
        real = np.arange(shape.time) < lengths[:, None]  # (rows, time)
        steps = self._starts[rows, None] + begun + np.arange(shape.time)
        if self._vectors is not None:
            vectors = np.zeros((*shape, self._vectors.shape[1]), np.float32)
            vectors[: len(rows)][real] = self._vectors[self._values[steps[real]] - 1]
            return vectors
        batch = np.zeros(shape, np.int32)
        batch[: len(rows)][real] = self._values[steps[real]]
        return batch

    def row(self, row: int) -> NDArray[np.int32] | NDArray[np.float32]:
        """All tokens of a row, int32 (its length,), or its vectors, float32 (its length, width)."""
        place = slice(self._starts[row], self._starts[row] + self.lengths[row])
        return self._values[place] if self._vectors is None else self._vectors[self._values[place] - 1]

    def put_tokens(
        self,
        index: int,
        rows: NDArray[np.int64],
        begun: int,
        lengths: NDArray[np.int64],
        results: NDArray[np.float32],
    ) -> None:
        """Store a batch's results for a column that has a vector for each token.

        Args:
            index: the number of the column.
            rows: int64 (n,), as they were given to `tokens`.
            begun: as it was given to `tokens`.
            lengths: int64 (n,), as they were given to `tokens`.
            results: float32 (batch, time, width); the padding is dropped.
        """
        # A copy for each row rather than an index for each token: a row's vectors are consecutive in both arrays.
        places = self._places[rows] + begun
        ends = places + lengths
        columns = (self._shards[rows], places, ends, lengths)
        for result, shard, place, end, length in zip(results, *(c.tolist() for c in columns), strict=False):
            self._outputs[shard][index][place:end] = result[:length]

    def put_rows(self, index: int, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Store one vector for each row, float32 (rows, width), in the pooled column `index`."""
        shards = self._shards[rows]
        for shard in np.unique(shards).tolist():
            mine = shards == shard
            self._outputs[shard][index][self._numbers[rows[mine]]] = vectors[mine]


def _joined(shards: Sequence[Ragged], vector_dim: int) -> tuple[list[Ragged], NDArray[np.float32]]:
    """Shards whose ids are numbers of vectors in one table, and that table.

    Raises:
        RequestError: a shard's vectors aren't those of the model, or an id isn't the number of one.
    """
    joined, tables, before = [], [np.empty((0, vector_dim), np.float32)], 0
    for index, each in enumerate(shards):
        shard = with_vectors(index, each, vector_dim)
        joined.append(shard._replace(values=shard.values + np.int32(before)))
        if shard.vectors is not None:
            tables.append(shard.vectors)
            before += len(shard.vectors)
    return joined, np.concatenate(tables)
