"""The checks of vectors and of initial states, which may be anything in an input, and the table of a shard's vectors.

A row of vectors becomes a row of ids: an id is the number of its vector in a table of distinct vectors, from 1. So
whatever is done with ids (lengths, masks, shared prefixes) is done with vectors. Two vectors are one if they are equal
in every bit; 0.0 and -0.0 are two.
"""

# Over 150 lines: the checks of all numbers that inputs contain, whose errors have one form.

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import RowError, counted
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.token_ids import shown


class VectorRow(NamedTuple):
    """One checked row.

    Attributes:
        vectors: float32 (steps, width), finite.
        real: bool (steps,), False where a vector is padding.
    """

    vectors: NDArray[np.float32]
    real: NDArray[np.bool_]


def checked_vectors(rows: Sequence[object], width: int, mask_value: float | None) -> list[VectorRow | RowError]:
    """Check rows of vectors.

    Args:
        rows: for each row a list that should contain lists of numbers, or an array (steps, width) of numbers, or a
            RowError, which is returned.
        width: numbers in a vector.
        mask_value: a vector that has only this number is padding; None if none is.

    Returns:
        For each row its vectors, or an error that describes its first bad one.
    """
    return [_checked_row(row, width, mask_value) for row in rows]


def checked_states(states: Sequence[object], width: int) -> list[NDArray[np.float32] | RowError]:
    """Check initial states.

    Args:
        states: for each row a list that should contain numbers, or an array (width,) of numbers.
        width: numbers that the model reads as the initial states of a row.

    Returns:
        For each row float32 (width,), or an error that describes what is wrong.
    """
    return [_checked_state(state, width) for state in states]


def numbered(rows: Sequence[VectorRow], width: int) -> Ragged:
    """Rows of vectors as rows of ids with their table, in which vectors have the order in which they appear first."""
    real = np.concatenate([np.zeros(0, np.bool_), *(row.real for row in rows)])
    content = b"".join(row.vectors[row.real].astype("<f4").tobytes() for row in rows)
    size = 4 * width
    numbers: dict[bytes, int] = {}
    values = np.zeros(len(real), np.int32)
    values[real] = [
        numbers.setdefault(content[begin : begin + size], len(numbers) + 1) for begin in range(0, len(content), size)
    ]
    table = np.frombuffer(b"".join(numbers), "<f4").astype(np.float32).reshape(-1, width)
    return Ragged.from_lengths(values, [len(row.real) for row in rows], table)


def _checked_row(row: object, width: int, mask_value: float | None) -> VectorRow | RowError:
    if isinstance(row, RowError):
        return row
    try:
        numbers = _numbers(row, width)
    except RowError as error:
        return error
    vectors, bad = _in_float32(numbers)
    if bad:
        step, at = bad
        return RowError(
            f"number {at} of vector {step} (from 0) is {numbers[step, at]!s:.60}; allowed: finite numbers of float32"
        )
    real = np.ones(len(vectors), np.bool_) if mask_value is None else (vectors != np.float32(mask_value)).any(axis=1)
    return VectorRow(vectors, real)


def _checked_state(state: object, width: int) -> NDArray[np.float32] | RowError:
    try:
        numbers = _state_numbers(state, width)
    except RowError as error:
        return error
    checked, bad = _in_float32(numbers)
    if bad:
        (at,) = bad
        return RowError(
            f"number {at} (from 0) of its initial state is {numbers[at]!s:.60}; allowed: finite numbers of float32"
        )
    return checked


def _in_float32(numbers: NDArray[np.floating | np.integer]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """The numbers in float32, and the indices of the first one that isn't finite there; none if all are."""
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(numbers, np.float32)
    is_finite = np.isfinite(found)
    return found, () if is_finite.all() else tuple(np.argwhere(~is_finite)[0].tolist())


def _state_numbers(state: object, width: int) -> NDArray[np.floating | np.integer]:
    """An initial state as an array of numbers (width,).

    Raises:
        RowError: it isn't one.
    """
    if isinstance(state, np.ndarray):
        if state.dtype.kind in "iuf" and state.shape == (width,):
            return state
        state = state.tolist()
    if not isinstance(state, list):
        raise RowError(f"its initial state is {shown(state)}; allowed: a list of {counted(width, 'number')}")
    if len(state) != width:
        raise RowError(f"its initial state has {counted(len(state), 'number')}; the model reads {width:,}")
    if set(map(type, state)) - {int, float}:
        at = next(at for at, number in enumerate(state) if type(number) not in (int, float))
        raise RowError(f"number {at} (from 0) of its initial state is {shown(state[at])}; allowed: a number")
    return _floats(state)


def _floats(numbers: list[int | float]) -> NDArray[np.float64]:
    try:
        return np.array(numbers, np.float64)
    except OverflowError as error:
        raise RowError("an integer is too large; allowed: finite numbers of float32") from error


def _numbers(row: object, width: int) -> NDArray[np.floating | np.integer]:
    """A row as an array of numbers (steps, width).

    Raises:
        RowError: it isn't one.
    """
    if isinstance(row, np.ndarray):
        if row.ndim == 2 and row.dtype.kind in "iuf" and row.shape[1] == width:  # noqa: PLR2004 - axes
            return row
        if row.ndim == 1 and not row.size:
            return np.zeros((0, width))
        row = row.tolist()
    if not isinstance(row, list):
        raise RowError(f"its vectors are {shown(row)}; allowed: a list of lists of {counted(width, 'number')}")
    for step, vector in enumerate(row):
        if not isinstance(vector, list):
            raise RowError(f"vector {step} (from 0) is {shown(vector)}; allowed: a list of {counted(width, 'number')}")
        if len(vector) != width:
            numbers = counted(len(vector), "number")
            raise RowError(f"vector {step} (from 0) has {numbers}; the model reads vectors of {width:,}")
    flat = list(chain.from_iterable(row))
    if set(map(type, flat)) - {int, float}:  # a bool is no number
        place = next(at for at, number in enumerate(flat) if type(number) not in (int, float))
        raise RowError(
            f"number {place % width} of vector {place // width} (from 0) is {shown(flat[place])}; allowed: a number"
        )
    return _floats(flat).reshape(-1, width)
