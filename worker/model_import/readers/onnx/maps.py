"""ONNX operators that change each token's vector alone."""

# Over 150 lines: each operator, with the settings that make another function of it.

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import import token_maps
from worker.model_import.found import Array, as_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, TokenMap
    from worker.model_import.readers.onnx.axes import Axes
    from worker.model_import.readers.onnx.constants import Constants

_FUNCTIONS = {
    "Exp": "exponential", "Mish": "mish", "Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus",
    "Softsign": "softsign", "Tanh": "tanh",
}  # fmt: skip
#: Operators with numbers or settings of their own.
_WITH_SETTINGS = {"Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Selu"}
_OF_A_NUMBER = {*_FUNCTIONS, *_WITH_SETTINGS, "Clip", "Neg"}
_WITH_CONSTANT = {"Add", "Sub", "Mul", "Div"}
#: Of operators that can be imported: why one isn't, if nothing else is wrong.
_NOT_SHOWN = "the file doesn't show that it reads each token's vector alone, because of its axes or of what is below it"
_KNOWN = {*_OF_A_NUMBER, *_WITH_CONSTANT, "LayerNormalization", "MatMul", "PRelu", "BatchNormalization"}
_SOFTMAX = {"LogSoftmax": "log_softmax", "Softmax": "softmax"}
#: Since this opset, they read the last axis where the node doesn't say which.
_LAST_BY_DEFAULT = 13
#: Since this opset, the slopes of PRelu are of the last axis; before, they were of channels, whose axis nothing says.
_LAST_AXIS_OF_SLOPES = 7
#: Operators that read a vector's numbers along the second of three axes: rows, numbers, tokens.
_NUMBERS_SECOND = {"BatchNormalization", "Conv"}
#: Selu's usual numbers.
_SELU = (1.6732632, 1.0507010)


def token_map(node: Any, constants: Constants, axes: Axes, opset: int) -> TokenMap | None:
    """The function of a node; None if it isn't one of each token's vector alone, or isn't known.

    Args:
        node: an onnx.NodeProto.
        constants: the graph's constants.
        axes: those of the node's input that isn't constant: its last one must be a vector's numbers.
        opset: the version of the operators.
    """
    if axes is None or axes.count("f") != 1:
        return None
    settings = {one.name: one for one in node.attribute}
    if node.op_type in _OF_A_NUMBER:
        return _of_a_number(node, constants, settings)
    if node.op_type in _NUMBERS_SECOND:
        return _numbers_second(node, constants, settings) if len(axes) == 3 and axes[1] == "f" else None
    if axes[-1] != "f":
        return None
    if node.op_type in _SOFTMAX:
        # Of old ones, the default joins all axes but the first.
        axis = settings["axis"].i if "axis" in settings else -1 if opset >= _LAST_BY_DEFAULT else 1
        return token_maps.Activation(_SOFTMAX[node.op_type]) if axis in (-1, len(axes) - 1) else None
    return _numbers_last(node, constants, opset)


def _of_a_number(node: Any, constants: Constants, settings: dict[str, Any]) -> TokenMap | None:
    """The function of an operator that changes each number alone, whatever the axes are."""
    if node.op_type in _FUNCTIONS:
        return token_maps.Activation(_FUNCTIONS[node.op_type])
    if node.op_type == "Neg":
        return token_maps.with_constant("mul", np.array([-1.0]))
    if node.op_type == "Clip":
        return _clip(node, constants, settings)
    return _with_settings(node.op_type, settings)


def _numbers_last(node: Any, constants: Constants, opset: int) -> TokenMap | None:
    """The function of an operator that reads a vector's numbers along the last axis."""
    # Before constants are read: a file may have thousands of other nodes with one huge constant.
    is_known = node.op_type in {*_WITH_CONSTANT, "LayerNormalization", "MatMul", "PRelu"}
    if not is_known:
        return None
    found = [constants.get(name) for name in node.input]
    if node.op_type == "MatMul" and len(found) == 2 and found[1] is not None and found[1].ndim == 2:
        return token_maps.Dense(_array(node.input[1], found[1]), None, "linear")
    if node.op_type in {*_WITH_CONSTANT, "PRelu"} and len(found) == 2:
        first = found[0] is not None
        numbers = found[0] if first else found[1]
        # Numbers along another axis are different ones for each place in a row.
        if numbers is None or (numbers.size > 1 and numbers.shape[-1] != numbers.size):
            return None
        if node.op_type == "PRelu":
            is_of_channels = opset < _LAST_AXIS_OF_SLOPES and numbers.size > 1
            return (
                None
                if first or is_of_channels
                else partial(token_maps.leaky, slope=numbers.reshape(-1).astype(np.float64))
            )
        return token_maps.with_constant(node.op_type.lower(), numbers, constant_first=first)
    return _layer_norm(node, found) if node.op_type == "LayerNormalization" else None


def _with_settings(kind: str, settings: dict[str, Any]) -> TokenMap | None:
    """The function of an operator with numbers or settings of its own; None if they make another function of it."""
    alpha = settings["alpha"].f if "alpha" in settings else None
    if kind == "LeakyRelu":
        return partial(token_maps.leaky, slope=0.01 if alpha is None else alpha)
    if kind == "Elu":
        return partial(token_maps.elu, alpha=1.0 if alpha is None else alpha)
    if kind == "HardSigmoid":
        height = settings["beta"].f if "beta" in settings else 0.5
        return partial(token_maps.hard_sigmoid, slope=0.2 if alpha is None else alpha, height=height)
    if kind == "HardSwish":
        return lambda vectors: vectors * token_maps.hard_sigmoid(vectors, 1 / 6, 0.5)
    exact = "approximate" not in settings or settings["approximate"].s in (b"", b"none")
    gamma = settings["gamma"].f if "gamma" in settings else _SELU[1]
    usual = np.allclose((_SELU[0] if alpha is None else alpha, gamma), _SELU, rtol=1e-6)
    fits = {"Celu": alpha in (None, 1), "Gelu": exact, "Selu": usual}
    return token_maps.Activation(kind.lower()) if fits[kind] else None


def _clip(node: Any, constants: Constants, settings: dict[str, Any]) -> TokenMap | None:
    """A function that keeps numbers within bounds: attributes, or constants of one number; None with others."""
    bounds: dict[str, float] = {name: settings[name].f for name in ("min", "max") if name in settings}
    for name, source in zip(("min", "max"), node.input[1:], strict=False):
        number = constants.get(source) if source and math.prod(constants.shape(source) or ()) == 1 else None
        if number is not None:
            bounds[name] = float(number.reshape(-1)[0])
        elif source:
            return None
    return partial(np.clip, a_min=bounds.get("min", -math.inf), a_max=bounds.get("max", math.inf))


def _numbers_second(node: Any, constants: Constants, settings: dict[str, Any]) -> TokenMap | None:
    """A batch normalization, or a convolution that reads one token at a time; None for others."""
    shapes = [constants.shape(name) for name in node.input[1:]]
    if node.op_type == "BatchNormalization":
        plain = len(shapes) == 4 and all(shape is not None and len(shape) == 1 for shape in shapes)
        if not plain or ("training_mode" in settings and settings["training_mode"].i):
            return None
        scale, shift, mean, variance = (_lazy(constants, name) for name in node.input[1:])
        epsilon = settings["epsilon"].f if "epsilon" in settings else 1e-5
        return token_maps.BatchNorm(mean, variance, scale, shift, epsilon)
    biases = [_lazy(constants, name) for name in node.input[2:] if name]
    if not is_width_1(shapes[:1], settings) or any(len(one.shape) != 1 for one in biases):
        return None
    kernel, bias = _lazy(constants, node.input[1]), next(iter(biases), None)
    flat = Array(kernel.name, kernel.shape[:2], lambda: kernel.read()[:, :, 0])
    return token_maps.Dense(flat, bias, "linear", turned=True)


def is_width_1(shapes: Sequence[tuple[int, ...] | None], settings: dict[str, Any]) -> bool:
    """Whether a convolution's kernel (outputs, inputs, width) and its settings let each token's vector alone decide."""
    shape = shapes[0] if shapes else None
    return (
        shape is not None
        and len(shape) == 3
        and shape[2] == 1
        and all(list(settings[name].ints) == [1] for name in ("kernel_shape", "strides") if name in settings)
        and not any(settings["pads"].ints if "pads" in settings else ())
        and ("group" not in settings or settings["group"].i == 1)
    )


def why_no_map(node: Any, dynamic: Sequence[str], constants: Constants) -> str:
    """What makes a node none that `token_map` knows, for people; "" if its operator does.

    Args:
        node: an onnx.NodeProto.
        dynamic: names of its inputs that aren't constant.
        constants: the graph's constants.
    """
    if node.domain not in ("", "ai.onnx"):
        return f"it is an operator of {node.domain!r:.60}, not of ONNX itself"
    if node.op_type == "ReverseSequence":
        return (
            "it turns rows around, as tf2onnx writes the backward half of a Bidirectional layer; only the direction of "
            "an operator LSTM or GRU itself can be imported, so import the file that the model was exported from"
        )
    if len(dynamic) > 1 and node.op_type in {*_WITH_CONSTANT, "Clip", "MatMul", "PRelu"}:
        return f"{'both' if len(dynamic) == 2 else len(dynamic)} of its inputs are computed"
    if node.op_type == "Gather" and (computed := constants.why_computed(next(iter(node.input), ""))):
        return f"its table is {computed}"
    return _why_no_convolution(node, constants) if node.op_type == "Conv" else _why_no_function(node)


def _why_no_function(node: Any) -> str:
    settings = {one.name: one for one in node.attribute}
    if node.op_type in _WITH_SETTINGS and _with_settings(node.op_type, settings) is None:
        return f"it has another {', '.join(sorted(settings))} than the function that can be imported"
    if node.op_type == "BatchNormalization" and "training_mode" in settings and settings["training_mode"].i:
        return "it has training_mode=1, in which it computes with the rows of its batch"
    if node.op_type in _SOFTMAX:
        return "it doesn't read the numbers of a token's vector, along the last axis, or the file doesn't show that"
    return _NOT_SHOWN if node.op_type in _KNOWN else ""


def _why_no_convolution(node: Any, constants: Constants) -> str:
    shape = constants.shape(node.input[1]) if len(node.input) > 1 else None
    if not is_width_1([shape], {one.name: one for one in node.attribute}):
        return f"its kernel is {shape}; only one that reads one token at a time, (outputs, inputs, 1), can be imported"
    return (
        "the file doesn't show that its channels, the second axis of what it reads, are the numbers of a token's "
        "vector; only then does it read one token at a time"
    )


def _layer_norm(node: Any, found: list[NDArray[Any] | None]) -> TokenMap | None:
    settings = {one.name: one for one in node.attribute}
    constants = [one for one in found[1:] if one is not None and one.ndim == 1]
    if len(constants) != len(found) - 1 or not constants or ("axis" in settings and settings["axis"].i != -1):
        return None
    scale, shift = (*(_array(name, one) for name, one in zip(node.input[1:], constants, strict=True)), None)[:2]
    return token_maps.LayerNorm(scale, shift, settings["epsilon"].f if "epsilon" in settings else 1e-5)


def _lazy(constants: Constants, name: str) -> Array:
    def read() -> Float32:
        found = constants.get(name)
        return as_float32(name, np.zeros(0) if found is None else found)

    return Array(name, constants.shape(name) or (), read)


def _array(name: str, numbers: NDArray[Any]) -> Array:
    return Array(name, numbers.shape, lambda: as_float32(name, numbers))
