"""Keras layers that change each token's vector alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.model_import import token_maps
from worker.model_import.readers.keras.configuration import config_of, inner_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from worker.model_import.found import Array, TokenMap

#: The classes that `token_map` knows.
MAPS = {"Activation", "BatchNormalization", "Dense", "LayerNormalization", "ReLU", "Rescaling", "TimeDistributed"}
#: The operations that `operation_map` knows: with a constant, and alone.
_WITH_CONSTANT = {"Add": "add", "Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div"}
_ALONE = {
    "Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Softplus": "softplus", "Softsign": "softsign",
    "Silu": "silu", "Selu": "selu",
}  # fmt: skip
#: The operations that `operation_map` knows.
OPERATIONS = {*_WITH_CONSTANT, *_ALONE}
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
        return token_map(kind_of(inner), config_of(inner), arrays)
    find = _FOUND_BY.get(kind)
    return None if find is None else find(config, arrays)


def operation_map(kind: str, operands: Sequence[NDArray[np.float64] | None]) -> TokenMap | None:
    """The function of an operation of Keras 3; None if it isn't one of each token's vector alone, or isn't known.

    Args:
        kind: the name of its class.
        operands: its arguments, None for the vectors.
    """
    constants = [one for one in operands if one is not None]
    if kind in _ALONE and len(operands) == 1 and not constants:
        return token_maps.Activation(_ALONE[kind])
    if kind not in _WITH_CONSTANT or len(operands) != 2 or len(constants) != 1:
        return None
    numbers = constants[0]
    # Numbers along another axis are different ones for each place in a row.
    if not numbers.size or (numbers.size > 1 and numbers.shape[-1] != numbers.size):
        return None
    return token_maps.with_constant(_WITH_CONSTANT[kind], numbers, constant_first=operands[0] is not None)


def _relu(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    plain = not config.get("max_value") and not config.get("negative_slope") and not config.get("threshold")
    return token_maps.Activation("relu") if plain else None


def _rescaling(config: Mapping[str, Any], _: Sequence[Array]) -> TokenMap | None:
    scale, offset = config.get("scale"), config.get("offset", 0.0)
    if not isinstance(scale, int | float) or not isinstance(offset, int | float):
        return None
    return token_maps.Rescaling(scale, offset)


def _dense(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    kernels = [array for array in arrays if len(array.shape) == 2]
    biases = [array for array in arrays if len(array.shape) == 1]
    biased = config.get("use_bias", True) is not False
    known = len(kernels) == 1 and len(biases) == int(biased) and len(arrays) == 1 + int(biased)
    if not known or _activation(config, "linear") is None:
        return None
    return token_maps.Dense(kernels[0], biases[0] if biased else None, config.get("activation") or "linear")


def _activation(config: Mapping[str, Any], default: str | None) -> TokenMap | None:
    """The function that a layer names; a function of the model's own has a configuration in place of a name."""
    name = config.get("activation") or default
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


_FOUND_BY: dict[str, Callable[[Mapping[str, Any], Sequence[Array]], TokenMap | None]] = {
    "Activation": lambda config, _: _activation(config, None),
    "BatchNormalization": _batch_norm,
    "Dense": _dense,
    "LayerNormalization": _layer_norm,
    "ReLU": _relu,
    "Rescaling": _rescaling,
}
