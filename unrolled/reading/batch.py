"""Some rows, end to end in NumPy arrays."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unrolled.errors import counted
from unrolled.format.columns import VectorColumn
from unrolled.reading.arrays import numbers, row_vectors, truths
from unrolled.reading.row import Row, Vectors, column_of, outputs_of, shapes_of
from unrolled.tokenization.ragged import offsets_of

#: The columns without vectors, and the attributes of `Batch` that hold them.
_OTHERS = {"id": "ids", "length": "lengths", "mask": "mask_values", "tokens": "tokens", "positions": "positions"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """Some rows, end to end in read-only arrays.

    `batch["mean"]` is the column "mean"; `batch.values` is short for `batch["outputs"]`. Vectors, `lengths` and
    `tokens` are the memory that Parquet was decoded into; masks are stored as bits and unpacked. Offsets begin at 0.

    Attributes:
        ids: one for each row.
        lengths: int32 (rows,), the number of real tokens in each row.
        vectors: by column name, float32 or float16 as the job stored them: "outputs" is (real tokens, units), or
            (positions, units) if the job chose positions; "mean", "max", "last" and "first" are (rows, units), NaN for
            a row without a real token, unless the job stored zeros there.
        offsets: int64 (rows + 1,); the outputs of row r are values[offsets[r]:offsets[r + 1]].
        mask_values: bool (tokens as they came in,).
        mask_offsets: int64 (rows + 1,); the mask of row r is mask_values[mask_offsets[r]:mask_offsets[r + 1]].
        tokens: int32 (tokens as they came in,), with the offsets of the masks; None if the job did not store them.
        columns: the columns of vectors, in the files' order.
        positions: int32 (positions,), if the job stored the vectors of some tokens only: the place of each in the mask
            of its row, with the offsets of the outputs; None if it stored all.
    """

    ids: list[str]
    lengths: NDArray[np.int32]
    vectors: Mapping[str, Vectors]
    offsets: NDArray[np.int64]
    mask_values: NDArray[np.bool_]
    mask_offsets: NDArray[np.int64]
    tokens: NDArray[np.int32] | None
    columns: Sequence[VectorColumn]
    positions: NDArray[np.int32] | None = None

    @classmethod
    def from_arrow(cls, rows: pa.RecordBatch, columns: Sequence[VectorColumn]) -> Self:
        """View a record batch, sliced or not, that has the schema of a published file.

        Args:
            rows: the record batch.
            columns: the file's columns of vectors.
        """
        mask, lengths = rows.column("mask"), numbers(rows.column("length"))
        per_token = [column.name for column in columns if column.per_token]
        tokens = numbers(rows.column("tokens").flatten()) if "tokens" in rows.schema.names else None
        return cls(
            ids=rows.column("id").to_pylist(),
            lengths=lengths,
            vectors={column.name: _flat(rows.column(column.name), column) for column in columns},
            # All columns with a vector for each token have these offsets: `unrolled.reading.inspection` checks it.
            offsets=_offsets(rows.column(per_token[0]) if per_token else lengths),
            mask_values=truths(mask.flatten()),
            mask_offsets=_offsets(mask),
            tokens=tokens,
            columns=columns,
            positions=numbers(rows.column("positions").flatten()) if "positions" in rows.schema.names else None,
        )

    @property
    def values(self) -> Vectors:
        """The vectors of all tokens, (real tokens, units), or of those at the job's positions.

        Raises:
            AttributeError: the job stored no such column; for named layers, use `batch["outputs_0"]`.
        """
        return outputs_of(self.vectors)

    def __getitem__(self, column: str) -> Vectors:
        return column_of(self.vectors, column, _OTHERS)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        """The batch without its numbers."""
        rows, tokens = counted(len(self), "row"), counted(int(self.lengths.sum()), "token")
        return f"<{rows}, {tokens}, with {shapes_of(self.vectors)}>"

    def rows(self) -> Iterator[Row]:
        """The rows one by one, as views."""
        outputs_at, mask_at, lengths = self.offsets.tolist(), self.mask_offsets.tolist(), self.lengths.tolist()
        columns = [(column.name, self.vectors[column.name], column.per_token) for column in self.columns]
        for row, row_id in enumerate(self.ids):
            first, last = outputs_at[row : row + 2]
            begin, end = mask_at[row : row + 2]
            vectors = {name: array[first:last] if per_token else array[row] for name, array, per_token in columns}
            tokens = None if self.tokens is None else self.tokens[begin:end]
            positions = None if self.positions is None else self.positions[first:last]
            yield Row(row_id, lengths[row], self.mask_values[begin:end], vectors, tokens, positions)


def _flat(array: pa.Array, column: VectorColumn) -> Vectors:
    """The vectors of a column: (vectors, width)."""
    if not column.per_token:
        return row_vectors(array)
    # flatten() respects the slice at every level. It copies nothing, because no list here is null.
    values: Vectors = numbers(array.flatten().flatten())
    return values.reshape(-1, column.width)


def _offsets(of: pa.ListArray | NDArray[np.int32]) -> NDArray[np.int64]:
    """Where lists, or rows of these lengths, begin and end, from 0: read-only."""
    if isinstance(of, np.ndarray):
        offsets = offsets_of(of)
    else:
        offsets = numbers(of.offsets).astype(np.int64)
        offsets -= offsets[0]
    offsets.flags.writeable = False
    return offsets
