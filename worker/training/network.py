"""The stacked LSTM language model with a softmax over its vocabulary, and its training steps.

The weights are those of a `LanguageModel`. They are computed with `keras.layers.LSTM`, as in the TensorFlow engine,
because it uses cuDNN on a GPU, and takes and returns states, unlike `run_lstm`. No mask is needed: rows are padded on
the right, and a state after padding is never used.
"""

# Over 150 lines: one network: training, evaluation and its state belong together.

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.model.weights import new_weights
from unrolled.training.plan import FitOptions
from worker.models.language_model import LanguageModel
from worker.models.tensorflow import keras, tf
from worker.training.batches import Window
from worker.training.cross_entropy import cross_entropy, loss_alone

State = dict[str, NDArray[Any]]
_IDS = tf.TensorSpec((None, None), tf.int32)
_SEED = tf.TensorSpec((2,), tf.int32)


class Network:
    """The weights of the model and of the softmax, the optimizer, and its steps.

    Args:
        options: the sizes of the model, and the options of the training.
        bias: the initial bias of the softmax, float32 (vocab_size,); `unigram_logits` are the frequencies of tokens.

    Attributes:
        parameters: number of parameters of the model and the softmax.
    """

    def __init__(self, options: FitOptions, bias: NDArray[np.float32]) -> None:
        config = options.config()
        self._options = options
        self._units, self._depth = options.lstm_units, options.lstm_layers
        self._model = LanguageModel(
            config.vocab_size, config.max_length, self._units, self._depth, config.embedding_dim
        )
        self._model.set_weights(new_weights(config, options.seed))
        limit = np.sqrt(6 / (self._units + config.vocab_size))  # Glorot's, as the model's other kernels
        random = np.random.default_rng((options.seed, 1))
        kernel = random.uniform(-limit, limit, (self._units, config.vocab_size)).astype(np.float32)
        self._head = {
            "head.kernel": tf.Variable(kernel, name="head.kernel"),
            "head.bias": tf.Variable(bias, name="head.bias"),
        }
        self._variables = [*self._model.trainable_variables, *self._head.values()]
        self.parameters = sum(int(np.prod(variable.shape)) for variable in self._variables)
        self._optimizer = keras.optimizers.Adam(options.learning_rate, global_clipnorm=options.clip_norm)
        self._optimizer.build(self._variables)
        self._layers = [_layer_of(cell) for cell in self._model.stacked_lstm_cells(is_training=True).cells]
        states = tf.TensorSpec((self._depth, 2, None, self._units), tf.float32)
        # AutoGraph has nothing to do here, and would leave files in the temporary directory.
        self._train = tf.function(self._train_step, input_signature=[_IDS, _IDS, states, _SEED], autograph=False)
        self._evaluate = tf.function(self._evaluation, input_signature=[_IDS, _IDS, states], autograph=False)

    def train(self, window: Window, states: Any, learning_rate: float) -> tuple[float, Any]:
        """Learn from a window.

        Args:
            window: the batch's next window.
            states: the states that the batch's last window returned; None for its first window.
            learning_rate: the learning rate of this step.

        Returns:
            The sum of the losses over the real targets, in nats, with dropout; and the states after the window.
        """
        self._optimizer.learning_rate.assign(learning_rate)
        seed = np.array([self._options.seed & 0x7FFFFFFF, int(self._optimizer.iterations.numpy())], np.int32)
        loss, states = self._train(window.inputs, window.targets, self._begun(window, states), seed)
        return float(loss), states

    def evaluate(self, window: Window, states: Any) -> tuple[float, Any]:
        """The loss and the states of a window, as from `train`, but without dropout and without learning."""
        loss, states = self._evaluate(window.inputs, window.targets, self._begun(window, states))
        return float(loss), states

    def model_weights(self) -> State:
        """A copy of the model's weights, by their names in the model directory."""
        return dict(self._model.weights())

    def head_weights(self) -> State:
        """A copy of the softmax: `head.kernel` (units, vocab_size), `head.bias` (vocab_size,); id i is at i - 1."""
        return {name: variable.numpy() for name, variable in self._head.items()}

    def state(self) -> State:
        """A copy of everything that a step changes, by name."""
        optimizer = {f"adam.{number}": variable.numpy() for number, variable in enumerate(self._optimizer.variables)}
        return {**self.model_weights(), **self.head_weights(), **optimizer}

    def restore(self, state: State) -> None:
        """Set everything that `state` returns."""
        optimizer = {f"adam.{number}": variable for number, variable in enumerate(self._optimizer.variables)}
        weights = dict(zip(self._model.config.shapes(), self._model.trainable_variables, strict=True))
        for name, variable in {**weights, **self._head, **optimizer}.items():
            variable.assign(state[name])

    def _begun(self, window: Window, states: Any) -> Any:
        rows = len(window.inputs)
        return tf.zeros((self._depth, 2, rows, self._units)) if states is None else states[:, :, :rows]

    def _train_step(self, inputs: Any, targets: Any, states: Any, seed: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs, after = self._run(inputs, states, seed)
            loss = cross_entropy(*self._asked(outputs, targets))
            mean = loss / tf.cast(tf.math.count_nonzero(targets), tf.float32)
        gradients = tape.gradient(mean, [_plain(variable) for variable in self._variables])
        # The embedding's gradient consists of the rows that were looked up; Adam needs a plain tensor.
        self._optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], self._variables)
        return loss, after

    def _evaluation(self, inputs: Any, targets: Any, states: Any) -> Any:
        outputs, after = self._run(inputs, states, None)
        return loss_alone(*self._asked(outputs, targets)), after

    def _asked(self, outputs: Any, targets: Any) -> tuple[Any, Any, Any, Any]:
        """The arguments of the loss: outputs at real targets (tokens, units), the softmax, and the targets' indexes."""
        real = targets > 0
        labels = tf.boolean_mask(targets, real) - 1
        return tf.boolean_mask(outputs, real), *(_plain(variable) for variable in self._head.values()), labels

    def _run(self, inputs: Any, states: Any, seed: Any) -> tuple[Any, Any]:
        """Outputs (rows, time, units) and the states after them, (layers, 2, rows, units); a seed turns dropout on."""
        sequence = tf.gather(_plain(self._model.trainable_variables[0]), inputs)  # (rows, time, embedding_dim)
        after = []
        for number, layer in enumerate(self._layers):
            if seed is not None:
                sequence = self._dropped(sequence, seed + tf.constant([number << 20, 0]))
            sequence, *state = layer(sequence, initial_state=[states[number, 0], states[number, 1]])
            after.append(tf.stack(state))
        return sequence, tf.stack(after)

    def _dropped(self, sequence: Any, seed: Any) -> Any:
        # One mask for all steps of a row, as in Keras's cells; stateless, so that a resumed training drops equal units.
        shape = (tf.shape(sequence)[0], 1, sequence.shape[2])
        rate = 1 - self._options.keep_probability
        return tf.nn.experimental.stateless_dropout(sequence, rate, seed, noise_shape=shape)


def _layer_of(cell: Any) -> Any:
    """A `keras.layers.LSTM` that uses the weights of a cell."""
    layer = keras.layers.LSTM(cell.units, return_sequences=True, return_state=True, dtype="float32")
    layer.cell = cell
    layer.built = True
    return layer


def _plain(variable: Any) -> Any:
    """The TensorFlow variable of a Keras variable."""
    return getattr(variable, "value", variable) if not isinstance(variable, tf.Variable) else variable
