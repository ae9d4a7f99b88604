"""Keras layers that change each token's vector alone."""

# Over 150 lines: each class of layer, and the reasons why one is none of these.

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import import token_maps
from worker.model_import.found import Array
from worker.model_import.readers.keras.configuration import config_of, inner_of, kind_of, quantization_of
from worker.model_import.readers.keras.tensors import constant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from worker.model_import.found import Float32, TokenMap

#: The classes that `token_map` knows.
MAPS = {
    "Activation", "BatchNormalization", "Conv1D", "Dense", "ELU", "LayerNormalization", "LeakyReLU", "Normalization",
    "PReLU", "ReLU", "Rescaling", "Softmax", "TimeDistributed", "UnitNormalization",
}  # fmt: skip
#: Classes that pass no mask on: in all versions, and before version 3.
_DROP_MASKS = {"Conv1D"}
_DROPPED_MASKS = {"Identity", "Normalization", "Rescaling"}
#: Classes that TimeDistributed computes in another way: it gives Softmax the mask of its input.
_NOT_WITHIN = {*_DROP_MASKS, "Softmax"}
#: The slope below 0 of the activation "leaky_relu" in all versions of Keras. In other programs it is another number.
_LEAKY_SLOPE = 0.2
#: The operations that `operation_map` knows: with a constant, and alone.
_WITH_CONSTANT = {"Add": "add", "Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div"}
_ALONE = {
    "Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Softplus": "softplus", "Softsign": "softsign",
    "Silu": "silu", "Selu": "selu",
}  # fmt: skip
#: The operations that `operation_map` knows.
OPERATIONS = {*_WITH_CONSTANT, *_ALONE, "Matmul", "Negative"}
_NO_MEAN = (
    "the file doesn't contain its mean and its variance for each number of a vector; give it data (adapt) before you "
    "save the model, or save the model as .keras"
)
#: Classes whose arguments contain numbers.
_WITH_NUMBERS = {"Normalization": ("mean", "variance"), "Rescaling": ("scale", "offset")}
#: Where a token's numbers are in (rows, tokens, numbers).
_LAST = (-1, [-1], 2, [2])


def token_map(kind: str, config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    """The function of a layer; None if it isn't one of each token's vector alone, or isn't known.

    Args:
        kind: the name of its class.
        config: its arguments.
        arrays: its arrays, in Keras's order.
    """
    if kind == "TimeDistributed":
        inner = inner_of(config, "layer")
        kind = kind_of(inner)
        return None if kind in _NOT_WITHIN else token_map(kind, config_of(inner), arrays)
    find = _FOUND_BY.get(kind)
    return None if find is None or quantization_of(config) else find(config, arrays)


def drops_mask(kind: str, version: str) -> bool:
    """Whether a layer doesn't pass the mask of its input on, in the version of Keras that wrote the file."""
    return kind in _DROP_MASKS or (kind in _DROPPED_MASKS and version.startswith(("1.", "2.")))


def why_no_map(kind: str, config: Mapping[str, Any]) -> str:
    """What makes a layer none that `token_map` knows, for people; "" if its class does.

    Args:
        kind: the name of its class.
        config: its arguments.
    """
    inner = inner_of(config, "layer")
    if kind == "TimeDistributed" and inner:
        reason = why_no_map(kind_of(inner), config_of(inner))
        return f"its layer is a {kind_of(inner):.60}" + (f", and {reason}" if reason else "")
    if mode := quantization_of(config):
        return f"its weights are quantized to {mode}; import the model from before model.quantize"
    if kind == "Lambda" or "." in kind or ">" in kind:
        return "it runs code of the model's own, which the import never runs"
    for name, plain in _PLAIN.get(kind, {}).items():
        if config.get(name, plain[0]) not in plain:
            return f"it has {name}={config[name]!r:.60}; only {name}={plain[0]!r} can be imported"
    if kind not in ("Activation", "Conv1D", "Dense") or _activation(config, "linear") is not None:
        return _why_no_numbers(kind, config)
    return _why_no_activation(config.get("activation"))


def _why_no_activation(named: object) -> str:
    if isinstance(named, dict) and kind_of(named) in _FOUND_BY:
        return f"its activation is a layer, {kind_of(named)}; put that layer after this one"
    return (
        f"its activation is {named!r:.60}" if isinstance(named, str) else "its activation is the model's own function"
    )


def _why_no_numbers(kind: str, config: Mapping[str, Any]) -> str:
    if kind not in _WITH_NUMBERS:
        return ""
    if kind == "Normalization" and config.get("mean") is None:
        return _NO_MEAN
    both = " and ".join(_WITH_NUMBERS[kind])
    return f"its {both} must be numbers that float32 can hold, each alone or one for each number of a vector"


def operation_map(kind: str, operands: Sequence[NDArray[np.float64] | None]) -> TokenMap | None:
    """The function of an operation of Keras 3; None if it isn't one of each token's vector alone, or isn't known.

    Args:
        kind: the name of its class.
        operands: its arguments, None for the vectors.
    """
    constants = [one for one in operands if one is not None]
    if kind in _ALONE and len(operands) == 1 and not constants:
        return token_maps.Activation(_ALONE[kind])
    if kind == "Negative" and len(operands) == 1 and not constants:
        return token_maps.with_constant("mul", np.array([-1.0]))
    if kind not in (*_WITH_CONSTANT, "Matmul") or len(operands) != 2 or len(constants) != 1:
        return None
    numbers = constants[0]
    if kind == "Matmul":
        return _product(numbers) if operands[0] is None and numbers.ndim == 2 else None
    # Numbers along another axis are different ones for each place in a row.
    if not numbers.size or (numbers.size > 1 and numbers.shape[-1] != numbers.size):
        return None
    return token_maps.with_constant(_WITH_CONSTANT[kind], numbers, constant_first=operands[0] is not None)


def _product(matrix: NDArray[np.float64]) -> TokenMap:
    """A product with a constant matrix (inputs, outputs)."""
    return token_maps.Dense(Array("matrix", matrix.shape, lambda: matrix.astype(np.float32)), None, "linear")


def _relu(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    slope, threshold = _number(config, "negative_slope", 0.0), _number(config, "threshold", 0.0)
    largest = _number(config, "max_value", float("inf"))
    if slope is None or threshold is None or largest is None:
        return None
    if (slope, threshold, largest) == (0, 0, float("inf")):
        return token_maps.Activation("relu")
    return partial(token_maps.bent, slope=slope, threshold=threshold, largest=largest)


def _number(config: Mapping[str, Any], name: str, default: float) -> float | None:
    """A number of a configuration, the default if it is left out or null; None if it is something else."""
    found = config.get(name)
    return default if found is None else float(found) if type(found) in (int, float) else None


def _leaky_relu(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    # Keras 2 calls it alpha.
    slope = _number(config, "negative_slope" if "negative_slope" in config else "alpha", 0.3)
    return None if slope is None else partial(token_maps.leaky, slope=slope)


def _elu(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    alpha = _number(config, "alpha", 1.0)
    return None if alpha is None else partial(token_maps.elu, alpha=alpha)


def _prelu(_: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    """Only slopes that are shared by all tokens: (1, numbers)."""
    if len(arrays) != 1 or len(arrays[0].shape) != 2 or arrays[0].shape[0] != 1:
        return None
    slopes = arrays[0]
    return lambda vectors: token_maps.leaky(vectors, slopes.read().astype(np.float64)[0])


def _unit(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    return token_maps.unit if config.get("axis", -1) in _LAST else None


def _rescaling(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    """A product with a number and a sum with another, or with one for each number of a vector."""
    scale, offset = _constant("scale", config.get("scale")), _constant("offset", config.get("offset", 0.0))
    return None if scale is None or offset is None else token_maps.Rescaling(scale, offset)


def _dense(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    kernels = [array for array in arrays if len(array.shape) == 2]
    biases = [array for array in arrays if len(array.shape) == 1]
    biased = config.get("use_bias", True) is not False
    known = len(kernels) == 1 and len(biases) == int(biased) and len(arrays) == 1 + int(biased)
    function = _activation(config, "linear")
    if not known or function is None:
        return None
    bias = biases[0] if biased else None
    if isinstance(function, token_maps.Activation):
        return token_maps.Dense(kernels[0], bias, function.name)
    product = token_maps.Dense(kernels[0], bias, "linear")
    return lambda vectors: function(product(vectors))


def _convolution(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    """A convolution that reads one token at a time is a Dense layer."""
    if any(config.get(name, plain[0]) not in plain for name, plain in _PLAIN["Conv1D"].items()):
        return None
    if not arrays or len(arrays[0].shape) != 3 or arrays[0].shape[0] != 1:
        return None
    kernel = arrays[0]

    def read() -> Float32:
        only: Float32 = kernel.read()[0]
        return only

    return _dense(config, [replace(kernel, shape=kernel.shape[1:], read=read, read_wide=None), *arrays[1:]])


def _activation(config: Mapping[str, Any], default: str | None) -> TokenMap | None:
    """The function that a layer names; a layer or a function of the model's own has a configuration for a name."""
    name = config.get("activation") or default
    if isinstance(name, dict):
        find = _AS_ACTIVATION.get(kind_of(name))
        return find(config_of(name), []) if find else None
    if name == "leaky_relu":
        return partial(token_maps.leaky, slope=_LEAKY_SLOPE)
    return token_maps.Activation(name) if isinstance(name, str) and name in token_maps.ACTIVATIONS else None


def _epsilon(config: Mapping[str, Any]) -> float | None:
    found = config.get("epsilon", 1e-3)
    return float(found) if type(found) in (int, float) and found >= 0 else None


def _layer_norm(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    wanted = [config.get("scale", True) is not False, config.get("center", True) is not False]
    epsilon = _epsilon(config)
    if config.get("axis") not in _LAST or config.get("rms_scaling") or len(arrays) != sum(wanted) or epsilon is None:
        return None
    parts = iter(arrays)
    scale, shift = (next(parts) if one else None for one in wanted)
    return token_maps.LayerNorm(scale, shift, epsilon)


def _batch_norm(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    wanted = [config.get("scale", True) is not False, config.get("center", True) is not False]
    epsilon = _epsilon(config)
    if config.get("axis") not in _LAST or len(arrays) != sum(wanted) + 2 or epsilon is None:
        return None
    parts = iter(arrays)
    scale, shift = (next(parts) if one else None for one in wanted)
    mean, variance = parts
    return token_maps.BatchNorm(mean, variance, scale, shift, epsilon)


def _normalization(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    """Each number minus a mean, divided by a deviation, or the reverse: both learned, or arguments of the class."""
    if config.get("axis", -1) not in _PLAIN["Normalization"]["axis"]:
        return None
    given = [_constant(name, config[name]) for name in ("mean", "variance") if config.get(name) is not None]
    known = [one for one in (given or arrays[:2]) if one is not None and len(one.shape) < 2]
    if len(known) != 2:
        return None  # it has seen no data
    return token_maps.Normalization(known[0], known[1], bool(config.get("invert")))


def _constant(name: str, numbers: Any) -> Array | None:
    """A number, or numbers along the last axis, that an argument contains; None if it is something else."""
    found = constant(numbers)
    if found is None or not found.size or (found.size > 1 and found.shape[-1] != found.size):
        return None
    flat = found.astype(np.float32).ravel()
    return Array(name, flat.shape, flat.copy)


#: Arguments with the values that can be imported, the usual one first.
_PLAIN: dict[str, dict[str, tuple[Any, ...]]] = {
    "BatchNormalization": {"axis": _LAST},
    "Conv1D": {
        "kernel_size": (1, [1]),
        "strides": (1, [1]),
        "groups": (1,),
        "data_format": ("channels_last", None),
    },
    "LayerNormalization": {"axis": _LAST, "rms_scaling": (False,)},
    "Normalization": {"axis": (*_LAST, None, [])},
    "Softmax": {"axis": _LAST},
    "UnitNormalization": {"axis": _LAST},
}
_FOUND_BY: dict[str, Callable[[Mapping[str, Any], Sequence[Array]], TokenMap | None]] = {
    "Activation": lambda config, _: _activation(config, None),
    "BatchNormalization": _batch_norm,
    "Conv1D": _convolution,
    "Dense": _dense,
    "ELU": _elu,
    "LayerNormalization": _layer_norm,
    "LeakyReLU": _leaky_relu,
    "Normalization": _normalization,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Rescaling": _rescaling,
    "Softmax": lambda config, _: token_maps.Activation("softmax") if config.get("axis", -1) in _LAST else None,
    "UnitNormalization": _unit,
}
#: Layers without weights, axes and masks, which may stand for the function of another one.
_AS_ACTIVATION = {kind: _FOUND_BY[kind] for kind in ("ELU", "LeakyReLU", "ReLU")}
