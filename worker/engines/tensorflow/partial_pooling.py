"""Pools a row whose chunks are computed one after the other.

The order of all additions depends on the row alone: a chunk's sum is a tree over its positions (see `stack`), and
chunks are added one after the other, in float64.
"""

import numpy as np
from numpy.typing import NDArray

#: Unfinished pooled vectors (rows, width): float64 sums for "mean", float32 for the other poolings.
Partial = NDArray[np.float64] | NDArray[np.float32]


def first_partial(pooling: str, found: NDArray[np.float32]) -> Partial:
    """The unfinished vectors after the first chunk, which gave `found` (rows, width): for "mean" sums."""
    return found.astype(np.float64) if pooling == "mean" else found


def next_partial(pooling: str, before: Partial, found: NDArray[np.float32]) -> Partial:
    """The unfinished vectors after another chunk of these rows."""
    match pooling:
        case "mean":
            return before + found
        case "max":
            return np.maximum(before, found)
        case "first":
            return before
        case _:
            return found


def finish(pooling: str, partial: Partial, lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """The pooled vectors, float32 (rows, width), of rows of these lengths."""
    if pooling == "mean":
        return (partial / lengths[:, None]).astype(np.float32)
    # Adding 0 turns -0 into 0. Which of the two a maximum is depends on the order.
    return (partial + np.float32(0)).astype(np.float32, copy=False)


def pool_row(pooling: str, states: NDArray[np.float32]) -> NDArray[np.float32]:
    """The pooled vector (width,) of a whole row's states (tokens, width), of which there is at least one."""
    vector: NDArray[np.float32]
    if pooling == "mean":
        vector = states.mean(axis=0, dtype=np.float64).astype(np.float32)
    elif pooling == "max":
        vector = states.max(axis=0) + np.float32(0)
    else:
        vector = states[0 if pooling == "first" else -1]
    return vector
