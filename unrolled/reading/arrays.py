"""Arrow's arrays as NumPy's, and the other way round.

pyarrow's own conversions import pandas, if it is installed, which takes 0.3 s; these don't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from unrolled.reading.row import Vectors


def why_masked(given: object) -> str:
    """Why an array of `numpy.ma` can't be used: its masked values would count as others do; "" if it has none."""
    if not np.ma.is_masked(given):
        return ""
    return "some of its values are masked, and it isn't said what they are; give array.filled(value)"


def numbers(array: pa.Array) -> NDArray[Any]:
    """The numbers of an array or of a slice: a view, (length,), read-only.

    Raises:
        ValueError: one is null.
    """
    found: NDArray[Any] = np.empty(0, array.type.to_pandas_dtype())
    if len(array):
        found = np.frombuffer(_content(array), found.dtype, len(array), array.offset * found.itemsize)
    found.flags.writeable = False
    return found


def truths(array: pa.Array) -> NDArray[np.bool_]:
    """The values of a boolean array or of a slice: bool (length,), read-only.

    Raises:
        ValueError: one is null.
    """
    bits = np.empty(0, np.uint8)
    if len(array):
        # Arrow has eight in a byte, the first one in its lowest bit.
        first, stop = array.offset // 8, (array.offset + len(array) + 7) // 8
        bits = np.unpackbits(np.frombuffer(_content(array), np.uint8, stop - first, first), bitorder="little")
        bits = bits[array.offset - 8 * first :][: len(array)]
    bits.flags.writeable = False
    return bits.view(np.bool_)


def arrow(values: NDArray[Any]) -> pa.Array:
    """Numbers or booleans, (length,), as Arrow's array; numbers that are contiguous aren't copied."""
    content = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(content)])


def _content(array: pa.Array) -> pa.Buffer:
    if array.null_count:
        raise ValueError(f"{array.null_count} of {len(array)} values are null; allowed: none")
    return array.buffers()[1]


def row_vectors(lists: pa.FixedSizeListArray) -> Vectors:
    """The vectors of a pooled column, a record batch's or a slice's.

    Returns:
        (rows, width), read-only; NaN for a row that is null. A view where no row is.
    """
    # flatten() respects the slice, and leaves nulls out.
    values: Vectors = numbers(lists.flatten()).reshape(-1, lists.type.list_size)
    if not lists.null_count:
        return values
    vectors = np.full((len(lists), values.shape[1]), np.nan, values.dtype)
    vectors[truths(lists.is_valid())] = values
    vectors.flags.writeable = False
    return vectors
