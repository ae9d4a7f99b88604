"""Keras layers that change each token's vector alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.model_import import token_maps
from worker.model_import.readers.keras.configuration import config_of, inner_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.model_import.found import Array, TokenMap

#: The classes that `token_map` knows.
MAPS = {"Dense", "Activation", "ReLU", "LayerNormalization", "BatchNormalization", "TimeDistributed"}
#: Where a token's numbers are in (rows, tokens, numbers).
_LAST = (-1, [-1], 2, [2])


def token_map(kind: str, config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    """The function of a layer; None if it isn't one of each token's vector alone, or isn't known.

    Args:
        kind: the name of its class.
        config: its arguments.
        arrays: its arrays, in Keras's order.
    """
    # One return for each class.
    if kind == "TimeDistributed":
        inner = inner_of(config, "layer")
        return token_map(str(inner.get("class_name")), config_of(inner), arrays)
    if kind == "Dense":
        return _dense(config, arrays)
    if kind == "LayerNormalization":
        return _layer_norm(config, arrays)
    if kind == "BatchNormalization":
        return _batch_norm(config, arrays)
    if kind == "Activation":
        return _activation(config, None)
    plain = not config.get("max_value") and not config.get("negative_slope") and not config.get("threshold")
    return token_maps.ACTIVATIONS["relu"] if kind == "ReLU" and plain else None


def _dense(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    kernels = [array for array in arrays if len(array.shape) == 2]
    biases = [array for array in arrays if len(array.shape) == 1]
    biased = config.get("use_bias", True) is not False
    known = len(kernels) == 1 and len(biases) == int(biased) and len(arrays) == 1 + int(biased)
    if not known or _activation(config, "linear") is None:
        return None
    return token_maps.dense(kernels[0], biases[0] if biased else None, config.get("activation") or "linear")


def _activation(config: Mapping[str, Any], default: str | None) -> TokenMap | None:
    """The function that a layer names; a function of the model's own has a configuration in place of a name."""
    name = config.get("activation") or default
    return token_maps.ACTIVATIONS.get(name) if isinstance(name, str) else None


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
    return token_maps.layer_norm(scale, shift, epsilon)


def _batch_norm(config: Mapping[str, Any], arrays: Sequence[Array]) -> TokenMap | None:
    wanted = [config.get("scale", True) is not False, config.get("center", True) is not False]
    epsilon = _epsilon(config)
    if config.get("axis") not in _LAST or len(arrays) != sum(wanted) + 2 or epsilon is None:
        return None
    parts = iter(arrays)
    scale, shift = (next(parts) if one else None for one in wanted)
    mean, variance = parts
    return token_maps.batch_norm(mean, variance, scale, shift, epsilon)
