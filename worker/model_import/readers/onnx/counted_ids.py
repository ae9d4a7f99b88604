"""Ids that a graph computes from the model's input only if they are negative, as Keras 3 counts those from the end.

No id is negative here, so `ids < 0` is false, and where(ids < 0, ids + N, ids) is the ids. Exporters write it in many
ways, with Where or as products with truths. So operations are followed for an id of which only this is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.model_import.readers.onnx.constants import Constants

_DEPTH = 16
_STANDARD = ("", "ai.onnx")
#: The types that have the ids of every embedding: int32, int64, float32 and float64.
_OF_IDS = {6, 7, 1, 11}
_BOOL = 9
#: Comparisons, with the answer for an id and a number: None if it depends on the id.
_COMPARED: dict[str, Callable[[float], bool | None]] = {
    "Less": lambda number: False if number <= 0 else None,
    "LessOrEqual": lambda number: False if number < 0 else None,
    "Greater": lambda number: True if number < 0 else None,
    "GreaterOrEqual": lambda number: True if number <= 0 else None,
}
#: The comparison with the two sides exchanged.
_TURNED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual", "Greater": "Less", "GreaterOrEqual": "LessOrEqual"}


@dataclass(frozen=True, slots=True)
class _Value:
    """What is known of a tensor that has the shape of the ids, or one number.

    Attributes:
        ids: name of the input if it is the ids themselves, else "".
        number: its number, the same for all ids; None if it depends on the id.
        source: name of the input that it is computed from; "" for a constant.
    """

    ids: str = ""
    number: float | None = None
    source: str = ""


class CountedIds:
    """Finds tensors that equal the model's input for all ids that aren't negative.

    Args:
        constants: the graph's constants.
    """

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        # Results are kept: a graph in which every node reads the last one twice has 2^n ways to its beginning.
        self._known: dict[str, _Value | None] = {
            value.name: _Value(ids=value.name, source=value.name) for value in constants.inputs
        }

    def source_of(self, name: str) -> str:
        """Name of the model's input that a tensor equals; "" if it isn't proven, or if it is that input."""
        found = self._value(name, 0)
        return found.ids if found is not None and found.ids != name else ""

    def _value(self, name: str, depth: int) -> _Value | None:
        if name not in self._known:
            self._known[name] = None  # if a graph is a cycle
            self._known[name] = self._found(name, depth)
        return self._known[name]

    def _found(self, name: str, depth: int) -> _Value | None:
        shape = self._constants.shape(name)
        if shape is not None:
            found = self._constants.get(name) if shape in ((), (1,)) else None
            return None if found is None or found.dtype.kind not in "iufb" else _Value(number=float(found.ravel()[0]))
        node = self._constants.maker(name)
        if node is None or depth > _DEPTH or node.domain not in _STANDARD or not 0 < len(node.input) <= 3:
            return None
        parts = [self._value(one, depth + 1) for one in node.input]
        known = [part for part in parts if part is not None]
        sources = {part.source for part in known if part.source}
        return _computed(node, known, sources.pop()) if len(known) == len(parts) and len(sources) == 1 else None


def _computed(node: Any, parts: list[_Value], source: str) -> _Value | None:
    """The value of an operation on values of one input; None if it isn't one of each id alone."""
    kind = str(node.op_type)
    if len(parts) == 1:
        return _of_one(node, parts[0], source)
    if kind == "Where" and len(parts) == 3:
        truth = parts[0].number
        chosen = _Value() if truth is None else parts[1 if truth else 2]
        return _Value(chosen.ids, chosen.number, source)
    if kind in _COMPARED and len(parts) == 2:
        return _Value(number=_compared(kind, parts[0], parts[1]), source=source)
    if kind not in ("Mul", "Add") or len(parts) != 2:
        return None
    return _combined(parts[0], parts[1], source, is_product=kind == "Mul")


def _of_one(node: Any, one: _Value, source: str) -> _Value | None:
    """The value of an operation on a single value."""
    kind = next((setting.i for setting in node.attribute if setting.name == "to"), 0)
    if node.op_type == "Not":
        return _Value(number=None if one.number is None else float(not one.number), source=source)
    if node.op_type == "Cast" and kind in {*_OF_IDS, _BOOL}:
        return _Value("" if kind == _BOOL else one.ids, one.number, source)
    return one if node.op_type == "Identity" else None


def _compared(kind: str, one: _Value, other: _Value) -> float | None:
    """1 or 0 if a comparison has this result for all ids, else None."""
    if other.ids:
        one, other, kind = other, one, _TURNED[kind]
    answer = _COMPARED[kind](other.number) if one.ids and other.number is not None else None
    return None if answer is None else float(answer)


def _combined(one: _Value, other: _Value, source: str, *, is_product: bool) -> _Value:
    """A sum or a product."""
    if is_product and 0 in (one.number, other.number):
        return _Value(number=0.0, source=source)
    neutral = float(is_product)
    if neutral not in (one.number, other.number):
        return _Value(source=source)
    kept = other if one.number == neutral else one
    return _Value(kept.ids, kept.number, source)
