"""Keras cells for LSTMs that Keras doesn't have: with projected or clipped states, multiplicative, normalized.

References: Sak, Senior & Beaufays 2014 (LSTMP: PyTorch's `proj_size`, TensorFlow 1's `num_proj`); TensorFlow 1's
`LSTMCell` (cell_clip, proj_clip); Krause, Lu, Murray & Renals 2016 (multiplicative LSTM); Ba, Kiros & Hinton 2016
(layer normalization: TensorFlow Addons' `LayerNormLSTMCell`).
"""

# Over 150 lines: three cells, each in the order of its equations.

from typing import Any

from worker.models.tensorflow import keras, tf
from worker.models.token_maps import normalized


class ClippedLSTMCell(keras.layers.LSTMCell):  # type: ignore[misc]  # TensorFlow has no types
    """An `LSTMCell` whose output may be projected, h = (o tanh(c)) projection, and whose states may be clipped.

    Its weights are kernel (D, 4 units), recurrent_kernel (S, 4 units), bias (4 units,) and, if it projects, projection
    (units, S); its states are h (batch, S) and c (batch, units). S is the projection's width, or units.

    Args:
        units: width of the cell state.
        projection: width of the output; None for no projection.
        cell_clip: the largest magnitude of c; None for any.
        projection_clip: the largest magnitude of a projected h; None for any.
        recurrent_activation: the activation of the gates, as `LSTMCell` takes it.
    """

    def __init__(
        self,
        units: int,
        projection: int | None = None,
        *,
        cell_clip: float | None = None,
        projection_clip: float | None = None,
        recurrent_activation: Any = "sigmoid",
    ) -> None:
        super().__init__(units, recurrent_activation=recurrent_activation, dtype="float32")
        self._clips = cell_clip, projection_clip
        self._projects = projection is not None
        self.output_size = projection or units
        self.state_size = [self.output_size, units]

    def build(self, input_shape: Any) -> None:
        """Make the weights. Keras calls it with the shape of the first inputs."""
        gates = 4 * self.units
        # `LSTMCell.build` would make a recurrent kernel for a state as wide as the cell state.
        self.kernel = self.add_weight(
            shape=(input_shape[-1], gates), name="kernel", initializer=self.kernel_initializer
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.output_size, gates), name="recurrent_kernel", initializer=self.recurrent_initializer
        )
        self.bias = self.add_weight(shape=(gates,), name="bias", initializer=self.bias_initializer)
        if self._projects:
            self.projection = self.add_weight(
                shape=(self.units, self.output_size), name="projection", initializer=self.kernel_initializer
            )
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One step: from inputs (batch, D) and the states to the output (batch, S) and the new states."""
        del training  # it has no dropout
        state, carry = states
        return self._step(tf.matmul(inputs, self.kernel) + tf.matmul(state, self.recurrent_kernel) + self.bias, carry)

    def _step(self, gates: Any, carry: Any) -> tuple[Any, list[Any]]:
        """From the sums of all gates (batch, 4 units) and c (batch, units) to the output and the new states."""
        i, f, candidate, o = tf.split(gates, 4, axis=-1)
        gate = self.recurrent_activation
        cell_clip, projection_clip = self._clips
        carry = _clipped(gate(f) * carry + gate(i) * tf.tanh(candidate), cell_clip)
        state = gate(o) * tf.tanh(carry)
        if self._projects:
            state = _clipped(tf.matmul(state, self.projection), projection_clip)
        return state, [state, carry]


class MultiplicativeLSTMCell(ClippedLSTMCell):
    """An LSTM whose gates read m = (x input_factor) * (h state_factor) in place of the state h.

    It has the weights of an `LSTMCell`, of which recurrent_kernel multiplies m, and input_factor (D, units) and
    state_factor (units, units).

    Args:
        units: width of both states.
        cell_clip: the largest magnitude of c; None for any.
        recurrent_activation: the activation of the gates, as `LSTMCell` takes it.
    """

    def __init__(self, units: int, *, cell_clip: float | None = None, recurrent_activation: Any = "sigmoid") -> None:
        super().__init__(units, cell_clip=cell_clip, recurrent_activation=recurrent_activation)

    def build(self, input_shape: Any) -> None:
        """Make the weights. Keras calls it with the shape of the first inputs."""
        super().build(input_shape)
        self.input_factor = self.add_weight(
            shape=(input_shape[-1], self.units), name="input_factor", initializer=self.kernel_initializer
        )
        self.state_factor = self.add_weight(
            shape=(self.units, self.units), name="state_factor", initializer=self.recurrent_initializer
        )

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One step: from inputs (batch, D) and the states to the output (batch, units) and the new states."""
        del training  # it has no dropout
        state, carry = states
        product = tf.matmul(inputs, self.input_factor) * tf.matmul(state, self.state_factor)  # (batch, units)
        gates = tf.matmul(inputs, self.kernel) + tf.matmul(product, self.recurrent_kernel) + self.bias
        return self._step(gates, carry)


class NormedLSTMCell(keras.layers.LSTMCell):  # type: ignore[misc]  # TensorFlow has no types
    """An LSTM whose products with the input and the state, and whose cell state, are layer-normalized.

    The gates are norm(x kernel + input_shift) input_gain + norm(h recurrent_kernel + state_shift) state_gain + bias;
    each norm is over all four gates. The hidden state is computed from norm(c) cell_gain + cell_bias.

    Args:
        units: width of both states.
        carries: whether the next step reads the normalized cell state.
        epsilon: what norms add to variances.
    """

    def __init__(self, units: int, *, carries: bool, epsilon: float) -> None:
        super().__init__(units, dtype="float32")
        self._carries = carries
        self._epsilon = epsilon

    def build(self, input_shape: Any) -> None:
        """Make the weights. Keras calls it with the shape of the first inputs."""
        gates = 4 * self.units
        shapes = {
            "kernel": (input_shape[-1], gates),
            "recurrent_kernel": (self.units, gates),
            "bias": (gates,),
            "input_shift": (gates,),
            "input_gain": (gates,),
            "state_shift": (gates,),
            "state_gain": (gates,),
            "cell_gain": (self.units,),
            "cell_bias": (self.units,),
        }
        self._parts = {name: self.add_weight(shape=shape, name=name) for name, shape in shapes.items()}
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One step: from inputs (batch, D) and the states to the output (batch, units) and the new states."""
        del training  # it has no dropout
        state, carry = states
        parts = self._parts
        given = tf.matmul(inputs, parts["kernel"]) + parts["input_shift"]
        before = tf.matmul(state, parts["recurrent_kernel"]) + parts["state_shift"]
        gates = normalized(given, self._epsilon) * parts["input_gain"] + parts["bias"]
        gates += normalized(before, self._epsilon) * parts["state_gain"]
        i, f, candidate, o = tf.split(gates, 4, axis=-1)
        carry = tf.sigmoid(f) * carry + tf.sigmoid(i) * tf.tanh(candidate)
        normal = normalized(carry, self._epsilon) * parts["cell_gain"] + parts["cell_bias"]
        state = tf.sigmoid(o) * tf.tanh(normal)
        return state, [state, normal if self._carries else carry]


def _clipped(state: Any, bound: float | None) -> Any:
    return state if bound is None else tf.clip_by_value(state, -bound, bound)
