"""The stacked-LSTM language model, on Keras.

This is the reference for the brief's model, and `recurrent_model` for others: it takes padded batches as they
are, zeros anywhere, and every engine's result is held against it. References: Hochreiter & Schmidhuber 1997
(LSTM), Keras's `RNN`, `StackedRNNCells`, `LSTMCell`.
"""

import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, save_model
from worker.models.tensorflow import tf

if TYPE_CHECKING:
    from pathlib import Path

KEEP_PROBABILITY = 0.5  # of each of a cell's inputs, in training


class LanguageModel:
    """An embedding and a stack of LSTM layers; the weights are the object's own, and every call shares them.

    Args:
        vocab_size: the largest token id; 0 is padding.
        max_length: time steps the model was made for. `run_lstm` takes any number, and cuts nothing off.
        num_lstm_units: width of each layer's state.
        num_lstm_layers: how many layers.
        embedding_dim: width of the embedding; the fourth root of vocab_size where it is None.

    The weights are Keras's fresh ones until `set_weights`, or come with `from_directory`.

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
        self._embedding = tf.keras.layers.Embedding(
            vocab_size + 1, width, embeddings_initializer="uniform", mask_zero=True
        )
        self._embedding.build((None, None))
        self._cells = [self.make_lstm_cell(KEEP_PROBABILITY) for _ in range(num_lstm_layers)]
        for layer, cell in enumerate(self._cells):
            cell.build((None, num_lstm_units if layer else width))

    @classmethod
    def from_directory(cls, model: ModelDirectory) -> Self:
        """The model that a directory holds, with its weights.

        Raises:
            ModelError: it isn't the brief's; `worker.models.recurrent_model.RecurrentModel` runs it.
        """
        config = model.config
        if not config.is_stacked:
            raise ModelError(
                f"{model.path}: a LanguageModel is forward LSTM layers of one width on an embedding, this model has "
                f"{config.describe_layers()}; run it with worker.models.recurrent_model.RecurrentModel"
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

        It stands where a Keras 2 `Tokenizer(num_words=vocab_size)` stood, which Keras 3 has no more.

        Raises:
            ModelError: the model has no tokenizer.json, or it can't be read.
        """
        if self._tokenizer_path is None:
            raise ModelError(
                "model: it has no tokenizer.json; open it from a directory that has one, or make one with: "
                "unrolled tokenizer fit"
            )
        # Token ids need no tokenizer, and a worker needs not have the package.
        from tokenizers import Tokenizer  # noqa: PLC0415

        try:
            return Tokenizer.from_file(str(self._tokenizer_path))
        except Exception as error:  # the package raises bare Exception
            raise ModelError(f"{self._tokenizer_path}: is no tokenizer ({error}); make it anew") from error

    def make_lstm_cell(self, dropout_keep_prob: float) -> Any:
        """A fresh `LSTMCell`. Keras wants the rate to *drop*; this takes the probability to *keep*."""
        return tf.keras.layers.LSTMCell(self.num_lstm_units, dropout=1.0 - dropout_keep_prob)

    def stacked_lstm_cells(self, is_training: bool) -> Any:
        """The model's cells as one `StackedRNNCells`, with dropout of each cell's inputs in training only."""
        dropout_keep_prob = KEEP_PROBABILITY if is_training else 1.0
        for cell in self._cells:
            # The rate alone changes: new cells would have new weights.
            cell.dropout = 1.0 - dropout_keep_prob
        return tf.keras.layers.StackedRNNCells(self._cells)

    def get_input_embeddings(self, input_sequences: Any) -> Any:
        """Look up int (batch, time) ids: float32 (batch, time, embedding_dim)."""
        return self._embedding(input_sequences)

    def run_lstm(self, input_sequences: Any, is_training: bool) -> tuple[Any, Any]:
        """Run the stack over a padded batch.

        A step of id 0 is masked, wherever it stands: it carries the state over to the next step. What comes
        out at such a step is Keras's affair and differs between its kernels; use outputs where the mask is 1.

        Args:
            input_sequences: int (batch, time) ids in 0..vocab_size.
            is_training: whether dropout is on.

        Returns:
            lstm_outputs: float32 (batch, time, units), the last layer's state after each step.
            binary_sequences: like input_sequences, 1 where a step is real and 0 where it is padding.
        """
        cell = self.stacked_lstm_cells(is_training)
        input_sequences = tf.convert_to_tensor(input_sequences)
        input_embeddings = self.get_input_embeddings(input_sequences)
        binary_sequences = tf.math.sign(input_sequences)
        # Lengths could not say where the zeros are: the mask comes along with the embeddings (mask_zero). It does
        # the work that input_length was to do, which Keras 3's RNN doesn't have.
        rnn = tf.keras.layers.RNN(cell, return_sequences=True, dtype=tf.float32)
        lstm_outputs = rnn(input_embeddings, training=is_training)
        return lstm_outputs, binary_sequences

    @property
    def trainable_variables(self) -> list[Any]:
        """Every variable, in the order of `ModelConfig.shapes`, for an optimiser."""
        cells = [(cell.kernel, cell.recurrent_kernel, cell.bias) for cell in self._cells]
        return [self._embedding.embeddings, *(variable for cell in cells for variable in cell)]

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """A copy of every weight, by its name in a model directory."""
        variables = zip(self.config.shapes(), self.trainable_variables, strict=True)
        return {name: np.array(variable.numpy()) for name, variable in variables}

    def set_weights(self, weights: dict[str, NDArray[np.float32]]) -> None:
        """Take over weights, named and shaped as `ModelConfig.shapes` tells.

        Raises:
            ModelError: a name or a shape is not the model's.
        """
        found = {name: array.shape for name, array in weights.items()}
        if found != self.config.shapes():
            raise ModelError(f"model: the weights are {found}, and must be {self.config.shapes()}")
        for name, variable in zip(self.config.shapes(), self.trainable_variables, strict=True):
            variable.assign(weights[name])

    def save(self, path: str | os.PathLike[str], tokenizer_json: str | None = None) -> ModelDirectory:
        """Write the model directory that the workers use; see `unrolled.model.directory.save_model`."""
        return save_model(path, self.config, self.weights(), tokenizer_json)
