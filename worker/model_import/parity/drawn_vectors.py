"""Random vectors for a model whose rows contain vectors, of the size that the model expects."""

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
    """Vectors (length, D) from which the scales below the first layer, if any, make about standard normal numbers.

    A model that subtracts a mean and divides by a deviation was trained on numbers near that mean. Numbers near 0 would
    saturate its gates, where an error of the import makes no difference, and they wouldn't show what is lost where
    numbers near the mean cancel.
    """
    wanted = random.standard_normal((length, config.vector_dim or 0), np.float32)
    gain, bias = np.ones(wanted.shape[1]), np.zeros(wanted.shape[1])
    for number, layer in enumerate(config.layers):
        if not isinstance(layer, MapConfig) or (layer.kind, layer.residual) != ("scale", False):
            break
        factor = weights[f"scale.{number}.gain"].astype(np.float64)
        gain, bias = gain * factor, bias * factor + weights[f"scale.{number}.bias"]
        if layer.activation != "linear":
            break
    with np.errstate(all="ignore"):
        made = ((wanted - bias) / gain).astype(np.float32)
    return np.where(np.isfinite(made), made, wanted)
