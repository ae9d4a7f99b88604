"""The TensorFlow engine: cuDNN on a GPU, Keras's own loop on a CPU.

Keras's recurrent layers run in a traced function of unknown batch and time, which is traced once for each choice of
columns, whatever the rows (see `stack`).

How far the same row has the same bytes: on a CPU, matrix products may sum in another order if a batch has another
number of rows (observed with oneDNN from 1,024 units on, and with AVX2 at any size), but not at another place in a
batch. So at the start the engine tries its numbers of rows and keeps those that agree in every bit. From then on a row
has the same bits with any other rows, in any order and in any chunks. TensorFlow doesn't promise this; it was observed.
It may not hold on a GPU, where cuDNN may also choose by the number of steps, nor after memory has run out and batches
have become smaller. Errors below 1e-5 are promised in all cases.

It is one file because it is one object's life: device, limits, chunks, and smaller batches when memory runs out.
"""

# Over 150 lines: one class: how a pool becomes batches, and their vectors rows.

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError, TransientError
from unrolled.format.columns import VectorColumn
from unrolled.format.output_spec import OutputSpec
from unrolled.model.directory import ModelDirectory
from unrolled.tokenization.ragged import Ragged
from worker.engines.engine import PoolStats
from worker.engines.padded import refuse_padding
from worker.engines.tensorflow.buckets import CHUNK, ROW_COUNTS, TIMES, Limits, Shape, plan
from worker.engines.tensorflow.carrying import Carried
from worker.engines.tensorflow.device import Device, find_gpu, set_threads, used_threads
from worker.engines.tensorflow.layer_by_layer import LayerByLayer
from worker.engines.tensorflow.row_counts import agreeing_row_counts
from worker.engines.tensorflow.row_store import RowStore
from worker.engines.tensorflow.stack import Stack
from worker.models.tensorflow import tf

__all__ = ["TensorFlowEngine"]

# Measured at 128 to 512 units: throughput grows little beyond 512 rows, and a step's overhead costs as much as 24 rows.
# 16,384 tokens at 512 units are 32 MB for each layer. The GPU's figures are estimates: cuDNN needs larger batches.
_CPU_ROWS = 512
_CPU = Limits(16_384, row_counts=tuple(n for n in ROW_COUNTS if n <= _CPU_ROWS), step_cost=24)
_GPU = Limits(131_072, row_counts=ROW_COUNTS, step_cost=256)


class TensorFlowEngine:
    """Computes pools of rows with Keras's recurrent layers. Only one thread at a time may call it.

    Attributes:
        name: "tensorflow".
        arithmetic: "float32"; TF32 is off, on a GPU too.
        description: one line that says which path was taken and why.
        threads: CPU threads within one operation; None on a GPU.

    Args:
        model: the model.
        batch_tokens: the most rows x time in a batch, padding included; None for the device's default.
        device: "auto" uses a GPU if TensorFlow finds one.
        threads: CPU threads within one operation; None for TensorFlow's default.

    Raises:
        BrokenWorkerError: there is no such device, or TensorFlow has already been used with other settings.
        ModelError: the weights can't be read.
    """

    name = "tensorflow"
    arithmetic = "float32"

    def __init__(
        self,
        model: ModelDirectory,
        *,
        batch_tokens: int | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        refuse_padding(model.config)
        if threads is not None:
            set_threads(threads)
        gpu = find_gpu(device)
        limits = _GPU if gpu else _CPU
        if batch_tokens is not None:
            limits = limits._replace(batch_tokens=batch_tokens)
        if limits.batch_tokens < CHUNK:
            raise BrokenWorkerError(
                f"batch_tokens is {batch_tokens}; it must be at least {CHUNK}, the length of a chunk"
            )
        config, weights = model.config, model.weights()
        self._computed_steps = 0  # of the present pool
        self._config = config
        self._limits = limits
        self._reads_backward = any(layer.direction != "forward" for layer in config.recurrent_layers)
        self._device = "/GPU:0" if gpu else "/CPU:0"
        self.threads = None if gpu else used_threads()
        with tf.device(self._device):
            self._stack = Stack(config, weights, cudnn=gpu is not None)
        self._columns = OutputSpec().columns(config)
        self._limits = limits._replace(row_counts=agreeing_row_counts(self._try, limits, config))
        fewest = self._limits.row_counts[0]
        # A longer row would be in a batch of fewer rows than those that agree, and might have other bits there.
        whole = max(CHUNK, *(time for time in TIMES if time * fewest <= self.batch_tokens))
        self._longest = whole if self._reads_backward else CHUNK
        batch_rows = min(fewest, max(1, self.batch_tokens // CHUNK))
        self._long_rows = LayerByLayer(config, self._stack, weights.get("embedding"), batch_rows)
        self.description = self._describe(gpu, device)

    @property
    def traces(self) -> int:
        """How many times TensorFlow has traced a function."""
        return self._stack.traces

    @property
    def batch_tokens(self) -> int:
        """The most rows x time in a batch. It is halved, for good, whenever memory runs out."""
        return self._limits.batch_tokens

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> PoolStats:
        """Fill outputs[i][j] with column j of shard i; see `worker.engines.engine.Engine`.

        Raises:
            TransientError: memory runs out even with a single row.
            RequestError: a row is too long for a model that reads backward; see `layer_by_layer.MOST_BYTES`.
        """
        self._computed_steps = 0
        store = RowStore(shards, outputs, columns, self._config.vector_dim, self._config.given_dim)
        order = np.argsort(-store.lengths, kind="stable")
        if self._reads_backward:
            long = np.count_nonzero(store.lengths[order] > self._longest)
            with tf.device(self._device):
                self._computed_steps += self._long_rows.compute(store, order[:long])
            order = order[long:]
        begun = 0
        begun_states = None
        if self._config.given_dim:
            begun_states = self._stack.begun_states(store.states[order[: np.count_nonzero(store.lengths[order])]])
        carried = Carried(columns, self._stack.first_states, begun=begun_states)
        # Rows are sorted by length, so those with tokens left are always the first ones of `order`.
        while len(order := order[: np.count_nonzero(store.lengths[order] > begun)]):
            carried = self._compute_chunk(store, order, begun, carried)
            begun += self._longest
        return PoolStats(int(store.lengths.sum()), self._computed_steps)

    def _compute_chunk(self, store: RowStore, order: NDArray[np.int64], begun: int, carried: Carried) -> Carried:
        """Compute the next `_longest` tokens, or those that are left, of rows sorted by descending length.

        Args:
            store: the pool.
            order: int64 (rows,), the rows that have tokens left.
            begun: how many tokens of each row are computed.
            carried: the states and unfinished pooled vectors of these rows.

        Returns:
            The states and unfinished pooled vectors of the rows that have tokens left, the first ones of `order`.
        """
        lengths = np.minimum(store.lengths[order] - begun, self._longest)
        going_on = int(np.count_nonzero(store.lengths[order] > begun + self._longest))
        after = Carried(store.columns, self._stack.first_states, going_on)
        batches = iter(plan(lengths, self._limits))
        while batch := next(batches, None):
            start, stop, shape = batch
            rows = order[start:stop]
            tokens = store.tokens(rows, begun, lengths[start:stop], shape)
            try:
                results, states = self._run(
                    tokens, lengths[start:stop], carried.states(start, stop, shape.rows), store.columns
                )
            except tf.errors.ResourceExhaustedError as error:
                self._halve(shape, error)
                batches = iter(plan(lengths, self._limits, start))
                continue
            for index, column in enumerate(store.columns):
                if column.per_token:
                    store.put_tokens(index, rows, begun, lengths[start:stop], results[index])
            pooled = carried.pooled(start, stop, results)
            after.keep(start, stop, states, pooled)
            carried.finish(store, rows[max(0, going_on - start) :], pooled)
            self._computed_steps += shape.rows * shape.time
        return after

    def _run(
        self,
        tokens: NDArray[np.int32] | NDArray[np.float32],
        lengths: NDArray[np.int64],
        states: list[NDArray[np.float32]],
        columns: tuple[VectorColumn, ...],
    ) -> tuple[list[NDArray[np.float32]], Any]:
        """Run one batch.

        Args:
            tokens: ids (batch, time), or vectors (batch, time, D).
            lengths: the lengths of its rows, without the empty rows at its end.
            states: for each state of the stack (batch, dim), before the first step.
            columns: what is computed.

        Returns:
            For each column (batch, time, width) or (batch, width); and the states after the last step, as tensors.
        """
        all_lengths = np.zeros(len(tokens), np.int32)
        all_lengths[: len(lengths)] = lengths
        with tf.device(self._device):
            results, after = self._stack.run(tf.constant(tokens), tf.constant(all_lengths), states, columns)
        return [result.numpy() for result in results], after

    def _try(self, tokens: NDArray[np.int32] | NDArray[np.float32]) -> NDArray[np.float32]:
        """The last layer's outputs (batch, time, width) of rows (batch, time) without padding."""
        rows, time = tokens.shape[:2]
        states = [np.tile(state, (rows, 1)) for state in self._stack.first_states]
        (results,), _ = self._run(tokens, np.full(rows, time), states, self._columns)
        return results

    def _halve(self, shape: Shape, error: Exception) -> None:
        if shape.rows == 1:
            raise TransientError(
                f"out of memory with one row of {shape.time} tokens and {self._config.describe_layers()}; free memory "
                "on the device, or use a smaller model"
            ) from error
        smaller = min(self._limits.batch_tokens, shape.rows * shape.time) // 2
        self._limits = self._limits._replace(batch_tokens=smaller)

    def _describe(self, gpu: str | None, device: Device) -> str:
        graph = self._stack.function(self._columns).get_concrete_function().graph
        on_cudnn = sum(operation.type == "CudnnRNNV3" for operation in graph.get_operations())
        passes = sum(len(layer.prefixes(0)) for layer in self._config.recurrent_layers)
        if on_cudnn:
            path = "cuDNN" if on_cudnn == passes else f"cuDNN in {on_cudnn} of {passes} passes, Keras's loop in others"
            reason = f"GPU {gpu}"
        elif gpu:
            path, reason = "Keras's loop, because cuDNN has no such layers", f"GPU {gpu}"
        else:
            path = "Keras's loop on the CPU"
            reason = "asked for" if device == "cpu" else "TensorFlow sees no GPU"
        counts = self._limits.row_counts
        size = f"batches of {counts[0]} to {counts[-1]} rows and up to {self.batch_tokens:,} padded tokens"
        return f"TensorFlow {tf.__version__}, {path} ({reason}), {self._config.describe_layers()}, {size}"
