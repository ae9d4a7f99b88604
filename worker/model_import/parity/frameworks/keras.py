"""Keras's own LSTM and GRU with the arrays of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from worker.models.tensorflow import in_float32, keras

if TYPE_CHECKING:
    from worker.model_import.found import Float32, Layer, Pass


def run(layer: Layer, inputs: Float32) -> Float32:
    """Run a layer, from (time, D) to (time, outputs); with go_backwards the last token's output comes first."""
    with in_float32():
        made = _built(layer)
    states = [array.read()[None] for one in layer.passes for array in one.first]
    given = {"initial_state": states} if states else {}
    return np.asarray(keras.ops.convert_to_numpy(made(inputs[None], **given))[0], np.float32)


def _built(layer: Layer) -> Any:
    if layer.forward is not None and layer.backward is not None:
        made = keras.layers.Bidirectional(
            _layer(layer.forward), merge_mode="concat", backward_layer=_layer(layer.backward, go_backwards=True)
        )
    else:
        made = _layer(layer.any_pass, go_backwards=layer.reversed)
    made.build((None, None, layer.inputs))
    made.set_weights([array for one in layer.passes for array in _arrays(one)])
    return made


def _layer(one: Pass, *, go_backwards: bool = False) -> Any:
    settings: dict[str, Any] = {"return_sequences": True, "go_backwards": go_backwards, "use_bias": "bias" in one.parts}
    settings["recurrent_activation"] = _gates(one.gates)
    if one.kind == "lstm":
        return keras.layers.LSTM(one.units, **settings)
    return keras.layers.GRU(one.units, reset_after=one.reset == "after", **settings)


def _gates(name: str) -> Any:
    """Keras's own function, and for Keras 2's hard_sigmoid, which Keras 3 no longer has, its definition."""
    return _hard_sigmoid if name == "hard_sigmoid" else name.removesuffix("_keras3")


# Bidirectional rebuilds its layers from their configurations, so Keras must know this function by a name.
@keras.saving.register_keras_serializable("unrolled", "hard_sigmoid_keras2")  # type: ignore[untyped-decorator]  # Keras has no types
def _hard_sigmoid(x: Any) -> Any:
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _arrays(one: Pass) -> list[Float32]:
    return [one.parts[name].read() for name in ("kernel", "recurrent_kernel", "bias") if name in one.parts]
