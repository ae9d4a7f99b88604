"""Rows of numbers from Arrow columns: lists of token ids, or lists of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from unrolled.tokenization.ragged import offsets_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def is_list(type_: Any) -> bool:
    """Whether it is a list of any of Arrow's kinds."""
    of = pa.types
    return any(check(type_) for check in (of.is_list, of.is_large_list, of.is_fixed_size_list))


def is_vectors(type_: Any) -> bool:
    """Whether it is a list of lists of numbers."""
    return is_list(type_) and is_numbers(type_.value_type)


def is_numbers(type_: Any) -> bool:
    """Whether it is a list of numbers."""
    return is_list(type_) and bool(pa.types.is_integer(type_.value_type) or pa.types.is_floating(type_.value_type))


def has_no_value(type_: Any) -> bool:
    """Whether it is null, or lists of it: the type of a column in which no value occurs, such as one without rows."""
    while is_list(type_):
        type_ = type_.value_type
    return bool(pa.types.is_null(type_))


def number_lists(column: Any) -> list[Any]:
    """The rows of a column of lists, or of lists of lists, of numbers.

    Returns:
        A NumPy view for each list, (numbers,) or (vectors, width), and None for a null. Python lists if there is a null
        in one of them, or if vectors are of unequal width. Of a column in which no value occurs, no list has
        more than its first element: elements without values may be any number, and take no bytes.
    """
    if has_no_value(column.type):
        if pa.types.is_null(column.type):
            return [None] * len(column)
        counts: list[int | None] = pc.list_value_length(column).to_pylist()
        of_rows = (column.slice(row, 1) for row in range(len(column)))
        return [
            None if count is None else number_lists(row.flatten().slice(0, 1))
            for count, row in zip(counts, of_rows, strict=True)
        ]
    values = column.flatten()  # without values below null lists
    numbers = None if values.null_count else _array_of(values)
    if numbers is None:
        return column.to_pylist()  # type: ignore[no-any-return]
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = offsets_of(lengths)
    valid = column.is_valid().to_pylist()
    return [
        numbers[start:end] if is_valid else None
        for start, end, is_valid in zip(offsets[:-1].tolist(), offsets[1:].tolist(), valid, strict=True)
    ]


def _array_of(values: Any) -> NDArray[np.generic] | None:
    """Numbers (values,), or vectors (values, width); None if vectors contain nulls or differ in width."""
    if not is_list(values.type):
        return values.to_numpy()  # type: ignore[no-any-return]
    numbers, lengths = values.flatten(), pc.list_value_length(values).to_numpy(zero_copy_only=False)
    if numbers.null_count or (len(lengths) and lengths.min() != lengths.max()):
        return None
    width = int(lengths[0]) if len(lengths) else 0
    return numbers.to_numpy().reshape(len(lengths), width)  # type: ignore[no-any-return]
