"""The stacked LSTM language model, on Keras.

It is the reference for what the engines compute: it takes padded batches, with zeros anywhere, and tests compare the
engines' results with its own. `unrolled model fit` trains it. It is one file because it is one class, which people read
as a whole. References: Hochreiter & Schmidhuber 1997 (LSTM), Keras's `RNN`, `StackedRNNCells` and `LSTMCell`.
"""

# Over 150 lines: the model in one file, as its literature has it.

import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from unrolled.tokenization.tokenizer import without_dropout
from worker.models.tensorflow import keras, tf

if TYPE_CHECKING:
    from pathlib import Path

#: The probability with which training keeps each input of a cell.
KEEP_PROBABILITY = 0.5


class LanguageModel:
    """An embedding and a stack of LSTM layers. All methods share the model's weights.

    Keras initialises the weights; `set_weights` and `from_directory` set others.

    Args:
        vocab_size: the largest token id; 0 is padding.
        max_length: the number of time steps that the model was made for. `run_lstm` takes any number and cuts nothing
            off.
        num_lstm_units: width of each layer's state.
        num_lstm_layers: number of layers.
        embedding_dim: width of the embedding; if None, the fourth root of vocab_size, rounded down.

    Raises:
        ModelError: a size is out of range.
    """

    def __init__(
        self,
        vocab_size: int,
        max_length: int,
        num_lstm_units: int,
        num_lstm_layers: int,
        embedding_dim: int | None = None,
    ) -> None:
        self.config = ModelConfig.stacked(vocab_size, max_length, num_lstm_units, num_lstm_layers, embedding_dim)
        width = self.config.input_dims[0]
        self.vocab_size = vocab_size
        self.max_length = max_length
        self.num_lstm_units = num_lstm_units
        self.num_lstm_layers = num_lstm_layers
        self._tokenizer_path: Path | None = None
        self._embedding = keras.layers.Embedding(
            vocab_size + 1, width, embeddings_initializer="uniform", mask_zero=True, dtype="float32"
        )
        self._embedding.build((None, None))
        self._cells = [self.make_lstm_cell(KEEP_PROBABILITY) for _ in range(num_lstm_layers)]
        for layer, cell in enumerate(self._cells):
            cell.build((None, num_lstm_units if layer else width))

    @classmethod
    def from_directory(cls, model: ModelDirectory) -> Self:
        """The model in a directory, with its weights.

        Raises:
            ModelError: its layers are of another kind, which only the engines compute.
        """
        config = model.config
        if not config.is_stacked:
            raise ModelError(
                f"{model.path}: a LanguageModel is forward LSTM layers of one width on an embedding, this model has "
                f"{config.describe_layers()}; compute it with an engine, see worker.engines.choice"
            )
        language_model = cls(
            config.vocab_size,
            config.max_length,
            config.output_dim,
            len(config.layers),
            config.embedding_dim,
        )
        language_model.set_weights(model.weights())
        language_model._tokenizer_path = model.tokenizer_path
        return language_model

    @property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` of the model's directory: `model.tokenizer.encode(text).ids`.

        It takes the place of Keras 2's `Tokenizer(num_words=vocab_size)`, which Keras 3 doesn't have.

        Raises:
            ModelError: the model has no tokenizer.json, or it can't be read.
        """
        if self._tokenizer_path is None:
            raise ModelError(
                "model: it has no tokenizer.json; open it from a directory that has one, or make one with: "
                "unrolled tokenizer fit"
            )
        from tokenizers import Tokenizer  # noqa: PLC0415 - a worker gets token ids, and may not have the package

        try:
            made = Tokenizer.from_file(str(self._tokenizer_path))
        except Exception as error:  # the package raises bare Exception
            raise ModelError(
                f"{self._tokenizer_path}: is not a tokenizer ({error}); make it again: unrolled tokenizer fit"
            ) from error
        without_dropout(made)
        return made

    def make_lstm_cell(self, dropout_keep_prob: float) -> Any:
        """Make a cell with weights of its own.

        Args:
            dropout_keep_prob: the probability with which training keeps an input of the cell; Keras's `dropout` is the
                rate at which it drops them.

        Returns:
            A `keras.layers.LSTMCell` of `num_lstm_units` units. It is not built, and not part of the model's stack.
        """
        return keras.layers.LSTMCell(self.num_lstm_units, dropout=1.0 - dropout_keep_prob, dtype="float32")

    def stacked_lstm_cells(self, is_training: bool) -> Any:
        """The model's cells as one `keras.layers.StackedRNNCells`.

        The cells are the model's own, so this changes them: a stack that was returned earlier, too, now has the dropout
        of this call. Don't call it from two threads at once.

        Args:
            is_training: whether the cells drop inputs at the rate 1 - KEEP_PROBABILITY.
        """
        dropout_keep_prob = KEEP_PROBABILITY if is_training else 1.0
        for cell in self._cells:
            # New cells would have new weights, so only the rate changes.
            cell.dropout = 1.0 - dropout_keep_prob
        return keras.layers.StackedRNNCells(self._cells, dtype="float32")

    def get_input_embeddings(self, input_sequences: Any) -> Any:
        """The embeddings, float32 (batch, time, embedding_dim), of int ids (batch, time) in 0..vocab_size."""
        return self._embedding(input_sequences)

    def run_lstm(self, input_sequences: Any, is_training: bool) -> tuple[Any, Any]:
        """Run the stack over a padded batch.

        A step with id 0 is masked, wherever it is: the state stays as it was. The output at a masked step differs
        between Keras's kernels, so use only the outputs where binary_sequences is 1.

        Args:
            input_sequences: int (batch, time) ids in 0..vocab_size.
            is_training: whether dropout is on.

        Returns:
            lstm_outputs: float32 (batch, time, units), the last layer's state after each step.
            binary_sequences: shape and dtype of input_sequences, 1 where a step is real and 0 where it is padding.
        """
        cell = self.stacked_lstm_cells(is_training)
        input_sequences = tf.convert_to_tensor(input_sequences)
        input_embeddings = self.get_input_embeddings(input_sequences)
        binary_sequences = tf.math.sign(input_sequences)
        # The embeddings carry the mask (mask_zero). It takes the place of an `input_length`, which Keras 3's RNN
        # doesn't have, and which could not say where zeros are inside a row.
        rnn = keras.layers.RNN(cell, return_sequences=True, dtype=tf.float32)
        lstm_outputs = rnn(input_embeddings, training=is_training)
        return lstm_outputs, binary_sequences

    @property
    def trainable_variables(self) -> list[Any]:
        """All variables, in the order of `ModelConfig.shapes`, for an optimiser."""
        cells = [(cell.kernel, cell.recurrent_kernel, cell.bias) for cell in self._cells]
        return [self._embedding.embeddings, *(variable for cell in cells for variable in cell)]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the weights, by their names in a model directory."""
        variables = zip(self.config.shapes(), self.trainable_variables, strict=True)
        return {name: np.array(variable.numpy()) for name, variable in variables}

    def set_weights(self, weights: dict[str, NDArray[np.float32]]) -> None:
        """Set the weights, with the names and shapes of `ModelConfig.shapes`.

        Raises:
            ModelError: a name or a shape is not the model's.
        """
        found = {name: array.shape for name, array in weights.items()}
        if found != self.config.shapes():
            raise ModelError(f"model: the weights are {found}; they must be {self.config.shapes()}")
        for name, variable in zip(self.config.shapes(), self.trainable_variables, strict=True):
            variable.assign(weights[name])

    def save(self, path: str | os.PathLike[str], tokenizer_json: str | None = None) -> ModelDirectory:
        """Write a model directory for workers and `from_directory`; see `unrolled.model.directory.save_model`."""
        return save_model(path, self.config, self.weights(), tokenizer_json)
