"""Rows with a number that float16 can't hold: they fail, and the other rows of their shard are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.format.file_info import ENDS_ALIKE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.tokenization.ragged import Ragged

#: From here on a number is rounded to infinity: the largest float16 is 65,504, and the next one would be 65,536.
TOO_LARGE = 65_520.0


def rows_beyond_float16(
    rows: Ragged, vectors: Sequence[NDArray[np.float32]], columns: Sequence[VectorColumn]
) -> dict[int, str]:
    """Find the rows that can't be stored in float16: the index of each, and the reason.

    Args:
        rows: the rows, with real tokens only.
        vectors: for each column, float32 (tokens or rows, width).
        columns: the columns of vectors.
    """
    found: dict[int, str] = {}
    for array, column in zip(vectors, columns, strict=True):
        if not array.size or (array.max() < TOO_LARGE and array.min() > -TOO_LARGE):
            continue
        # float32 (tokens or rows,); fmax and fmin ignore NaN, which float16 can hold.
        peaks = np.maximum(np.fmax.reduce(array, axis=1), -np.fmin.reduce(array, axis=1))
        places = np.flatnonzero(peaks >= TOO_LARGE)
        owners = np.searchsorted(rows.offsets, places, side="right") - 1 if column.per_token else places
        for place, owner in zip(places.tolist(), owners.tolist(), strict=True):
            found.setdefault(
                owner,
                f"{column.name} has the number {peaks[place]:g}; float16 ends at 65504, and "
                f"{ENDS_ALIKE}: start a job with --precision float32 and another --out",
            )
    return found
