"""Computes rows that are too long to be computed whole by a model that reads backward: layer by layer, in chunks.

A backward pass begins at the end of a row, so the next layer can't begin before the row has been read in both
directions. The inputs and outputs of one layer are kept for a few rows at a time; the device has one chunk of them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import RequestError, TransientError
from unrolled.model.config import ModelConfig
from worker.engines.tensorflow.buckets import CHUNK
from worker.engines.tensorflow.partial_pooling import pool_row
from worker.engines.tensorflow.row_store import RowStore
from worker.engines.tensorflow.stack import Stack
from worker.models.tensorflow import tf

#: The most bytes of one layer's inputs and outputs: 262,144 tokens with 512 units in both directions.
MOST_BYTES = 2 << 30


class LayerByLayer:
    """Computes long rows.

    Args:
        config: the model's configuration.
        stack: its layers.
        embedding: (vocab_size + 1, embedding_dim), or None for one-hot ids.
        batch_rows: how many rows a batch has, empty ones included.
    """

    def __init__(
        self, config: ModelConfig, stack: Stack, embedding: NDArray[np.float32] | None, batch_rows: int
    ) -> None:
        self._config = config
        self._stack = stack
        self._embedding = embedding
        self._batch_rows = batch_rows
        # The inputs of the first layer take no memory, because they are looked up chunk by chunk.
        self._token_bytes = 4 * max(
            outputs + (inputs if number else 0)
            for number, (inputs, outputs) in enumerate(zip(config.input_dims, config.layer_dims, strict=True))
        )

    def compute(self, store: RowStore, rows: NDArray[np.int64]) -> int:
        """Fill in all columns of some rows.

        Args:
            store: the pool.
            rows: their numbers, sorted by descending length.

        Returns:
            The number of steps in one pass over all of them, padding included.

        Raises:
            RequestError: a row needs more memory than it may take; no row has been computed.
            TransientError: the device's memory runs out.
        """
        most = MOST_BYTES // self._token_bytes
        if len(rows) and store.lengths[rows[0]] > most:
            raise RequestError(
                f"a row of {store.lengths[rows[0]]:,} tokens can't be computed by a model that reads backward: at most "
                f"{most:,} tokens of {self._config.describe_layers()} fit into {MOST_BYTES >> 20:,} MiB; cut the row"
            )
        group: list[int] = []
        tokens = steps = 0
        for row in rows.tolist():
            length = int(store.lengths[row])
            if len(group) == self._batch_rows or tokens + length > most:
                steps += self._compute_group(store, group)
                group, tokens = [], 0
            group.append(row)
            tokens += length
        if group:
            steps += self._compute_group(store, group)
        return steps

    def _compute_group(self, store: RowStore, rows: list[int]) -> int:
        ids = [store.row(row) for row in rows]
        edges = np.cumsum([0, *map(len, ids)])
        inputs: list[NDArray[Any]] = list(ids)
        deepest = max(column.layer_of(len(self._config.layers)) for column in store.columns)
        for number, layer in enumerate(self._config.layers[: deepest + 1]):
            outputs = np.empty((edges[-1], layer.output_dim), np.float32)
            of_rows = np.split(outputs, edges[1:-1])  # views
            for direction, prefix in enumerate(layer.prefixes(number)):
                across = slice(direction * layer.state_dim, (direction + 1) * layer.state_dim)
                # A pass that reads backward gets reversed rows, and writes to reversed views.
                along = slice(None, None, -1 if prefix.endswith("backward") else 1)
                self._run_pass(number, direction, [each[along] for each in inputs], [o[along, across] for o in of_rows])
            if layer.residual:
                for output, each in zip(of_rows, inputs, strict=True):
                    np.add(output, each if number or self._embedding is None else self._embedding[each], out=output)
            self._store(store, number, rows, of_rows)
            inputs = of_rows
        steps: int = len(range(0, len(ids[0]), CHUNK)) * CHUNK * self._batch_rows
        return steps

    def _run_pass(
        self, number: int, direction: int, inputs: list[NDArray[Any]], outputs: list[NDArray[np.float32]]
    ) -> None:
        """Fill in the outputs (tokens, S) of rows, by one pass over their inputs (tokens, D) or ids (tokens,)."""
        states: Any = [
            np.tile(state, (self._batch_rows, 1)) for state in self._stack.first_states_of(number, direction)
        ]
        for begun in range(0, len(inputs[0]), CHUNK):
            chunks = [each[begun : begun + CHUNK] for each in inputs if len(each) > begun]
            batch = np.zeros((self._batch_rows, CHUNK, *inputs[0].shape[1:]), inputs[0].dtype)
            for place, chunk in zip(batch, chunks, strict=False):
                place[: len(chunk)] = chunk
            try:
                results, states = self._stack.run_pass(number, direction, tf.constant(batch), states)
            except tf.errors.ResourceExhaustedError as error:
                raise TransientError(
                    f"out of memory with {self._batch_rows} rows of {CHUNK} tokens in layer {number}; free memory on "
                    "the device, or use a smaller model"
                ) from error
            for output, chunk, result in zip(outputs, chunks, results.numpy(), strict=False):
                output[begun : begun + len(chunk)] = result[: len(chunk)]

    def _store(self, store: RowStore, number: int, rows: list[int], outputs: list[NDArray[np.float32]]) -> None:
        numbers = np.array(rows)
        for index, column in enumerate(store.columns):
            if column.layer_of(len(self._config.layers)) != number:
                continue
            if not column.per_token:
                store.put_rows(index, numbers, np.stack([pool_row(column.pooling, each) for each in outputs]))
                continue
            for row, each in zip(numbers, outputs, strict=True):
                store.put_tokens(index, row[None], 0, store.lengths[row[None]], each[None])
