"""The constant state that an ONNX recurrent node starts from, which the graph repeats for each row of a batch."""

# Over 150 lines: each operator that repeats or cuts a constant.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.found import own_float32
from worker.model_import.readers.onnx.folds import FOLDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.model_import.readers.onnx.constants import Constants

_DEPTH = 32
#: The most numbers of a shape, and the most operations that make one.
_MOST_SIZES = 8
#: The element types float32 and float64, which a Cast may have.
_FLOATS = (1, 11)
#: Operations on the axes of their first input that FOLDS computes.
_MOVES = {"Identity", "Squeeze", "Transpose", "Unsqueeze"}
#: Operations that can't change an array of one number, whatever their other inputs are.
_KEEP_ONE_NUMBER = {*_MOVES, "Expand", "Gather", "Reshape", "Slice", "Split", "Tile"}


def constant_state(constants: Constants, name: str, shape: tuple[int, int, int], rows_axis: int = 1) -> Any:
    """The state of this shape, if it is a constant and one for all rows; else None.

    Args:
        constants: the graph's constants.
        name: of the tensor.
        shape: what it is without rows: (directions, 1, units), or (1, directions, units).
        rows_axis: the axis of rows.
    """
    found = _Repeated(constants).get(name, 0)
    if found is None or found.dtype.kind != "f" or found.ndim > len(shape):
        return None
    if found.ndim == len(shape) and found.shape[rows_axis] > 1:
        first = found.take([0], rows_axis)
        found = first if (found == first).all() else found
    try:
        whole = np.broadcast_to(found, shape)
    except ValueError:
        return None
    return own_float32(name, whole)


class _Repeated:
    """Constants that the graph repeats. An axis of 1 in a result may be any number of equal places in the graph."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants

    def get(self, name: str, depth: int) -> NDArray[Any] | None:
        """The array, or None if it isn't constant but for repetitions."""
        found = self._constants.get(name)
        node = self._constants.maker(name)
        if found is not None or node is None or depth > _DEPTH or not node.input:
            return found
        try:
            return self._made(node, name, depth)
        except (ValueError, IndexError, KeyError, TypeError):
            return None

    def _made(self, node: Any, name: str, depth: int) -> NDArray[Any] | None:
        settings = {one.name: one for one in node.attribute}
        if node.op_type == "ConstantOfShape":
            return self._constants.fill(node)
        if node.op_type == "Gather":
            return self._looked_up(node, depth, settings)
        if node.op_type == "Concat" and depth == 0:  # further up, nothing would show how many numbers each part has
            return self._joined([self.get(source, 1) for source in node.input], settings)
        below = self.get(node.input[0], depth + 1) if node.op_type in (*_KEEP_ONE_NUMBER, "Cast") else None
        if below is None or node.op_type == "Cast":
            return below if below is not None and settings["to"].i in _FLOATS else None
        return below.reshape(()) if below.size == 1 else self._moved(node, name, below, settings)

    def _moved(self, node: Any, name: str, below: NDArray[Any], settings: Any) -> NDArray[Any] | None:
        constants = [self._constants.get(source) if source else None for source in node.input[1:]]
        known = all(one is not None for one, source in zip(constants, node.input[1:], strict=True) if source)
        match node.op_type:
            case "Expand":
                rank = len(self._sizes(node.input[1]))
                return below.reshape((1,) * (rank - below.ndim) + below.shape) if rank >= below.ndim else None
            case "Tile":
                times = self._sizes(node.input[1])
                fits = len(times) == below.ndim and all(
                    size == 1 or count == 1 for size, count in zip(below.shape, times, strict=True)
                )
                return below if fits else None
            case "Slice" if known:
                return _sliced(below, constants, settings)
            case "Split" if known:
                return _split(below, list(node.output).index(name), len(node.output), constants, settings)
            case operator if operator in _MOVES and known:
                return np.asarray(FOLDS[operator]([below, *constants], settings))
        return None

    def _looked_up(self, node: Any, depth: int, settings: Any) -> NDArray[Any] | None:
        """A part of an array by its number, if that is the same everywhere, as a learned state in an embedding is."""
        table, axis = self.get(node.input[0], depth + 1), settings["axis"].i if "axis" in settings else 0
        known = self._constants.get(node.input[1])
        if table is None:
            return None
        if known is not None:
            places, rank = known, known.ndim
        else:
            number = self.get(node.input[1], depth + 1) if table.shape[axis] > 1 else np.zeros(1, np.int64)
            if number is None or number.size != 1:
                return None
            rank = self._rank(node.input[1], depth + 1)
            places = number.reshape((1,) * rank)
        return table.reshape(()) if table.size == 1 else np.take(table, places.astype(np.int64), axis)

    def _rank(self, name: str, depth: int) -> int:
        """How many axes a tensor of numbers has that the graph fills.

        Raises:
            ValueError: nothing shows it.
        """
        node = self._constants.maker(name)
        if node is None or depth > _DEPTH or node.op_type not in ("Cast", "ConstantOfShape", "Expand", "Identity"):
            raise ValueError(name)
        if node.op_type in ("Cast", "Identity"):
            return self._rank(node.input[0], depth + 1)
        return len(self._sizes(node.input[-1]))

    def _sizes(self, name: str, depth: int = 0) -> list[int | None]:
        """The numbers of a shape, None for those that the graph computes.

        Raises:
            ValueError: nothing shows how many numbers there are.
        """
        found, node = self._constants.get(name), self._constants.maker(name)
        if found is not None and found.ndim < 2 and found.size <= _MOST_SIZES:
            return [int(one) for one in found.ravel()]
        if found is not None or node is None or depth > _MOST_SIZES or len(node.input) > _MOST_SIZES:
            raise ValueError(name)
        match node.op_type:
            case "Concat":  # each part that the graph computes must be a single number
                parts = [self._constants.get(source) for source in node.input]
                return [one for part in parts for one in ([None] if part is None else map(int, part.ravel()))]
            case "Reshape" if (shape := self._constants.get(node.input[1])) is not None and shape.tolist() == [-1]:
                return self._sizes(node.input[0], depth + 1)
            case "ConstantOfShape":  # as many numbers as a shape has
                known, shape = self._constants.get(node.input[0]), self._constants.maker(node.input[0])
                if known is not None and known.size == 1 and 0 <= known.item() <= _MOST_SIZES:
                    return [int(self._constants.fill(node))] * int(known.item())
                if shape is not None and shape.op_type == "Shape":
                    return [int(self._constants.fill(node))] * len(self._sizes(shape.input[0], depth + 1))
            case "Where":  # PyTorch puts 1 in the place of -1
                one, other = (self._sizes(source, depth + 1) for source in node.input[1:])
                if len(one) == len(other):
                    return [None] * len(one)
        raise ValueError(name)

    @staticmethod
    def _joined(parts: list[NDArray[Any] | None], settings: Any) -> NDArray[Any] | None:
        """States of both directions one after the other."""
        known = [part.reshape((1,) * (3 - part.ndim) + part.shape) for part in parts if part is not None]
        if len(known) < len(parts) or any(part.ndim != 3 for part in known):
            return None
        axis, rank = settings["axis"].i, 3
        widths = [max(part.shape[one] for part in known) for one in range(rank)]
        if axis not in (0, -3) or widths[0] != 1:
            return None
        try:
            return np.concatenate([np.broadcast_to(part, (1, *widths[1:])) for part in known])
        except ValueError:
            return None


def _sliced(below: NDArray[Any], constants: list[NDArray[Any] | None], settings: Any) -> NDArray[Any]:
    """A slice; along an axis of 1, all places are equal, and so are those of the slice."""
    starts: Any
    ends: Any
    axes: Any
    steps: Any
    if "starts" in settings:  # before opset 10
        starts, ends, steps = settings["starts"].ints, settings["ends"].ints, None
        axes = settings["axes"].ints if "axes" in settings else None
    else:
        starts, ends, axes, steps = (*constants, None, None)[:4]
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * below.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if below.shape[int(axis)] > 1:
            cut[int(axis)] = slice(int(start), int(end), int(step))
    return np.asarray(below[tuple(cut)])


def _split(
    below: NDArray[Any], number: int, count: int, constants: list[NDArray[Any] | None], settings: Any
) -> NDArray[Any]:
    """One of the parts of a split."""
    axis = settings["axis"].i if "axis" in settings else 0
    if below.shape[axis] == 1:
        return below
    sizes = next((one for one in constants if one is not None), settings["split"].ints if "split" in settings else None)
    ends = np.cumsum(sizes)[:-1] if sizes is not None else count
    return np.asarray(np.split(below, ends, axis)[number])
