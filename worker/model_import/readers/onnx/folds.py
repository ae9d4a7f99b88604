"""The operations with which exporters compute constants from others, in NumPy.

Only Cast, Concat and DequantizeLinear make more bytes than one of their inputs has. They are NumPy functions
and not `onnx.reference`, because that reads all attributes of a node before it runs it: tensors from files relative to
the working directory, and names that replace methods of its operators.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.model_import.readers.onnx.quantized import dequantize


def _axes(inputs: list[Any], settings: Mapping[str, Any]) -> tuple[int, ...] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(int(axis) for axis in inputs[1])
    return tuple(settings["axes"].ints) if "axes" in settings else None


#: NumPy's types for the element types of ONNX that a Cast of constants may have.
_TYPES = {1: np.float32, 6: np.int32, 7: np.int64, 10: np.float16, 11: np.float64}


def _cast(inputs: list[Any], settings: Mapping[str, Any]) -> NDArray[Any]:
    """Numbers of another type; floats become floats only, because programs round them to integers in different ways."""
    kind = np.dtype(_TYPES[settings["to"].i])
    if inputs[0].dtype.kind == "f" and kind.kind != "f":
        raise ValueError(kind)
    with np.errstate(over="ignore"):  # the import refuses infinite numbers by their layer's name
        return np.asarray(inputs[0].astype(kind))


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


def _reshape(inputs: list[Any], _: Mapping[str, Any]) -> NDArray[Any]:
    wanted = [int(size) or inputs[0].shape[number] for number, size in enumerate(inputs[1])]
    if math.prod(wanted) > inputs[0].size:
        raise ValueError(wanted)
    return np.asarray(inputs[0].reshape(wanted))


#: By operator: from the inputs (None where one is left out) and the attributes to the output.
FOLDS: dict[str, Callable[[list[Any], Mapping[str, Any]], NDArray[Any]]] = {
    "Cast": _cast,
    "Concat": lambda inputs, settings: np.concatenate(inputs, axis=settings["axis"].i),
    "DequantizeLinear": dequantize,
    "Identity": lambda inputs, _: inputs[0],
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": lambda inputs, settings: np.squeeze(inputs[0], _axes(inputs, settings)),
    "Transpose": lambda inputs, settings: np.transpose(
        inputs[0], tuple(settings["perm"].ints) if "perm" in settings else None
    ),
    "Unsqueeze": lambda inputs, settings: np.expand_dims(inputs[0], _axes(inputs, settings) or ()),
}
