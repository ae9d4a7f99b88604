"""The activation of a layer's gates, as Keras's layers take it."""

from collections.abc import Callable
from functools import partial
from typing import Any

from unrolled.model.layer import HARD_SLOPES, LayerConfig
from worker.models.tensorflow import tf


def gate_function(layer: LayerConfig) -> str | Callable[[Any], Any]:
    """A layer's `recurrent_activation`.

    Sigmoid is given by name, because Keras lets cuDNN compute a layer only if its activation has that name. The
    straight lines are functions, because Keras's hard_sigmoid changed with version 3.
    """
    if layer.gates == "sigmoid":
        return "sigmoid"
    return partial(hard_sigmoid, slope=HARD_SLOPES[layer.gates])


def hard_sigmoid(x: Any, slope: float) -> Any:
    """clip(slope x + 1/2, 0, 1) of a float32 tensor."""
    return tf.clip_by_value(slope * x + 0.5, 0.0, 1.0)
