"""A Keras cell for the LSTM with a projected state (LSTMP), which Keras doesn't have.

Reference: Sak, Senior & Beaufays 2014. It is PyTorch's `proj_size` and TensorFlow 1's `num_proj`.
"""

from typing import Any

from worker.models.tensorflow import tf


class ProjectedLSTMCell(tf.keras.layers.LSTMCell):  # type: ignore[misc]  # TensorFlow has no types
    """An `LSTMCell` whose output is projected: h = (o tanh(c)) projection.

    Its weights are kernel (D, 4 units), recurrent_kernel (projection, 4 units), bias (4 units,) and projection
    (units, projection); its states are h (batch, projection) and c (batch, units).

    Args:
        units: width of the cell state.
        projection: width of the output.
        recurrent_activation: the activation of the gates, as `LSTMCell` takes it.
    """

    def __init__(self, units: int, projection: int, recurrent_activation: Any = "sigmoid") -> None:
        super().__init__(units, recurrent_activation=recurrent_activation)
        self.state_size = [projection, units]
        self.output_size = projection

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
        self.projection = self.add_weight(
            shape=(self.units, self.output_size), name="projection", initializer=self.kernel_initializer
        )
        self.built = True

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One step: from inputs (batch, D) and the states to the output (batch, projection) and the new states."""
        wide, (_, carry) = super().call(inputs, states, training=training)  # both (batch, units)
        state = tf.matmul(wide, self.projection)  # (batch, projection)
        return state, [state, carry]
