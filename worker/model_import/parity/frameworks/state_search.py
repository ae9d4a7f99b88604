"""The search for a layer's states among the tensors of a graph, which doesn't say which of them these are."""

# Over 150 lines: what is looked for, and all ways in which a tensor may have it.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Which states of a row a tensor may have, in the order in which they are looked for: all; all but the last; the last,
#: which of a backward pass is the first. Others are taken as they should be.
WAYS = ("all", "but_last", "last")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The states of a row.

    Attributes:
        states: (time, outputs), of the model's tokens.
        real: where the row has these.
        ends: (2, outputs), the states after the first and after the last of the row's steps, which may be of padding;
            NaN where they aren't known.
    """

    states: NDArray[Any]
    real: NDArray[np.bool_]
    ends: NDArray[Any]


#: What a tensor of a graph is for each row, by the rows' numbers; this is the middle one of the array's rows.
Tensor = Mapping[int, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Found:
    """What is nearest to the states.

    Attributes:
        states: of each row that shows some, (time, outputs), by its number.
        difference: the largest from the states.
        ways: which states these have, see WAYS, in one tensor or in one for each pass.
    """

    states: dict[int, NDArray[Any]]
    difference: float
    ways: tuple[str, ...]


class _Seen(NamedTuple):
    difference: float
    states: dict[int, NDArray[Any]]
    way: str


def find_states(
    tensors: Sequence[Tensor], wanted: Mapping[int, Wanted], widths: Sequence[int], limit: float
) -> Found | None:
    """What is nearest to the states; None if no tensor has their shape.

    Args:
        tensors: all that may have them.
        wanted: the states of each row, by its number.
        widths: of the passes of the last layer, which may be in tensors of their own.
        limit: the largest difference of the same states.

    Returns:
        Of those that are the same, if some are, the one that shows most.
    """
    backward = np.repeat(np.arange(len(widths)) > 0, widths)
    together = WAYS if len(widths) == 1 else ("all",)
    found = _found([_nearest(tensors, wanted, backward, together, limit)])
    if len(widths) == 1 or (found is not None and found.difference <= limit):
        return found
    places = np.split(np.arange(len(backward)), np.cumsum(widths)[:-1])
    apart = [_nearest(tensors, _part(wanted, place), backward[place], WAYS, limit) for place in places]
    last = _nearest(tensors, wanted, backward, ("last",), limit)
    known = [one for one in (found, _found(apart), _found([last])) if one is not None]
    same = [one for one in known if one.difference <= limit]
    if same:
        return min(same, key=lambda one: (_hidden(one) * len(widths) // len(one.ways), len(one.ways)))
    return min(known, key=lambda one: one.difference, default=None)


def _hidden(found: Found) -> int:
    """How little it shows, over all its tensors."""
    return sum(map(WAYS.index, found.ways))


def _part(wanted: Mapping[int, Wanted], place: NDArray[np.intp]) -> dict[int, Wanted]:
    return {number: Wanted(one.states[:, place], one.real, one.ends[:, place]) for number, one in wanted.items()}


def _found(seen: Sequence[_Seen | None]) -> Found | None:
    """The states of all passes, of the rows in which each is seen; None if one isn't seen, or not in the same rows."""
    known = [one for one in seen if one is not None]
    rows = [number for number in known[0].states if all(number in one.states for one in known)] if known else []
    if len(known) < len(seen) or not rows:
        return None
    states = {number: np.concatenate([one.states[number] for one in known], axis=1) for number in rows}
    return Found(states, max(one.difference for one in known), tuple(one.way for one in known))


def _nearest(
    tensors: Sequence[Tensor],
    wanted: Mapping[int, Wanted],
    backward: NDArray[np.bool_],
    ways: Sequence[str],
    limit: float,
) -> _Seen | None:
    """What is nearest to the states; in the first of some ways, if it is the same.

    Args:
        tensors: see `find_states`.
        wanted: see there.
        backward: whether each number of a state is of a backward pass.
        ways: of WAYS.
        limit: see `find_states`.
    """
    nearest = None
    for way in ways:
        rows = {number: one for number, one in wanted.items() if _is_shown(one, way, backward)}
        for tensor in tensors:
            found = [_states_in(tensor[number], one, way, backward) for number, one in rows.items()]
            for order in found[0] if found else ():
                if all(order in states for states in found):
                    seen = _seen({number: states[order] for number, states in zip(rows, found, strict=True)}, rows, way)
                    nearest = seen if nearest is None or seen.difference < nearest.difference else nearest
        if nearest is not None and nearest.difference <= limit:
            break
    return nearest


def _is_shown(wanted: Wanted, way: str, backward: NDArray[np.bool_]) -> bool:
    """Whether a row's states of a way are known."""
    if way == "but_last":
        return bool(wanted.real[:-1].any()) and not backward.any()
    return way == "all" or not np.isnan(_ends(wanted, backward)).any()


def _ends(wanted: Wanted, backward: NDArray[np.bool_]) -> NDArray[Any]:
    """The states in which the passes over a row end, (width,)."""
    return np.asarray(np.where(backward, *wanted.ends))


def _seen(states: dict[int, NDArray[Any]], wanted: Mapping[int, Wanted], way: str) -> _Seen:
    differences = [float(np.abs(made - wanted[number].states).max()) for number, made in states.items()]
    largest = float(np.max(differences))  # Python's max loses NaN
    return _Seen(largest if np.isfinite(largest) else float("inf"), states, way)


def _states_in(
    array: NDArray[Any], wanted: Wanted, way: str, backward: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """The middle row's states in an array, (time, width), by the order of axes and of time that it may have."""
    made = np.array(wanted.states, np.float64)
    if array.shape[-1:] != made.shape[1:] or array.ndim != (2 if way == "last" else 3):
        return {}
    if way == "last":  # (rows, width)
        if not len(array):
            return {}
        # A difference at a step of padding is shown at the token before or behind it.
        errors = array[len(array) // 2] - _ends(wanted, backward)
        made[np.where(backward, 0, -1), np.arange(len(backward))] += errors
        return {"": made}
    found = {}
    size = len(wanted.real) - (way == "but_last")
    for order, axis in (("rows first", 0), ("tokens first", 1)):
        if array.shape[1 - axis] == size and array.shape[axis]:
            found[order] = array.take(array.shape[axis] // 2, axis)
            if backward.all():
                found[f"{order}, backward"] = found[order][::-1]
    shown = {order: row[wanted.real[:size]] for order, row in found.items()}
    return {order: np.concatenate([row, made[len(row) :]]).astype(np.float64) for order, row in shown.items()}
