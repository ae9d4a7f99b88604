"""The meaning of a tensor's axes, followed from the ids: a recurrent layer must read along the tokens, not along rows.

An axis is "a" or "b" (of the ids: rows and tokens, in the order of the input), "d" (directions), "f" (a vector's
numbers) or "1". None means that the file alone doesn't show it: a Reshape to sizes that are computed, for example.
"""

# Over 150 lines: one method for each operator that keeps the meaning of axes.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.readers.onnx.maps import is_width_1
from worker.model_import.readers.onnx.sizes import REST, sizes_from

if TYPE_CHECKING:
    from worker.model_import.readers.onnx.constants import Constants
    from worker.model_import.readers.onnx.sizes import Sizes

Axes = tuple[str, ...] | None
#: Names that files give to the axis of rows, beside those with "batch" in them, and to that of tokens.
_ROWS, _STEPS = {"b", "bs", "bsz", "n", "rows"}, {"l", "s", "t"}
_TOKENS = ("len", "seq", "step", "time", "token")
#: More axes than the vectors of any model have.
_MOST_AXES = 8
#: Axes that a Reshape may join to one axis of a vector's numbers.
_VECTORS = {("f",), ("d", "f"), ("1", "f"), ("f", "1"), ("1", "d", "f"), ("d", "1", "f")}


class AxesOfGraph:
    """The axes of each tensor of a graph, filled in node by node.

    Args:
        constants: the graph's constants.
    """

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._known: dict[str, Axes] = {}
        self._sizes: dict[str, list[Any]] = {}
        self._inputs: dict[str, str] = {}
        self._counts: dict[str, bool] = {}  # whether constants are 0, 1, 2 and so on
        for value in constants.inputs:
            kind = value.type.tensor_type
            sizes = list(kind.shape.dim) if kind.HasField("shape") else []
            self._known[value.name] = {1: ("a",), 2: ("a", "b"), 3: ("a", "b", "f")}.get(len(sizes))
            self._sizes[value.name], self._inputs[value.name] = sizes, value.name

    def of(self, name: str) -> Axes:
        """The axes of a tensor, or None."""
        return self._known.get(name)

    def add(self, node: Any) -> None:
        """Add the outputs of a node whose inputs have been added."""
        first = next((self._inputs[name] for name in node.input if name in self._inputs), None)
        if first is not None:
            self._inputs |= dict.fromkeys(filter(None, node.output), first)
        find = getattr(self, f"_{node.op_type.lower()}", None)
        before = self.of(node.input[0]) if node.input else None
        settings = {one.name: one for one in node.attribute}
        for output in node.output[:1]:
            self._known[output] = None if find is None else find(node, before, settings)

    def input_of(self, node: Any) -> str:
        """Name of the model's input that a recurrent node reads, directly or not; "" if it reads none."""
        return self.source_of(node.input[0]) if node.input else ""

    def source_of(self, name: str) -> str:
        """Name of the model's input that a tensor is computed from; "" if there is none."""
        return self._inputs.get(name, "")

    def keep(self, name: str, other: str) -> None:
        """Note that a tensor has the axes of another one."""
        self._known[name] = self.of(other)

    def length_of(self, name: str, time: str | None) -> int | None:
        """The number of tokens in a row of an input of the model; None if it isn't fixed.

        Args:
            name: of the input.
            time: its axis of tokens; None if nothing shows it, and then the last fixed size above 1 is theirs.
        """
        sizes = [int(one.dim_value) for one in self._sizes.get(name, ())]
        if not 0 < len(sizes) <= 3:
            return None
        tokens = sizes[:2] if time is None else sizes["ab".index(time) :][:1]
        return next((size for size in tokens[::-1] if size > 1), None)

    def time_of(self, node: Any) -> str | None:
        """The axis of the ids along which a recurrent node reads: "a" or "b"; None if the file doesn't show it."""
        axes = self.of(node.input[0]) if node.input else None
        if axes is None or len(axes) != 3 or axes[2] != "f":
            return None
        first = next((one.i for one in node.attribute if one.name == "layout"), 0)
        time, row = (axes[1], axes[0]) if first else (axes[0], axes[1])
        return time if time in ("a", "b") and row in {"a", "b", "1"} - {time} else None

    def why_rows(self, name: str, time: str | None) -> str:
        """Why the axis of the ids along which a layer reads is that of rows, not of tokens; "" if nothing shows it.

        Args:
            name: of the input that has the ids.
            time: that axis, from `time_of`.
        """
        sizes = self._sizes.get(name, [])
        if time is None or len(sizes) not in (2, 3):
            return ""
        own, other = sizes[:2] if time == "a" else sizes[1::-1]
        if "batch" in own.dim_param.lower() or own.dim_param.lower() in _ROWS:
            return f"the file calls the axis of the ids along which it reads {own.dim_param!r:.40}"
        if other.dim_param.lower().startswith(_TOKENS) or other.dim_param.lower() in _STEPS:
            return f"the file calls the other axis of the ids {other.dim_param!r:.40}"
        if own.dim_value == 1 and other.dim_value > 1:
            return f"the axis of the ids along which it reads has 1 place, and the other {other.dim_value}"
        return ""

    def _lstm(self, _: Any, before: Axes, settings: dict[str, Any]) -> Axes:
        if before is None or len(before) != 3:
            return None
        if "layout" in settings and settings["layout"].i:
            return (*before[:2], "d", "f")
        return (before[0], "d", before[1], "f")

    _gru = _dynamicquantizelstm = _lstm

    def _gather(self, node: Any, _: Axes, settings: dict[str, Any]) -> Axes:
        ids = self.of(node.input[1]) if len(node.input) > 1 else None
        return None if ids is None or ("axis" in settings and settings["axis"].i) else (*ids, "f")

    def _onehot(self, _: Any, before: Axes, __: dict[str, Any]) -> Axes:
        return None if before is None else (*before, "f")

    def _equal(self, node: Any, _: Axes, __: dict[str, Any]) -> Axes:
        ids = next((axes for name in node.input if (axes := self.of(name)) is not None), None)
        return (*ids[:-1], "f") if ids is not None and self.compares_with_all(node) else None

    def compares_with_all(self, node: Any) -> bool:
        """Whether an operator Equal makes one-hot vectors: it compares each id with 0, 1, 2 and so on."""
        shapes = {name: self._constants.shape(name) for name in node.input}
        ids, numbers = ([name for name in shapes if (shapes[name] is None) == is_ids] for is_ids in (True, False))
        if len(ids) != 1 or len(numbers) != 1 or (self.of(ids[0]) or ())[-1:] != ("1",):
            return False
        shape = shapes[numbers[0]] or (0,)
        if not math.prod(shape) == shape[-1] > 1:
            return False
        if numbers[0] not in self._counts:
            found = self._constants.get(numbers[0])
            self._counts[numbers[0]] = found is not None and np.array_equal(found.ravel(), np.arange(found.size))
        return self._counts[numbers[0]]

    def _same(self, _: Any, before: Axes, __: dict[str, Any]) -> Axes:
        return before

    _cast = _identity = _dropout = _neg = _quantizelinear = _dequantizelinear = _same

    _tanh = _relu = _sigmoid = _softplus = _softsign = _layernormalization = _same

    _celu = _elu = _exp = _gelu = _hardsigmoid = _hardswish = _leakyrelu = _mish = _selu = _softmax = _same

    _clip = _logsoftmax = _same

    _batchnormalization = _same

    def _conv(self, node: Any, before: Axes, settings: dict[str, Any]) -> Axes:
        """Only a convolution that reads one token at a time keeps the axes."""
        shapes = [self._constants.shape(name) for name in node.input[1:2]]
        return before if is_width_1(shapes, settings) else None

    def _add(self, node: Any, _: Axes, __: dict[str, Any]) -> Axes:
        """The axes of the inputs that aren't constant; a constant may have as many axes, or fewer."""
        ranks = [len(shape) for name in node.input if (shape := self._constants.shape(name)) is not None]
        others = {self.of(name) for name in node.input if self._constants.shape(name) is None}
        axes = others.pop() if len(others) == 1 else None
        return axes if axes is not None and all(rank <= len(axes) for rank in ranks) else None

    _sub = _mul = _div = _prelu = _add

    def _matmul(self, node: Any, before: Axes, _: dict[str, Any]) -> Axes:
        shape = self._constants.shape(node.input[1]) if len(node.input) > 1 else None
        return (
            before if before is not None and before[-1:] == ("f",) and shape is not None and len(shape) == 2 else None
        )

    def _transpose(self, _: Any, before: Axes, settings: dict[str, Any]) -> Axes:
        if before is None:
            return None
        order = list(settings["perm"].ints) if "perm" in settings else list(range(len(before)))[::-1]
        return tuple(before[axis] for axis in order) if sorted(order) == list(range(len(before))) else None

    def _squeeze(self, node: Any, before: Axes, settings: dict[str, Any]) -> Axes:
        axes = self._axes(node, settings)
        if before is None or axes is None or any(not -len(before) <= axis < len(before) for axis in axes):
            return None
        gone = {axis % len(before) for axis in axes}
        return tuple(name for axis, name in enumerate(before) if axis not in gone)

    def _unsqueeze(self, node: Any, before: Axes, settings: dict[str, Any]) -> Axes:
        axes = self._axes(node, settings)
        if before is None or axes is None or len(before) + len(axes) > _MOST_AXES:
            return None
        rank = len(before) + len(axes)
        if any(not -rank <= axis < rank for axis in axes):
            return None
        new, rest = {axis % rank for axis in axes}, iter(before)
        return tuple("1" if axis in new else next(rest, "1") for axis in range(rank))

    def _reshape(self, node: Any, before: Axes, _: dict[str, Any]) -> Axes:
        """Only 0 and -1 in the new shape show which axes stay: [0, 0, -1] joins all that follow the first two.

        Or the graph computes the shape from that of the tensor, size by size.
        """
        found = self._constants.get(node.input[1]) if len(node.input) > 1 else None
        if found is None and before is not None and len(node.input) > 1:
            return self._joined(before, sizes_from(self._constants, node.input[1], node.input[0], len(before)))
        if before is None or found is None or found.ndim != 1 or not 0 < found.size <= len(before):
            return None
        sizes = [int(size) for size in found]
        if not any(sizes) and len(sizes) == len(before):
            return before
        if any(sizes[:-1]) or sizes[-1] != -1 or before[len(sizes) - 1 :] not in _VECTORS:
            return None
        return (*before[: len(sizes) - 1], "f")

    @staticmethod
    def _joined(before: tuple[str, ...], sizes: Sizes | None) -> Axes:
        """The axes after a Reshape to sizes of the same tensor, of which the last may be the product of several."""
        last = len(sizes) - 1 if sizes else 0
        if not sizes or any(size != (axis,) for axis, size in enumerate(sizes[:-1])):
            return None
        if sorted(sizes[-1]) not in ([REST], [*range(last, len(before))]):
            return None
        if last == len(before) - 1:
            return before
        return (*before[:last], "f") if before[last:] in _VECTORS else None

    def _axes(self, node: Any, settings: dict[str, Any]) -> list[int] | None:
        if len(node.input) > 1:
            found = self._constants.get(node.input[1])
            return None if found is None or found.size > 8 else [int(axis) for axis in found.ravel()]
        return list(settings["axes"].ints) if "axes" in settings else None
