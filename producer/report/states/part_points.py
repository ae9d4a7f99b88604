"""Points of a sample, from rows of a part: each row is looked at once, however many of its tokens are points."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from producer.report.states.sample import Points
from producer.report.states.texts import TOKENS_SHOWN, window
from unrolled.reading.arrays import arrow, numbers, truths
from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from unrolled.job.shard_id import ShardId


def part_points(
    shard: ShardId,
    at: int,
    rows: pa.RecordBatch,
    vectors: NDArray[np.floating],
    chosen: NDArray[np.int64],
    keys: NDArray[np.uint64],
    of_rows: NDArray[np.int64],
    positions: NDArray[np.int32],
) -> Points:
    """Points for the chosen ones among the vectors of some rows.

    Args:
        shard: the shard of the part.
        at: the place of the first of the vectors in the part.
        rows: with "length", "id" and, if the part stores them, "tokens".
        vectors: all vectors of the rows.
        chosen: numbers of vectors, rising.
        keys: theirs, as `Sample.wanted` gave them.
        of_rows: numbers of their rows.
        positions: their places in their rows, or -1 for whole rows.
    """
    distinct, first, inverse = np.unique(of_rows, return_index=True, return_inverse=True)
    few = rows.select(["length", "id"]).take(arrow(distinct))
    order = np.empty((len(chosen), 3), np.int64)
    order[:, 0], order[:, 1], order[:, 2] = shard.index, shard.retries, at + chosen
    return Points(
        keys, order, vectors[chosen].astype(np.float32), np.array(few.column(1).to_pylist(), np.object_)[inverse],
        numbers(few.column(0))[inverse], positions, _tokens(rows, distinct, first, positions),
        np.full(len(chosen), shard, np.object_),
    )  # fmt: skip


def _tokens(
    rows: pa.RecordBatch, distinct: NDArray[np.int64], first: NDArray[np.intp], positions: NDArray[np.int32]
) -> NDArray[np.object_]:
    """The token ids that are kept for each point; None where they aren't stored."""
    found = np.full(len(positions), None, np.object_)
    if "tokens" not in rows.schema.names:
        return found
    column = rows.column("tokens")
    values, offsets = numbers(column.flatten()), offsets_of(numbers(column.value_lengths()))
    for row, (start, stop) in zip(distinct.tolist(), pairwise([*first.tolist(), len(positions)]), strict=True):
        ids = values[offsets[row] : offsets[row + 1]]
        if positions[start] < 0:
            found[start] = ids[:TOKENS_SHOWN].tolist()
            continue
        real = ids[ids != 0]
        for number in range(start, stop):
            found[number] = window(real, int(positions[number]))
    return found


def real_places(rows: pa.RecordBatch, of_rows: NDArray[np.int64], at: NDArray[np.int32]) -> NDArray[np.int32]:
    """Places among the real tokens, from places in the rows as they came in."""
    mask = rows.column("mask")
    real, starts = offsets_of(truths(mask.flatten())), offsets_of(numbers(mask.value_lengths()))[of_rows]
    places: NDArray[np.int32] = (real[starts + at] - real[starts]).astype(np.int32)
    return places
