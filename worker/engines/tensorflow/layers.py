"""A model's recurrent layers as Keras layers: one `Pass` for each direction of each layer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from worker.models.gates import gate_function
from worker.models.lstm_cells import ClippedLSTMCell, MultiplicativeLSTMCell, NormedLSTMCell
from worker.models.tensorflow import keras, tf

Weights = Mapping[str, NDArray[np.float32]]


class Pass(NamedTuple):
    """One direction of one layer.

    Attributes:
        layer: a Keras layer, from (sequence (batch, time, D), initial_state) to outputs (batch, time, S) and states.
        backward: whether it must get a row's tokens from the last to the first.
        state_dims: widths of its states: h and c, or only h.
        first_states: for each of them float32 (dim,), before a row's first token; zeros if rows bring them.
        given_at: where they begin in the initial states that a row brings; None if rows don't bring them.
    """

    layer: Any
    backward: bool
    state_dims: tuple[int, ...]
    first_states: tuple[NDArray[np.float32], ...]
    given_at: int | None = None


def build_passes(
    config: ModelConfig, weights: Weights, *, cudnn: bool
) -> tuple[Callable[[Any], Any], list[list[Pass]]]:
    """Make Keras layers with a model's weights.

    Args:
        config: the model's configuration.
        weights: its tensors, by name.
        cudnn: whether cuDNN computes the layers that it can.

    Returns:
        A function from ids (batch, time) to the first layer's inputs (batch, time, D), which gives vectors back as they
        are; and each layer's passes, none of a map.
    """
    lookup, width, kernels = _first_inputs(config, weights)
    weights = {**weights, **kernels}
    passes: list[list[Pass]] = []
    given = 0
    for number, (layer, inputs) in enumerate(zip(config.layers, (width, *config.input_dims[1:]), strict=True)):
        directions: list[Pass] = []
        if isinstance(layer, MapConfig):
            passes.append(directions)
            continue
        for prefix in layer.prefixes(number):
            keras_layer = _keras_layer(layer, cudnn=cudnn)
            keras_layer.build((None, None, inputs))
            parts = [part for part in layer.shapes(inputs) if part not in layer.first_shapes()]
            keras_layer.set_weights([weights[f"{prefix}.{part}"] for part in parts])
            state_dims = layer.state_dims
            first = tuple(weights[f"{prefix}.{part}"] for part in layer.first_shapes())
            first = first or tuple(np.zeros(dim, np.float32) for dim in state_dims)
            given_at = given if layer.given_state else None
            given += sum(state_dims) if layer.given_state else 0
            directions.append(Pass(keras_layer, prefix.endswith("backward"), state_dims, first, given_at))
        passes.append(directions)
    return lookup, passes


def has_cudnn(layer: LayerConfig) -> bool:
    """Whether Keras can have cuDNN compute a layer."""
    return not _needs_cell(layer) and layer.reset != "before" and layer.gates == "sigmoid"


def _needs_cell(layer: LayerConfig) -> bool:
    """Whether Keras has no layer of this kind, only a loop over a cell."""
    clipped = layer.projection is not None or layer.cell_clip is not None
    return layer.kind == "mlstm" or layer.norm is not None or clipped


def _keras_layer(layer: LayerConfig, *, cudnn: bool) -> Any:
    # Not the type that a program has chosen for Keras's layers, such as mixed_float16.
    both: dict[str, Any] = {"return_sequences": True, "return_state": True, "dtype": "float32"}
    if _needs_cell(layer):
        return keras.layers.RNN(_cell(layer), **both)
    # True rather than "auto": a GPU on which cuDNN doesn't run is an error, and must not be slow in silence.
    both["recurrent_activation"] = gate_function(layer)
    both["use_cudnn"] = cudnn and has_cudnn(layer)
    if layer.kind == "gru":
        return keras.layers.GRU(layer.units, reset_after=layer.reset == "after", **both)
    return keras.layers.LSTM(layer.units, **both)


def _cell(layer: LayerConfig) -> Any:
    if layer.norm is not None:
        return NormedLSTMCell(layer.units, carries=layer.norm == "carried", epsilon=layer.epsilon or 0.0)
    clips: dict[str, Any] = {"cell_clip": layer.cell_clip, "recurrent_activation": gate_function(layer)}
    if layer.kind == "mlstm":
        return MultiplicativeLSTMCell(layer.units, **clips)
    return ClippedLSTMCell(layer.units, layer.projection, projection_clip=layer.projection_clip, **clips)


def _first_inputs(config: ModelConfig, weights: Weights) -> tuple[Callable[[Any], Any], int, Weights]:
    """The first layer's inputs.

    A one-hot vector picks a row of the kernel. With a large vocabulary, one-hot vectors would not fit into memory. So
    the kernels' rows of all directions are looked up instead, and identity matrices replace the kernels. This is exact,
    because all other products are zero.

    Returns:
        A function that looks ids up, the width of its result, and kernels that replace the model's.
    """
    if config.vector_dim is not None:
        return lambda vectors: vectors, config.vector_dim, {}
    if config.embedding_dim is not None:
        table = tf.constant(weights["embedding"])  # (vocab_size + 1, embedding_dim)
        return lambda ids: tf.gather(table, ids), config.embedding_dim, {}
    first = config.recurrent_layers[0]
    readers = [part for part in ("kernel", "input_factor") if part in first.shapes(1)]
    names = [f"{prefix}.{part}" for prefix in first.prefixes(0) for part in readers]
    rows = np.concatenate([weights[name] for name in names], axis=1)  # (vocab_size, gates of all directions)
    gates = rows.shape[1]
    edges = np.cumsum([weights[name].shape[1] for name in names])[:-1]
    if config.vocab_size <= gates:
        return lambda ids: tf.one_hot(ids - 1, config.vocab_size), config.vocab_size, {}
    table = tf.constant(np.concatenate([np.zeros((1, gates), np.float32), rows]))
    identities = np.split(np.eye(gates, dtype=np.float32), edges, axis=1)
    return lambda ids: tf.gather(table, ids), gates, dict(zip(names, identities, strict=True))
