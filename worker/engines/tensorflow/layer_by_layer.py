"""Computes rows that are too long to be computed whole by a model that reads backward: layer by layer, in chunks.

A backward pass begins at the end of a row, so the next layer can't begin before the row has been read in both
directions. The inputs and outputs of one layer are kept for a few rows at a time; the device has one chunk of them.
"""

# Over 150 lines: one walk through the layers, with the memory that it takes.

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import RequestError, TransientError
from unrolled.model.config import ModelConfig
from unrolled.model.token_map import MapConfig
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
        embedding: (vocab_size + 1, embedding_dim); None for one-hot ids and for vectors.
        batch_rows: how many rows a batch has, empty ones included.
    """

    def __init__(
        self, config: ModelConfig, stack: Stack, embedding: NDArray[np.float32] | None, batch_rows: int
    ) -> None:
        self._config = config
        self._stack = stack
        self._embedding = embedding
        self._batch_rows = batch_rows
        self._last_readers = _last_readers(config)
        # The inputs of the first layer take no memory, because they are looked up chunk by chunk.
        self._token_bytes = 4 * max(
            outputs + sum(config.layer_dims[below] for below in range(number) if self._last_readers[below] >= number)
            for number, outputs in enumerate(config.layer_dims)
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
        made: dict[int, list[NDArray[Any]]] = {-1: list(ids)}  # outputs by the numbers of the layers
        deepest = max(column.layer_of(len(self._config.layers)) for column in store.columns)
        for number, layer in enumerate(self._config.layers[: deepest + 1]):
            outputs = np.empty((edges[-1], layer.output_dim), np.float32)
            of_rows = np.split(outputs, edges[1:-1])  # views
            self._run_layer(number, made[number - 1], of_rows, store.states[rows])
            if layer.residual:
                source = number - layer.span
                for output, each in zip(of_rows, made[source], strict=True):
                    np.add(
                        output, each if source >= 0 or self._embedding is None else self._embedding[each], out=output
                    )
            self._store(store, number, rows, of_rows)
            made[number] = of_rows
            for below in [below for below in made if below >= 0 and self._last_readers[below] <= number]:
                del made[below]
        steps: int = len(range(0, len(ids[0]), CHUNK)) * CHUNK * self._batch_rows
        return steps

    def _run_layer(
        self,
        number: int,
        inputs: list[NDArray[Any]],
        outputs: list[NDArray[np.float32]],
        given: NDArray[np.float32],
    ) -> None:
        """Fill in the outputs (tokens, width) of rows that bring these states, without the sum of a residual layer."""
        layer = self._config.layers[number]
        if isinstance(layer, MapConfig):
            self._run_chunks(inputs, outputs, lambda batch: self._stack.run_map(number, batch), number)
            return
        for direction, prefix in enumerate(layer.prefixes(number)):
            across = slice(direction * layer.state_dim, (direction + 1) * layer.state_dim)
            # A pass that reads backward gets reversed rows, and writes to reversed views.
            along = slice(None, None, -1 if prefix.endswith("backward") else 1)
            turned = [each[along] for each in inputs], [each[along, across] for each in outputs]
            self._run_pass(number, direction, *turned, given)

    def _run_pass(
        self,
        number: int,
        direction: int,
        inputs: list[NDArray[Any]],
        outputs: list[NDArray[np.float32]],
        given: NDArray[np.float32],
    ) -> None:
        """Fill in the outputs (tokens, S) of rows, by one pass over their inputs (tokens, D) or ids (tokens,)."""
        of_batch = np.zeros((self._batch_rows, given.shape[1]), np.float32)
        of_batch[: len(given)] = given
        states: Any = self._stack.begun_states_of(number, direction, of_batch)

        def run(batch: Any) -> Any:
            nonlocal states
            results, states = self._stack.run_pass(number, direction, batch, states)
            return results

        self._run_chunks(inputs, outputs, run, number)

    def _run_chunks(
        self,
        inputs: list[NDArray[Any]],
        outputs: list[NDArray[np.float32]],
        run: Callable[[Any], Any],
        number: int,
    ) -> None:
        """Fill in outputs with what `run` makes of the inputs, a chunk of all rows at a time."""
        for begun in range(0, len(inputs[0]), CHUNK):
            chunks = [each[begun : begun + CHUNK] for each in inputs if len(each) > begun]
            batch = np.zeros((self._batch_rows, CHUNK, *inputs[0].shape[1:]), inputs[0].dtype)
            for place, chunk in zip(batch, chunks, strict=False):
                place[: len(chunk)] = chunk
            try:
                results = run(tf.constant(batch))
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


def _last_readers(config: ModelConfig) -> list[int]:
    """For each layer the number of the last one that reads its output: the next one, or a residual layer above it."""
    last = [number + 1 for number in range(len(config.layers))]
    for number, layer in enumerate(config.layers):
        if layer.residual and number >= layer.span:
            last[number - layer.span] = max(last[number - layer.span], number)
    return last
