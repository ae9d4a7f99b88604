"""ONNX arrays that are known before anything runs: initializers, constants, and what exporters compute from them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import MOST_BYTES, check_array

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_DEPTH = 64
#: What gives zeros where it gets zeros in its first input.
_MOVES = {"Cast", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"}


class Constants:
    """The arrays of a graph by name; each is computed when it is asked for, from few operations that can't grow.

    Args:
        graph: an onnx.GraphProto.
        directory: where the file is: large models keep arrays in files beside it.
    """

    def __init__(self, graph: Any, directory: Path) -> None:
        self._directory = directory
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._made = {name: node for node in graph.node for name in node.output if name}

    def get(self, name: str, depth: int = 0) -> NDArray[Any] | None:  # noqa: PLR0911 - one for each kind of origin
        """The array, or None where it depends on the input.

        Raises:
            ImportRefusedError: it is too large, or lies outside the model's directory.
        """
        if depth > _DEPTH:
            return None
        if name in self._stored:
            return self._tensor(self._stored[name])
        node = self._made.get(name)
        if node is None:
            return None
        settings = {one.name: one for one in node.attribute}
        if node.op_type == "Constant" and "value" in settings:
            return self._tensor(settings["value"].t)
        if node.op_type not in _FOLDS:
            return None
        inputs = []
        for source in node.input:
            value = self.get(source, depth + 1) if source else None
            if source and value is None:
                return None
            inputs.append(value)
        return _fold(node, inputs, settings)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """An array's shape, without reading an initializer; None as for `get`."""
        if name in self._stored:
            return tuple(self._stored[name].dims)
        found = self.get(name)
        return None if found is None else found.shape

    def is_zero(self, name: str, depth: int = 0) -> bool:
        """Whether an initial state is zero, or the model's input, which its user then sets.

        Exporters make zeros of the batch's size: ConstantOfShape, Expand and the like, of a zero.
        """
        if name in self._stored or depth > _DEPTH:
            found = self.get(name)
            return found is not None and not found.any()
        node = self._made.get(name)
        if node is None:
            return True
        if node.op_type == "Constant":
            found = self.get(name)
            return found is not None and not found.any()
        if node.op_type == "ConstantOfShape":
            values = [self._tensor(one.t) for one in node.attribute if one.name == "value"]
            return not any(value.any() for value in values)
        if node.op_type == "Concat":
            return all(self.is_zero(source, depth + 1) for source in node.input[:8])
        return node.op_type in _MOVES and self.is_zero(node.input[0], depth + 1)

    def _tensor(self, tensor: Any) -> NDArray[Any]:
        import onnx  # noqa: PLC0415 - of the extra [import]
        from onnx.external_data_helper import load_external_data_for_tensor  # noqa: PLC0415 - as above

        check_array(tensor.name, tuple(tensor.dims), 8)
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                copy = onnx.TensorProto()
                copy.CopyFrom(tensor)
                # onnx refuses places outside the directory, and links.
                load_external_data_for_tensor(copy, str(self._directory))
                tensor = copy
            return np.asarray(onnx.numpy_helper.to_array(tensor))
        except Exception as error:  # onnx raises ValueError, TypeError and its own checker's errors
            raise ImportRefusedError(f"{tensor.name}: can't be read ({str(error)[:200]}); get a fresh copy") from error


def _fold(node: Any, inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any] | None:
    if node.op_type == "Concat":
        size_bytes = sum(array.nbytes for array in inputs)
        if size_bytes > MOST_BYTES:
            raise ImportRefusedError(f"{node.name}: makes {size_bytes:,} bytes of constants; no model does")
    try:
        return np.asarray(_FOLDS[node.op_type](inputs, settings))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return None


def _axes(inputs: list[Any], settings: Mapping[str, Any]) -> tuple[int, ...] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(int(axis) for axis in inputs[1])
    return tuple(settings["axes"].ints) if "axes" in settings else None


def _unsqueeze(inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any]:
    return np.asarray(np.expand_dims(inputs[0], _axes(inputs, settings) or ()))


def _squeeze(inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any]:
    return np.asarray(np.squeeze(inputs[0], _axes(inputs, settings)))


def _transpose(inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any]:
    return np.asarray(np.transpose(inputs[0], tuple(settings["perm"].ints) if "perm" in settings else None))


def _slice(inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any]:
    if len(inputs) == 1:
        starts, ends, axes = settings["starts"].ints, settings["ends"].ints, settings["axes"].ints
        steps: Any = [1] * len(starts)
    else:
        starts, ends = inputs[1], inputs[2]
        axes = inputs[3] if len(inputs) > 3 and inputs[3] is not None else range(len(starts))
        steps = inputs[4] if len(inputs) > 4 and inputs[4] is not None else [1] * len(starts)
    cut = [slice(None)] * inputs[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cut[int(axis)] = slice(int(start), int(end), int(step))
    return np.asarray(inputs[0][tuple(cut)])


def _reshape(inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any]:
    del settings
    wanted = [int(size) or inputs[0].shape[number] for number, size in enumerate(inputs[1])]
    if math.prod(wanted) > inputs[0].size:
        raise ValueError(wanted)
    return np.asarray(inputs[0].reshape(wanted))


_FOLDS: dict[str, Any] = {
    "Concat": lambda inputs, settings: np.concatenate(inputs, axis=settings["axis"].i),
    "Identity": lambda inputs, settings: inputs[0],  # noqa: ARG005 - all folds are called alike
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
