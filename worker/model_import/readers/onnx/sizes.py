"""Shapes that a graph computes from the shape of a tensor, as PyTorch's exporter writes a Reshape that joins axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.model_import.readers.onnx.constants import Constants

#: More operations than a shape is computed with: a graph in which each reads the last one twice has 2^n ways.
_MOST_STEPS = 64
_INTEGERS = (6, 7)
#: The axis of a size that is what remains: -1.
REST = -1

#: For each size of a shape: the axes of a tensor whose sizes it is the product of.
Sizes = list[tuple[int, ...]]


def sizes_from(constants: Constants, name: str, source: str, rank: int) -> Sizes | None:
    """The axes that each size of a computed shape comes from; (REST,) for what remains. None if it isn't so.

    Args:
        constants: the graph's constants.
        name: of the shape.
        source: of the tensor whose sizes it has.
        rank: how many axes that tensor has.
    """
    return _Steps(constants, source, rank).sizes(name)


class _Steps:
    def __init__(self, constants: Constants, source: str, rank: int) -> None:
        self._constants, self._source, self._rank = constants, source, rank
        self._left = _MOST_STEPS

    def sizes(self, name: str) -> Sizes | None:
        self._left -= 1
        shape = self._constants.shape(name)
        if shape is not None:
            known = self._numbers(name) if shape in ((), (1,)) else None
            return [(REST,)] if known == [REST] else None
        node = self._constants.maker(name)
        if self._left < 0 or node is None or node.domain not in ("", "ai.onnx") or not node.input:
            return None
        settings = {one.name: one for one in node.attribute}
        if node.op_type == "Shape":
            start = settings["start"].i if "start" in settings else 0
            whole = node.input[0] == self._source and start == 0 and "end" not in settings
            return [(axis,) for axis in range(self._rank)] if whole else None
        if node.op_type == "Concat":
            parts = [self.sizes(one) for one in node.input]
            found = [part for part in parts if part is not None]
            return [size for part in found for size in part] if len(found) == len(parts) else None
        if node.op_type == "Mul" and len(node.input) == 2:
            one, other = (self.sizes(each) for each in node.input)
            plain = one is not None and other is not None and len(one) == len(other) == 1
            return [(*one[0], *other[0])] if plain and one is not None and other is not None else None
        return self._chosen(node, self.sizes(node.input[0]), settings)

    def _chosen(self, node: Any, below: Sizes | None, settings: dict[str, Any]) -> Sizes | None:
        """Some of the sizes of a shape, as a node that changes none of them gives them."""
        more = [self._numbers(one) for one in node.input[1:]]
        if below is None or None in more:
            return None
        first, second, axes, steps = (*more, None, None, None, None)[:4]
        if node.op_type == "Slice" and first and second and axes in (None, [0]) and steps in (None, [1]):
            return below[first[0] : second[0]]
        if node.op_type == "Gather" and first and -len(below) <= first[0] < len(below) and len(first) == 1:
            return [below[first[0]]]
        is_cast = node.op_type == "Cast" and settings["to"].i in _INTEGERS
        moves = node.op_type in ("Identity", "Squeeze", "Unsqueeze") or (node.op_type == "Reshape" and len(below) == 1)
        return below if is_cast or moves else None

    def _numbers(self, name: str) -> list[int] | None:
        found = self._constants.get(name) if self._constants.shape(name) in ((), (1,)) else None
        return None if found is None or found.dtype.kind != "i" else [int(one) for one in found.ravel()]
