"""Random vectors for a model whose rows contain vectors, near the numbers that it expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.model.token_map import MapConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from unrolled.model.config import ModelConfig
    from worker.model_import.found import Float32


def draw_vectors(
    config: ModelConfig, weights: Mapping[str, Float32], length: int, random: np.random.Generator
) -> Float32:
    """Vectors (length, D) that are standard normal numbers after the scales that the model begins with, if any can be.

    It was trained on such numbers, far from 0 as they may be. Others saturate its gates, where an error of the import
    makes no difference, and they don't show the digits that are lost where large numbers cancel.

    Args:
        config: the model's configuration.
        weights: its weights.
        length: the row's, in vectors.
        random: the source of random numbers.
    """
    wanted = random.standard_normal((length, config.vector_dim or 0), np.float32)
    gain, bias = np.ones(wanted.shape[1]), np.zeros(wanted.shape[1])
    for factor, shift in _first_scales(config, weights):
        gain, bias = gain * factor, bias * factor + shift
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
        if not isinstance(layer, MapConfig) or layer.kind != "scale" or layer.residual:
            break
        found.append((weights[f"scale.{number}.gain"], weights[f"scale.{number}.bias"]))
        if layer.activation != "linear":
            break
    return found
