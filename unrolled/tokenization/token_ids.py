"""The check of token ids, which may be anything in an input."""

from collections.abc import Sequence, Sized
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import RowError, shortened

#: In the reason of a row whose tokens aren't all integers.
NO_INTEGER = "not an integer"
# Longer values are cut in messages.
_SHOWN_BITS = 128
_SHOWN_CHARACTERS = 60


def checked_ids(rows: Sequence[object], vocab_size: int) -> list[NDArray[np.int32] | RowError]:
    """Check rows of token ids; if all are good, they are checked at once.

    Args:
        rows: for each row a list that should contain integers, or an integer array of any width, or a RowError,
            which is returned.
        vocab_size: ids 0..vocab_size are allowed.

    Returns:
        For each row its ids as int32 (steps,), or an error that describes its first bad id.
    """
    together = _integers(rows)
    if together is None or not _in_range(together, vocab_size):
        return [_checked_row(row, vocab_size) for row in rows]
    flat = together.astype(np.int32)
    lengths = [len(row) for row in rows if isinstance(row, Sized)]
    ends = np.cumsum(lengths, dtype=np.int64).tolist()
    return [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _integers(rows: Sequence[object]) -> NDArray[np.integer] | None:
    """Join rows into one integer array; None unless every row is a sequence of integers of 64 bits."""
    if rows and all(isinstance(row, np.ndarray) and row.dtype.kind in "iu" and row.ndim == 1 for row in rows):
        arrays = [np.asarray(row) for row in rows]
        # NumPy joins uint64 and int64 to float64.
        return np.concatenate(arrays) if len({array.dtype for array in arrays}) == 1 else None
    lists = [row for row in rows if isinstance(row, list)]
    flat = list(chain.from_iterable(lists))
    if len(lists) < len(rows) or set(map(type, flat)) - {int}:  # NumPy would take a bool for an integer
        return None
    try:
        return np.fromiter(flat, np.int64, len(flat))
    except OverflowError:
        return None


def _in_range(ids: NDArray[np.integer], vocab_size: int) -> bool:
    return not ids.size or (int(ids.min()) >= 0 and int(ids.max()) <= vocab_size)


def _checked_row(row: object, vocab_size: int) -> NDArray[np.int32] | RowError:
    if isinstance(row, RowError):
        return row
    ids = _integers([row])
    if ids is not None and _in_range(ids, vocab_size):
        return ids.astype(np.int32)
    if isinstance(row, np.ndarray):
        row = row.tolist()
        if row == []:  # whatever its type is
            return np.empty(0, np.int32)
        ids = _integers([row])
        if ids is not None and _in_range(ids, vocab_size):  # Python's integers, in an array of objects
            return ids.astype(np.int32)
    if not isinstance(row, list):
        text = "; make a text of bytes with decode()" if isinstance(row, bytes) else ""
        return RowError(f"its tokens are {shown(row)}; allowed: a list of integers{text}")
    at = next(at for at, found in enumerate(row) if type(found) is not int or not 0 <= found <= vocab_size)
    what = "" if type(row[at]) is int else f"{NO_INTEGER}; "
    return RowError(f"token {shown(row[at])} at position {at} (from 0); {what}allowed: 0 (padding) and 1..{vocab_size}")


def shown(value: object) -> str:
    """A value as in JSON, at most 60 characters."""
    if type(value) is int and value.bit_length() > _SHOWN_BITS:  # Python may refuse to convert it to text
        return f"of {value.bit_length()} bits"
    words = {"None": "null", "True": "true", "False": "false"}
    text = repr(value)
    return words.get(text, shortened(text, _SHOWN_CHARACTERS))
