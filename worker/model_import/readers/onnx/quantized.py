"""Weights that an ONNX file stores as 8-bit integers, as the numbers that they mean: (integer - zero point) x scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.model_import.found import Float32
    from worker.model_import.readers.onnx.constants import Constants

#: ONNX Runtime's LSTM with such weights.
LSTM, DOMAIN = "DynamicQuantizeLSTM", "com.microsoft"
#: The places of the weights among its inputs, each with those of its scale and its zero point.
_WEIGHTS = {1: (8, 9), 2: (10, 11)}
#: The inputs that it has in common with LSTM.
_COMMON = 8


def is_quantized_lstm(node: Any) -> bool:
    """Whether a node is ONNX Runtime's LSTM with 8-bit weights."""
    return bool(node.op_type == LSTM and node.domain == DOMAIN)


def with_float_weights(node: Any, constants: Constants) -> Any:
    """An LSTM with the inputs and attributes of a node of this operator; its weights become constants of the graph.

    The operator stores each weight transposed, as (directions, inputs, gates).
    """
    given = [*node.input, *[""] * (1 + max(max(pair) for pair in _WEIGHTS.values()) - len(node.input))]
    inputs = given[:_COMMON]
    for place, (scale, zero) in _WEIGHTS.items():
        name = given[place]
        shape = constants.shape(name) if name else None
        if shape is None or len(shape) != 3:
            inputs[place] = ""  # no constant, which is a reason to refuse the layer
            continue
        inputs[place] = f"{name} (as floats)"
        constants.derive(
            inputs[place], (shape[0], shape[2], shape[1]), _read(constants, name, given[scale], given[zero])
        )
    made = type(node)()
    made.CopyFrom(node)
    made.op_type, made.domain = "LSTM", ""
    del made.input[:]
    made.input.extend(inputs)
    return made


def _read(constants: Constants, name: str, scale: str, zero: str) -> Any:
    def read() -> Float32:
        integers = constants.get(name)
        factors = constants.get(scale)
        zeros = constants.get(zero) if zero else None
        if integers is None or factors is None or (zero and zeros is None):
            raise ImportRefusedError(f"{name}: its scale or zero point isn't a constant of the file")
        directions = integers.shape[0]
        try:
            # One number for each direction, or for each direction and gate.
            shaped = [part.reshape(directions, 1, -1) for part in (factors, zeros) if part is not None]
            return np.ascontiguousarray(as_floats(integers, *shaped).transpose(0, 2, 1))
        except ValueError as error:
            raise ImportRefusedError(f"{name}: its scale {factors.shape} doesn't fit {integers.shape}") from error

    return read


def as_floats(integers: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any] | None = None) -> Float32:
    """The numbers that integers mean; scale and zero point have shapes that fit."""
    made = integers.astype(np.float32)
    if zero is not None:
        made -= zero.astype(np.float32)
    made *= scale.astype(np.float32)
    return made


def along_axis(numbers: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    """A scale or zero point of DequantizeLinear: one number, or one for each place along an axis.

    Raises:
        ValueError: it is something else, such as one for each block.
    """
    if numbers.size == 1:
        return numbers.reshape(())
    if numbers.ndim != 1 or not -rank <= axis < rank:
        raise ValueError(numbers.shape)
    return numbers.reshape([-1 if one == axis % rank else 1 for one in range(rank)])


def dequantize(inputs: list[Any], settings: Any) -> Float32:
    """The operator DequantizeLinear on constants.

    Raises:
        ValueError: its numbers are in blocks, or don't fit.
    """
    integers, scale, zero = (*inputs, None)[:3]
    axis = settings["axis"].i if "axis" in settings else 1
    if "block_size" in settings and settings["block_size"].i:
        raise ValueError("blocks")
    parts = [along_axis(one, axis, integers.ndim) for one in (scale, zero) if one is not None]
    return as_floats(integers, *parts)
