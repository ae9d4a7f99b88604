"""The initial states of rows as a program has them, for a model that reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import RowError, counted
from unrolled.reading.arrays import why_masked
from unrolled.tokenization.number_lists import has_no_value, is_list, number_lists
from unrolled.tokenization.vectors import checked_states
from worker.encoder.arguments import plain_value, refuse_masked, refuse_set
from worker.encoder.rows import arrow_of

if TYPE_CHECKING:
    from worker.encoder.rows import Rows

_ALLOWED = "an array (rows, width) of numbers, a list or an iterator of lists of numbers, or an Arrow array of lists"


def with_initial_states(rows: Rows, given: Any, width: int) -> Rows:
    """Rows with the initial states that belong to them.

    Args:
        rows: the rows.
        given: one list of numbers for each row; of a single row its numbers; None for none.
        width: how many numbers the model reads as the initial states of a row; 0 for none.

    Raises:
        ValueError: the model reads initial states and none are given, the other way round, or there are more or fewer
            than rows.
        RowError: the initial state of a row can't be used; the text has the row's number, counted from 0.
        TypeError: these are no initial states at all.
    """
    if not width:
        if given is not None:
            raise ValueError("initial_states is given, and the model reads none; leave it out")
        return rows
    if given is None:
        raise ValueError(
            f"the model reads initial states; give {counted(width, 'number')} for each row, initial_states"
        )
    states = _listed([given] if rows.single and _is_state(given) else given)
    if len(states) != rows.real.rows:
        raise ValueError(f"{counted(len(states), 'initial state')} for {counted(rows.real.rows, 'row')}; give as many")
    found = []
    for number, state in enumerate(checked_states(states, width)):
        if isinstance(state, RowError):
            raise RowError(f"row {number}: {state}")
        found.append(state)
    return rows._replace(real=rows.real._replace(states=np.stack(found) if found else np.empty((0, width), np.float32)))


def _listed(given: Any) -> list[Any]:
    if (column := arrow_of(given)) is not None:
        if has_no_value(column.type):
            return list(column.to_pylist())
        if not is_list(column.type):
            raise TypeError(f"initial_states are Arrow's {column.type}; allowed: {_ALLOWED}")
        return number_lists(column)
    refuse_masked(given, "initial_states")
    refuse_set(given, "initial_states")
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable):
        raise TypeError(f"initial_states are {type(given).__name__}; allowed: {_ALLOWED}")
    states = list(given)
    for number, state in enumerate(states):
        if why := why_masked(state):
            raise RowError(f"row {number}: its initial state is a masked array: {why}")
    return [_plain(state) for state in states]


def _is_state(given: Any) -> bool:
    """Whether these are the numbers of one row."""
    if hasattr(given, "__array__") and arrow_of(given) is None:
        return bool(np.ndim(given) == 1)
    return isinstance(given, list | tuple) and all(isinstance(number, int | float | np.number) for number in given)


def _plain(state: Any) -> Any:
    """One state as an array or a list."""
    if hasattr(state, "__array__"):
        return np.asarray(state)
    if isinstance(state, list | tuple):
        return [*map(plain_value, state)]
    return state
