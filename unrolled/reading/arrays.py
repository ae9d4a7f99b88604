"""Arrow's arrays as NumPy's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from unrolled.reading.row import Vectors


def row_vectors(lists: pa.FixedSizeListArray) -> Vectors:
    """The vectors of a pooled column, a record batch's or a slice's.

    Returns:
        (rows, width), read-only; NaN for a row that is null. A view where no row is.
    """
    # flatten() respects the slice, and leaves nulls out.
    values: Vectors = lists.flatten().to_numpy().reshape(-1, lists.type.list_size)
    if not lists.null_count:
        return values
    vectors = np.full((len(lists), values.shape[1]), np.nan, values.dtype)
    vectors[lists.is_valid().to_numpy(zero_copy_only=False)] = values
    vectors.flags.writeable = False
    return vectors
