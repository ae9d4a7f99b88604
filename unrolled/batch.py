"""Rows as flat NumPy arrays, and what can be made of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Pooling = Literal["mean", "max", "last"]


class Row(NamedTuple):
    """One input sequence and its outputs; the arrays are read-only views.

    Attributes:
        id: the user's own id, else "<file>#<row>".
        length: number of real tokens.
        mask: bool (tokens as the row came in,), True where a token is real.
        outputs: float32 (length, units), one vector for each True of the mask, in order.
        tokens: int32 (len(mask),), or None where the job did not store them.
    """

    id: str
    length: int
    mask: NDArray[np.bool_]
    outputs: NDArray[np.float32]
    tokens: NDArray[np.int32] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, end to end in flat read-only arrays.

    `values`, `lengths` and `tokens` are the memory that Parquet was decoded into; masks are stored as bits
    and unpacked once. Offsets begin at 0.

    Attributes:
        ids: one for each row.
        lengths: int32 (rows,), number of real tokens of each row.
        values: float32 (real tokens, units).
        offsets: int64 (rows + 1,); the outputs of row r are values[offsets[r]:offsets[r + 1]].
        mask_values: bool (tokens as they came in,).
        mask_offsets: int64 (rows + 1,); row r's mask is mask_values[mask_offsets[r]:mask_offsets[r + 1]].
        tokens: int32 (tokens as they came in,), cut as the masks are; None where the job did not store them.
    """

    ids: list[str]
    lengths: NDArray[np.int32]
    values: NDArray[np.float32]
    offsets: NDArray[np.int64]
    mask_values: NDArray[np.bool_]
    mask_offsets: NDArray[np.int64]
    tokens: NDArray[np.int32] | None

    @classmethod
    def from_arrow(cls, rows: pa.RecordBatch) -> Self:
        """View a record batch, sliced or not, of the file's schema."""
        outputs, mask = rows.column("outputs"), rows.column("mask")
        # flatten() heeds the slice, at every level, and copies nothing: no list here is null.
        vectors = outputs.flatten()
        tokens = rows.column("tokens").flatten().to_numpy() if "tokens" in rows.schema.names else None
        return cls(
            ids=rows.column("id").to_pylist(),
            lengths=rows.column("length").to_numpy(),
            values=vectors.flatten().to_numpy().reshape(-1, vectors.type.list_size),
            offsets=_offsets(outputs),
            mask_values=mask.flatten().to_numpy(zero_copy_only=False),
            mask_offsets=_offsets(mask),
            tokens=tokens,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self) -> Iterator[Row]:
        """The rows one by one, as views."""
        outputs_at, mask_at = self.offsets.tolist(), self.mask_offsets.tolist()
        for row, row_id in enumerate(self.ids):
            first, last = outputs_at[row : row + 2]
            begin, end = mask_at[row : row + 2]
            tokens = None if self.tokens is None else self.tokens[begin:end]
            yield Row(row_id, last - first, self.mask_values[begin:end], self.values[first:last], tokens)


def _offsets(lists: pa.ListArray) -> NDArray[np.int64]:
    offsets: NDArray[np.int64] = lists.offsets.to_numpy().astype(np.int64)
    offsets -= offsets[0]
    return offsets


def to_padded(batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The pair that the model itself gives for a padded batch.

    Returns:
        outputs: float32 (rows, time, units), each vector at its token's position, zero where there is none.
        masks: bool (rows, time), True where a token is real. Time is that of the longest row as it came in.
    """
    mask_lengths = np.diff(batch.mask_offsets)
    time = int(mask_lengths.max(initial=0))
    masks = np.zeros((len(batch), time), np.bool_)
    masks[np.arange(time) < mask_lengths[:, None]] = batch.mask_values
    outputs = np.zeros((len(batch), time, batch.values.shape[1]), np.float32)
    # Boolean indexing walks row by row, then along time: the order of the stored vectors.
    outputs[masks] = batch.values
    return outputs, masks


def pooled(batch: Batch, how: Pooling) -> NDArray[np.float32]:
    """One vector for each row, of its real tokens alone.

    Args:
        batch: the rows.
        how: "mean" (in float64, then rounded), "max" or "last".

    Returns:
        float32 (rows, units). A row without real tokens gives zeros, the state that the LSTM begins with.

    Raises:
        ValueError: `how` is none of the three.
    """
    if how not in get_args(Pooling):
        raise ValueError(f"pooling {how!r} is unknown; allowed: {', '.join(get_args(Pooling))}")
    vectors = np.zeros((len(batch), batch.values.shape[1]), np.float32)
    ends = batch.offsets.tolist()
    # Row by row: several times faster than NumPy's reduceat, which goes through the values one by one.
    for row in np.flatnonzero(batch.lengths).tolist():
        part = batch.values[ends[row] : ends[row + 1]]
        if how == "mean":
            vectors[row] = part.mean(axis=0, dtype=np.float64)
        else:
            vectors[row] = part.max(axis=0) if how == "max" else part[-1]
    return vectors
