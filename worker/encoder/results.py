"""Results in the form that the caller wants: arrays of NumPy, Arrow, PyTorch or TensorFlow."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unrolled.errors import RequestError, from_extra

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

Output = Literal["numpy", "arrow", "torch", "tf"]

# Offsets of an Arrow list are 32 bits wide, those of a large list 64.
_MOST_VECTORS = 2**31 - 1


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors with length 1, changed in place; those of length 0 stay zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    vectors /= lengths[:, None].astype(np.float32)
    return vectors


def row_vectors(vectors: NDArray[np.float32], is_empty: NDArray[np.bool_], output: Output) -> Any:
    """One vector for each row.

    Args:
        vectors: float32 (rows, width).
        is_empty: bool (rows,), True for rows without a token, which have no vector.
        output: the form; without a copy, but for "tf".

    Returns:
        (rows, width), with NaN for rows without a vector; for "arrow" a fixed-size list array with nulls there.
    """
    if output == "arrow":
        return _fixed_size_lists(vectors, is_empty)
    vectors[is_empty] = np.nan
    return _tensor(vectors, output)


def token_vectors(vectors: NDArray[np.float32], offsets: NDArray[np.int64], output: Output) -> Any:
    """A vector for each token.

    Args:
        vectors: float32 (tokens, width).
        offsets: int64 (rows + 1,), where each row begins.
        output: the form; without a copy, but for "tf".

    Returns:
        For "numpy" and "torch" a list with an array (tokens of the row, width) for each row; for "arrow" one list
        array; for "tf" a ragged tensor.
    """
    if output == "arrow":
        import pyarrow as pa  # noqa: PLC0415 - only who asks for it waits for it

        values = _fixed_size_lists(vectors, None)
        if len(vectors) > _MOST_VECTORS:
            return pa.LargeListArray.from_arrays(pa.array(offsets), values)
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    if output == "tf":
        tf = _tensorflow()
        return tf.RaggedTensor.from_row_splits(tf.constant(vectors), offsets)
    whole, ends = _tensor(vectors, output), offsets.tolist()
    return [whole[begin:end] for begin, end in pairwise(ends)]


def load_library(output: Output) -> None:
    """Load the library that a form needs: before anything is computed, because the results would be lost without it.

    Raises:
        RequestError: it isn't installed.
    """
    if output == "tf":
        _tensorflow()
    if output == "torch" and find_spec("torch") is None:
        raise RequestError("output='torch' needs PyTorch, which is missing: pip install torch")


def _tensor(vectors: NDArray[np.float32], output: Output) -> Any:
    if output == "torch":
        import torch  # noqa: PLC0415 - it takes seconds to load

        return torch.from_numpy(vectors)
    return _tensorflow().constant(vectors) if output == "tf" else vectors


def _tensorflow() -> Any:
    with from_extra("output='tf'", "tensorflow"):
        import tensorflow as tf  # noqa: PLC0415 - it takes seconds to load  # type: ignore[import-untyped]
    return tf


def _fixed_size_lists(vectors: NDArray[np.float32], is_null: NDArray[np.bool_] | None) -> pa.FixedSizeListArray:
    import pyarrow as pa  # noqa: PLC0415 - only who asks for it waits for it

    mask = None if is_null is None or not is_null.any() else pa.array(is_null)
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1], mask=mask)
