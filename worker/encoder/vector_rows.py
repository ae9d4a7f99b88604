"""Rows of vectors as a program has them, for a model that reads vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from unrolled.errors import RowError
from unrolled.reading.arrays import why_masked
from unrolled.tokenization.number_lists import has_no_value, is_vectors, number_lists
from unrolled.tokenization.vectors import VectorRow, checked_vectors, numbered
from worker.encoder.arguments import plain_value, refuse_masked, refuse_set
from worker.encoder.rows import Rows, arrow_of

_ALLOWED = (
    "an array (steps, width) of numbers, a list of vectors, a list or an iterator of these, or an Arrow array of lists "
    "of lists of numbers"
)
_ROW_AXES = 2


def read_vectors(given: Any, width: int, mask_value: float | None) -> Rows:
    """Read rows of any of the kinds that `Encoder.encode` takes for a model that reads vectors.

    Args:
        given: the rows.
        width: numbers in a vector.
        mask_value: a vector that has only this number is padding; None if none is.

    Raises:
        RowError: a row can't be used; the text has its number, counted from 0.
        TypeError: these are no rows at all.
    """
    rows, single = _listed(given)
    found: list[VectorRow] = []
    for number, row in enumerate(checked_vectors([_plain(row) for row in rows], width, mask_value)):
        if isinstance(row, RowError):
            raise RowError(f"row {number}: {row}")
        found.append(row)
    real = numbered(found, width)
    return Rows(real if real.values.all() else real.where(real.values != 0), single)


def _listed(given: Any) -> tuple[list[Any], bool]:
    """The rows as a list, and whether a row was given alone."""
    if (column := arrow_of(given)) is not None:
        if has_no_value(column.type):
            return column.to_pylist(), False
        if not is_vectors(column.type):
            raise TypeError(f"rows are Arrow's {column.type}; allowed: {_ALLOWED}")
        return number_lists(column), False
    if hasattr(given, "__array__"):
        refuse_masked(given, "rows")
        array = np.asarray(given)
        if array.dtype != object and array.ndim == _ROW_AXES:
            return [array], True
        return list(array) if array.ndim else _refuse(given), False
    refuse_set(given, "rows")
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        _refuse(given)
    rows = list(given)
    is_row = bool(rows) and all(is_vector(row) for row in rows)
    return ([rows], True) if is_row else (rows, False)


def is_vector(value: Any) -> bool:
    """Whether this is one vector, and so no row of vectors; an array without numbers is a row without vectors."""
    return _axes(value) == 1 and np.size(value) > 0


def _axes(value: Any) -> int:
    """The axes of an array, or of a list by its first element; 0 of a number."""
    if hasattr(value, "__array__"):
        return int(np.ndim(value))
    if isinstance(value, list | tuple):
        return 1 + (_axes(value[0]) if len(value) else _ROW_AXES)  # an empty list is a row without vectors
    return 0


def _refuse(given: Any) -> list[Any]:
    raise TypeError(f"rows are {type(given).__name__}; allowed: {_ALLOWED}")


def _plain(row: Any) -> Any:
    """One row as an array, or as a list of lists; why not, if it can't be used."""
    for each in (row, *row) if isinstance(row, list | tuple) else (row,):
        if why := why_masked(each):
            return RowError(f"it is or has a masked array: {why}")
    if hasattr(row, "__array__"):
        return np.asarray(row)
    if isinstance(row, list | tuple):
        return [_numbers(vector) for vector in row]
    return row


def _numbers(vector: Any) -> Any:
    if hasattr(vector, "__array__"):
        return np.asarray(vector).tolist()
    if isinstance(vector, list | tuple):
        return [plain_value(number) for number in vector] if set(map(type, vector)) - {int, float} else list(vector)
    return vector
