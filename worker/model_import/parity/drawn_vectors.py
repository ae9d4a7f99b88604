"""Random vectors for a model whose rows contain vectors, near the numbers that it expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.model.token_map import MapConfig
from worker.model_import.token_maps import MOST_SUBTRACTED, is_power_of_two

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unrolled.model.config import ModelConfig
    from worker.model_import.found import Float32


def draw_vectors(
    config: ModelConfig, weights: Mapping[str, Float32], length: int, random: np.random.Generator
) -> Float32:
    """Vectors (length, D) of standard normal numbers; or near the mean, if the model subtracts one first, exactly.

    Such a model was trained on numbers near that mean. Others saturate its gates, where an error of the import makes no
    difference, and they don't show the digits that are lost where large numbers cancel. A model that rounds before it
    subtracts loses digits there itself, as does its source, each in its own way.

    Args:
        config: the model's configuration.
        weights: its weights; empty if standard normal numbers are wanted.
        length: the row's, in vectors.
        random: the source of random numbers.
    """
    wanted = random.standard_normal((length, config.vector_dim or 0), np.float32)
    scales = _first_scales(config, weights)
    if not scales or not is_power_of_two(scales[0][0]).all():
        return wanted
    gain, bias = np.ones(wanted.shape[1]), np.zeros(wanted.shape[1])
    for factor, shift in scales:
        gain, bias = gain * factor, bias * factor + shift
        if (~is_power_of_two(gain) & (np.abs(shift) > MOST_SUBTRACTED)).any():
            return wanted
    with np.errstate(all="ignore"):
        mean, deviation = -bias / gain, 1 / np.abs(gain)
        # No less than float32's steps there, or they would all be the mean.
        deviation = np.maximum(deviation, np.spacing(np.abs(mean).astype(np.float32)) / 2)
        made = (mean + wanted * deviation).astype(np.float32)
    made = np.where(np.isfinite(made), made, wanted)
    is_hidden = False if config.mask_value is None else (made == config.mask_value).all(axis=1)
    return wanted if np.any(is_hidden) else made


def _first_scales(config: ModelConfig, weights: Mapping[str, Float32]) -> list[tuple[Float32, Float32]]:
    """Gain and bias of the scales that change the vectors before anything else, as far as they are linear."""
    found = []
    for number, layer in enumerate(config.layers):
        if not weights or not isinstance(layer, MapConfig) or layer.kind != "scale" or layer.residual:
            break
        found.append((weights[f"scale.{number}.gain"], weights[f"scale.{number}.bias"]))
        if layer.activation != "linear":
            break
    return found
