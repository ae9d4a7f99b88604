"""The search for a layer's states among the tensors of a graph, which doesn't say which of them these are."""

# Over 150 lines: what is looked for, and all ways in which a tensor may have it.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

#: Which states of a row a tensor may have, in the order in which they are looked for: all; all but the last; the last,
#: which of a backward pass is the first. The others are taken as they should be.
WAYS = ("all", "but_last", "last")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The states of a row.

    Attributes:
        states: (time, outputs), of the model's tokens.
        real: where the row has these.
    """

    states: NDArray[Any]
    real: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        arrays: what it is for each row, by the rows' numbers; this is the middle one of the array's rows.
        limit: the largest difference of the same states.
    """

    arrays: Mapping[int, NDArray[Any]]
    limit: float


@dataclass(frozen=True, slots=True)
class Found:
    """What is nearest to the states.

    Attributes:
        states: of each row, (time, outputs), by its number.
        tensors: which ones have them, by their places; several if the passes of the layer are apart.
        difference: the largest from the states.
        ways: which states these have, see WAYS.
        is_same: whether no difference is larger than its tensor's limit.
    """

    states: dict[int, NDArray[Any]]
    tensors: tuple[int, ...]
    difference: float
    ways: tuple[str, ...]
    is_same: bool


class _Seen(NamedTuple):
    difference: float
    states: dict[int, NDArray[Any]]
    tensor: int
    way: str
    is_same: bool


def find_states(tensors: Sequence[Tensor], wanted: Mapping[int, Wanted], widths: Sequence[int]) -> Found | None:
    """What is nearest to the states; None if no tensor has their shape.

    Args:
        tensors: all that may have them.
        wanted: the states of each row, by its number.
        widths: of the passes of the last layer, which may be in tensors of their own.
    """
    best: Found | None = None
    for parts in ([sum(widths)], widths) if len(widths) > 1 else ([*widths],):
        pieces = []
        for at, end in enumerate(np.cumsum(parts)):
            start = end - parts[at]
            piece = {number: Wanted(one.states[:, start:end], one.real) for number, one in wanted.items()}
            pieces.append(_nearest(tensors, piece, backward=at > 0, alone=len(parts) == len(widths)))
        known = [one for one in pieces if one is not None]
        if len(known) < len(parts):
            continue
        found = Found(
            {number: np.concatenate([one.states[number] for one in known], axis=1) for number in wanted},
            tuple(one.tensor for one in known),
            max(one.difference for one in known),
            tuple(one.way for one in known),
            is_same=all(one.is_same for one in known),
        )
        if found.is_same:
            return found
        best = found if best is None or found.difference < best.difference else best
    return best


def _nearest(tensors: Sequence[Tensor], wanted: Mapping[int, Wanted], *, backward: bool, alone: bool) -> _Seen | None:
    """What is nearest to the states of a pass, or of all passes side by side, whose last states aren't `alone`'s."""
    nearest = None
    for way in WAYS if alone else WAYS[:1]:
        seen = [*_seen(tensors, wanted, way, backward=backward)]
        best = min(seen, key=lambda one: (not one.is_same, one.difference), default=None)
        if best is not None and best.is_same:
            return best
        nearest = nearest or best
    return nearest


def _seen(tensors: Sequence[Tensor], wanted: Mapping[int, Wanted], way: str, *, backward: bool) -> Iterator[_Seen]:
    """Each tensor that may have the states, for each order in which it may have them."""
    for place, tensor in enumerate(tensors):
        ways = [[*_states_in(tensor.arrays[number], one, way, backward=backward)] for number, one in wanted.items()]
        for order in range(min(map(len, ways), default=0)):
            states = {number: found[order] for number, found in zip(wanted, ways, strict=True)}
            differences = [float(np.abs(made - wanted[number].states).max()) for number, made in states.items()]
            largest = float(np.max(differences))  # Python's max loses NaN
            largest = largest if np.isfinite(largest) else float("inf")
            yield _Seen(largest, states, place, way, largest <= tensor.limit)


def _states_in(array: NDArray[Any], wanted: Wanted, way: str, *, backward: bool) -> Iterator[NDArray[Any]]:
    """The middle row's states in an array, (time, width), for each order of axes and of time that it may have."""
    length, width = len(wanted.real), wanted.states.shape[1]
    if array.shape[-1:] != (width,):
        return
    made = np.array(wanted.states, np.float64)
    if way == "last":  # (rows, width)
        at = 0 if backward else -1
        if array.ndim == 2 and len(array) and wanted.real[at]:
            made[at] = array[len(array) // 2]
            yield made
        return
    if array.ndim != 3 or (way == "but_last" and (backward or not wanted.real.all())):
        return
    size = length if way == "all" else length - 1
    rows = []
    if len(array) and array.shape[1] == size:
        rows.append(array[len(array) // 2])
    if array.shape[0] == size and array.shape[1]:
        rows.append(array[:, array.shape[1] // 2])
    for row in rows:
        for turned in (row, row[::-1])[: 2 if backward else 1]:
            if way == "all":
                yield np.asarray(turned[wanted.real], np.float64)
            else:
                made[:-1] = turned
                yield made.copy()
