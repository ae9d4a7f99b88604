"""Lengths of rows that an ONNX graph counts: the ids of a row that aren't those of padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.model_import.readers.onnx.axes import AxesOfGraph
    from worker.model_import.readers.onnx.constants import Constants

_DEPTH = 16
#: Element types that a count, or an id, can have without becoming another number: int32, int64, float32, float64.
_COUNTS = {6, 7, 1, 11}
_BOOL = 9
#: Operators on the axes of lengths, which have one axis in the end.
_MOVES = {"Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten"}


def padding_of(constants: Constants, axes: AxesOfGraph, name: str, time: str | None) -> tuple[str, int] | None:
    """The ids that a graph counts in the lengths of rows, and the one that it doesn't count; None if it does otherwise.

    Args:
        constants: the graph's constants.
        axes: those of its tensors.
        name: of the lengths.
        time: the axis of the ids along which the layer reads.
    """
    total = _below(constants, name, _MOVES)
    if total is None or total.op_type != "ReduceSum" or time is None:
        return None
    settings = {one.name: one for one in total.attribute}
    along = constants.get(total.input[1]) if len(total.input) > 1 and total.input[1] else None
    given = list(settings["axes"].ints) if "axes" in settings else []  # before opset 13
    places = given if along is None else [int(one) for one in along.ravel()[:2]]
    compared = _counted(constants, total.input[0])
    if compared is None or len(places) != 1:
        return None
    ids, number = compared
    found = axes.of(ids)
    if found is None or sorted(found) != ["a", "b"] or not -2 <= places[0] < 2 or found[places[0]] != time:
        return None
    return ids, number


def _counted(constants: Constants, name: str) -> tuple[str, int] | None:
    """The ids and the number of a tensor that has a one where an id isn't that number, and a zero elsewhere."""
    node = _below(constants, name, {"Identity"})
    if node is None:
        return None
    if node.op_type == "Where" and len(node.input) == 3:
        values = [constants.get(one) for one in node.input[1:]]
        if any(one is None or one.size != 1 for one in values):
            return None
        pair = [float(one.ravel()[0]) for one in values if one is not None]
        return _differs(constants, node.input[0], wanted=pair[0] == 1) if sorted(pair) == [0, 1] else None
    if node.op_type == "Sign":
        return node.input[0], 0
    return _differs(constants, name, wanted=True)


def _differs(constants: Constants, name: str, *, wanted: bool) -> tuple[str, int] | None:
    """The ids and the number of a tensor of truths that is `wanted` where an id isn't that number."""
    node = _below(constants, name, {"Identity"})
    if node is None:
        return None
    if node.op_type == "Not":
        return _differs(constants, node.input[0], wanted=not wanted)
    if node.op_type == "Cast" and {one.name: one.i for one in node.attribute}.get("to") == _BOOL:
        return (node.input[0], 0) if wanted else None
    pairs = [(one, constants.get(other)) for one, other in zip(node.input, reversed(node.input), strict=True)]
    known = [(ids, number) for ids, number in pairs if number is not None and number.size == 1]
    if len(node.input) != 2 or len(known) != 1:
        return None
    ids, number = known[0][0], float(known[0][1].ravel()[0])
    ids_first = ids == node.input[0]
    if node.op_type == "Equal" and not wanted and number >= 0 and number.is_integer():
        return ids, int(number)
    # No id is below 0: one that is above 0, or at least 1, isn't 0.
    above = {"Greater": 0, "GreaterOrEqual": 1} if ids_first else {"Less": 0, "LessOrEqual": 1}
    if not wanted:
        above = {"LessOrEqual": 0, "Less": 1} if ids_first else {"GreaterOrEqual": 0, "Greater": 1}
    return (ids, 0) if above.get(node.op_type) == number else None


def _below(constants: Constants, name: str, through: set[str]) -> Any:
    """The node that computes a tensor, below those that pass its numbers on; None if there is none."""
    for _ in range(_DEPTH):
        node = constants.maker(name)
        if node is None or node.domain not in ("", "ai.onnx") or not node.input:
            return None
        settings = {one.name: one.i for one in node.attribute}
        if node.op_type not in through and not (node.op_type == "Cast" and settings.get("to") in _COUNTS):
            return node
        name = node.input[0]
    return None
