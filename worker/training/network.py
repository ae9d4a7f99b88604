"""The brief's model with a softmax over its vocabulary, and what an epoch does with a window of tokens.

The weights are those of a `LanguageModel`. They run through `keras.layers.LSTM`, as in the TensorFlow engine: it takes
cuDNN where there is a GPU, and states in and out, which `run_lstm` doesn't. No mask is needed: rows are right-padded,
and a state after padding is never used.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError
from unrolled.model.weights import new_weights
from unrolled.training.plan import FitOptions
from worker.models.language_model import LanguageModel
from worker.models.tensorflow import tf
from worker.training.batches import Window
from worker.training.cross_entropy import cross_entropy, loss_alone

State = dict[str, NDArray[Any]]
_IDS = tf.TensorSpec((None, None), tf.int32)
_SEED = tf.TensorSpec((2,), tf.int32)


class Network:
    """Weights, optimiser and steps.

    Args:
        options: the model's sizes and how it learns.
        bias: float32 (vocab_size,), the softmax's at the start; with `unigram_logits`, frequencies need no learning.

    Attributes:
        parameters: numbers in the model's weights and the softmax's.
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
        self._optimizer = tf.keras.optimizers.Adam(options.learning_rate, global_clipnorm=options.clip_norm)
        self._optimizer.build(self._variables)
        self._layers = [_layer_of(cell) for cell in self._model.stacked_lstm_cells(is_training=True).cells]
        states = tf.TensorSpec((self._depth, 2, None, self._units), tf.float32)
        self._train = tf.function(self._train_step, input_signature=[_IDS, _IDS, states, _SEED])
        self._evaluate = tf.function(self._evaluation, input_signature=[_IDS, _IDS, states])

    def train(self, window: Window, states: Any, learning_rate: float) -> tuple[float, Any]:
        """Learn from a window.

        Args:
            window: the next of its batch.
            states: what the last window of the batch gave; None for the first.
            learning_rate: of this step.

        Returns:
            The sum of the losses over the real targets, in nats, with dropout; and the states after the window.
        """
        self._optimizer.learning_rate.assign(learning_rate)
        seed = np.array([self._options.seed & 0x7FFFFFFF, int(self._optimizer.iterations.numpy())], np.int32)
        loss, states = self._train(window.inputs, window.targets, self._begun(window, states), seed)
        return float(loss), states

    def evaluate(self, window: Window, states: Any) -> tuple[float, Any]:
        """As `train`, without dropout, and nothing is learnt."""
        loss, states = self._evaluate(window.inputs, window.targets, self._begun(window, states))
        return float(loss), states

    def model_weights(self) -> State:
        """A copy of the model's weights, by their names in a model directory."""
        return dict(self._model.weights())

    def head_weights(self) -> State:
        """A copy of the softmax's: `head.kernel` (units, vocab_size), `head.bias` (vocab_size,); id i is at i - 1."""
        return {name: variable.numpy() for name, variable in self._head.items()}

    def state(self) -> State:
        """Everything that a step changes, by name."""
        optimizer = {f"adam.{number}": variable.numpy() for number, variable in enumerate(self._optimizer.variables)}
        return {**self.model_weights(), **self.head_weights(), **optimizer}

    def restore(self, state: State) -> None:
        """Take over what `state` gave."""
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
        # The embedding's comes as the rows that were looked up.
        self._optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], self._variables)
        return loss, after

    def _evaluation(self, inputs: Any, targets: Any, states: Any) -> Any:
        outputs, after = self._run(inputs, states, None)
        return loss_alone(*self._asked(outputs, targets)), after

    def _asked(self, outputs: Any, targets: Any) -> tuple[Any, Any, Any, Any]:
        """What the loss is made of: the outputs at real targets alone, (tokens, units), and those targets' places."""
        real = targets > 0
        labels = tf.boolean_mask(targets, real) - 1
        return tf.boolean_mask(outputs, real), *(_plain(variable) for variable in self._head.values()), labels

    def _run(self, inputs: Any, states: Any, seed: Any) -> tuple[Any, Any]:
        """Outputs (rows, time, units) and the states after, (layers, 2, rows, units); dropout where there is a seed."""
        sequence = tf.gather(_plain(self._model.trainable_variables[0]), inputs)  # (rows, time, embedding_dim)
        after = []
        for number, layer in enumerate(self._layers):
            if seed is not None:
                sequence = self._dropped(sequence, seed + tf.constant([number << 20, 0]))
            sequence, *state = layer(sequence, initial_state=[states[number, 0], states[number, 1]])
            after.append(tf.stack(state))
        return sequence, tf.stack(after)

    def _dropped(self, sequence: Any, seed: Any) -> Any:
        # One mask for all of a row's steps, as Keras's cells make it; stateless, so that a run that goes on drops the
        # same as one that was never interrupted.
        shape = (tf.shape(sequence)[0], 1, sequence.shape[2])
        rate = 1 - self._options.keep_probability
        return tf.nn.experimental.stateless_dropout(sequence, rate, seed, noise_shape=shape)


def _layer_of(cell: Any) -> Any:
    """A `keras.layers.LSTM` that runs a cell's own weights."""
    layer = tf.keras.layers.LSTM(cell.units, return_sequences=True, return_state=True)
    layer.cell = cell
    layer.built = True
    return layer


def _plain(variable: Any) -> Any:
    """TensorFlow's own variable of a Keras one."""
    return getattr(variable, "value", variable) if not isinstance(variable, tf.Variable) else variable


def start_tensorflow(device: str, threads: int | None) -> str:
    """Set TensorFlow up before its first operation, for the same results from the same seed.

    Args:
        device: "auto", "cpu" or "gpu".
        threads: of the CPU; None for all.

    Returns:
        The device, for people.

    Raises:
        BrokenWorkerError: a GPU is asked for and there is none.
    """
    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif device == "gpu" and not gpus:
        raise BrokenWorkerError(
            "a GPU is asked for and TensorFlow sees none; check the driver and CUDA_VISIBLE_DEVICES, install "
            "tensorflow[and-cuda], or choose --device auto or cpu"
        )
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if not gpus:
        # On a GPU the softmax's operation has no deterministic form, and refuses.
        tf.config.experimental.enable_op_determinism()
        tf.keras.utils.set_random_seed(0)  # nothing of ours draws from it; with determinism on, Keras wants one
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))
