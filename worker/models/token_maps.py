"""The maps of a model, which change each token's vector alone, as functions of TensorFlow's tensors."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.model.token_map import MapConfig
from worker.models.tensorflow import tf

_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "sigmoid": tf.sigmoid,
}


def token_map(layer: MapConfig, tensors: Mapping[str, NDArray[np.float32]]) -> Callable[[Any], Any]:
    """The function of a map, from float32 (…, D) to float32 (…, units); without the sum of a residual map.

    Args:
        layer: the map.
        tensors: its tensors, by the last part of their names.
    """
    constants = {part: tf.constant(tensor) for part, tensor in tensors.items()}
    function = _FUNCTIONS[layer.activation]

    def run(vectors: Any) -> Any:
        if layer.kind == "dense":
            return function(tf.linalg.matmul(vectors, constants["kernel"]) + constants["bias"])
        if layer.kind == "layer_norm":
            vectors = normalized(vectors, layer.epsilon)
        return function(vectors * constants["gain"] + constants["bias"])

    return run


def normalized(vectors: Any, epsilon: float | None) -> Any:
    """Vectors minus their means, divided by their deviations; in float64, as in the fused engine."""
    exact = tf.cast(vectors, tf.float64)
    centred = exact - tf.reduce_mean(exact, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return tf.cast(centred / tf.sqrt(variance + epsilon), tf.float32)
