"""Any stack of recurrent layers as Keras computes it: on padded batches, with masks.

A masked step carries the state over, in a backward pass too, so the states at real tokens are those of a row without
padding. This is what engines promise for rows with zeros anywhere.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig
from unrolled.model.token_map import MapConfig
from worker.models.gates import gate_function
from worker.models.lstm_cells import ClippedLSTMCell, MultiplicativeLSTMCell, NormedLSTMCell
from worker.models.tensorflow import tf

if TYPE_CHECKING:
    from collections.abc import Callable


def make_cell(layer: LayerConfig) -> Any:
    """A new Keras cell for one direction of a layer."""
    gates = {"recurrent_activation": gate_function(layer)}
    if layer.kind == "gru":
        return tf.keras.layers.GRUCell(layer.units, reset_after=layer.reset == "after", **gates)
    if layer.kind == "mlstm":
        return MultiplicativeLSTMCell(layer.units, cell_clip=layer.cell_clip, **gates)
    if layer.norm is not None:
        return NormedLSTMCell(layer.units, carries=layer.norm == "carried", epsilon=layer.epsilon)
    if layer.projection is not None or layer.cell_clip is not None:
        clips = {"cell_clip": layer.cell_clip, "projection_clip": layer.projection_clip}
        return ClippedLSTMCell(layer.units, layer.projection, **clips, **gates)
    return tf.keras.layers.LSTMCell(layer.units, **gates)


def make_map(layer: MapConfig, inputs: int, arrays: list[NDArray[np.float32]]) -> Any:
    """A Keras layer that computes a map, with these arrays; a scale is a trained BatchNormalization."""
    if layer.kind == "dense":
        made = tf.keras.layers.Dense(layer.units)
    elif layer.kind == "layer_norm":
        made = tf.keras.layers.LayerNormalization(epsilon=layer.epsilon)
    else:
        made = tf.keras.layers.BatchNormalization(epsilon=0)
        arrays = [*arrays, np.zeros_like(arrays[0]), np.ones_like(arrays[0])]
    made.build((None, None, inputs))
    made.set_weights(arrays)
    return tf.keras.Sequential([tf.keras.Input((None, inputs)), made, tf.keras.layers.Activation(layer.activation)])


class MaskedKeras:
    """An embedding, or one-hot ids, and recurrent layers of any kind.

    Args:
        config: the sizes.
        weights: the model's tensors, with the names and shapes of `config.shapes()`.
    """

    def __init__(self, config: ModelConfig, weights: dict[str, NDArray[np.float32]]) -> None:
        self.config = config
        self._embed: Callable[[Any], Any]
        if config.embedding_dim is None:
            self._embed = lambda ids: tf.one_hot(ids - 1, config.vocab_size)
        else:
            self._embed = tf.keras.layers.Embedding(
                config.vocab_size + 1, config.embedding_dim, weights=[weights["embedding"]]
            )
        self._passes: list[list[Any]] = []  # of each layer, one or two
        for number, (layer, inputs) in enumerate(zip(config.layers, config.input_dims, strict=True)):
            passes = []
            if isinstance(layer, MapConfig):
                (prefix,) = layer.prefixes(number)
                self._passes.append([make_map(layer, inputs, [weights[f"{prefix}.{p}"] for p in layer.shapes(1)])])
                continue
            for prefix in layer.prefixes(number):
                rnn = tf.keras.layers.RNN(
                    make_cell(layer), return_sequences=True, go_backwards=prefix.endswith("backward"), dtype=tf.float32
                )
                rnn.build((None, None, inputs))
                first = layer.first_shapes()
                rnn.set_weights([weights[f"{prefix}.{part}"] for part in layer.shapes(inputs) if part not in first])
                passes.append((rnn, [weights[f"{prefix}.{part}"] for part in first]))
            self._passes.append(passes)

    def run(self, input_sequences: Any) -> tuple[tuple[Any, ...], Any]:
        """Run the stack over a padded batch.

        Args:
            input_sequences: int (batch, time) ids in 0..vocab_size; 0 is masked, wherever it is.

        Returns:
            layer_outputs: for each layer float32 (batch, time, its output_dim); undefined at masked steps.
            binary_sequences: shape of input_sequences, 1 where a step is real and 0 where it is padding.
        """
        input_sequences = tf.convert_to_tensor(input_sequences)
        binary_sequences = tf.math.sign(input_sequences)
        mask = tf.cast(binary_sequences, tf.bool)  # (batch, time)
        made = [self._embed(input_sequences)]  # (batch, time, D), then each layer's output
        for layer, passes in zip(self.config.layers, self._passes, strict=True):
            sequence = made[-1]
            if isinstance(layer, MapConfig):
                outputs = passes[0](sequence)
                made.append(outputs + made[-layer.span] if layer.residual else outputs)
                continue
            # A backward pass returns its outputs in the order in which it computed them.
            directions = []
            for rnn, first in passes:
                states = [tf.repeat(state[None], len(input_sequences), axis=0) for state in first] or None
                outputs = rnn(sequence, mask=mask, initial_state=states)
                directions.append(tf.reverse(outputs, [1]) if rnn.go_backwards else outputs)
            outputs = tf.concat(directions, axis=2)  # (batch, time, output_dim)
            made.append(outputs + made[-layer.span] if layer.residual else outputs)
        return tuple(made[1:]), binary_sequences
