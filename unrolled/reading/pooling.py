"""One vector for each row, from the vectors of its tokens."""

import numpy as np
from numpy.typing import NDArray

from unrolled.reading.row import Vectors


def pool_rows(values: Vectors, offsets: NDArray[np.int64], how: str) -> NDArray[np.float32]:
    """Pool rows of vectors.

    Args:
        values: (tokens, width), the vectors of all rows, end to end.
        offsets: int64 (rows + 1,), where each row begins.
        how: "mean" (in float64, then rounded), "max", "last" or "first".

    Returns:
        float32 (rows, width); NaN for a row without vectors.
    """
    vectors = np.full((len(offsets) - 1, values.shape[1]), np.nan, np.float32)
    ends = offsets.tolist()
    # A loop over rows is several times faster than NumPy's reduceat, which goes through the values one by one.
    for row in np.flatnonzero(np.diff(offsets)).tolist():
        states = values[ends[row] : ends[row + 1]]
        if how == "mean":
            vectors[row] = states.mean(axis=0, dtype=np.float64)
        else:
            vectors[row] = states.max(axis=0) if how == "max" else states[-1 if how == "last" else 0]
    return vectors
