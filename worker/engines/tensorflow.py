"""The TensorFlow engine: cuDNN where there is a GPU, Keras's own loop where there is none.

A stack of `keras.layers.LSTM` runs in one traced function of unknown batch and time, so it is traced once
whatever the rows. There is no mask (see `buckets`), so there is no masked row that cuDNN could refuse.

How far "a row's result depends on the row and the model alone" holds: matrix products on a CPU may sum in
another order when a batch has another number of rows (seen: with oneDNN from 1,024 units on, and with AVX2
at any size), though never at another place in a batch. So the engine tries its numbers of rows at start, and
keeps to a family that agrees to the last bit; from then on a row has the same bits in any company, order and
chunks. Beyond the 1e-5 that is promised in all cases this is not TensorFlow's word, but what was seen. It may
not hold on a GPU, where cuDNN may choose by time steps too, nor after an out-of-memory has forced other
numbers of rows.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal

# 2: start-up chatter about the CPU and absent GPUs says nothing to a user; errors still come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError, TransientError
from unrolled.model_directory import ModelDirectory
from unrolled.ragged import Ragged
from worker.engines.buckets import CHUNK, FEWEST_ROWS, ROW_COUNTS, Limits, Shape, plan, total_cost
from worker.engines.padding import RowStore

Device = Literal["auto", "cpu", "gpu"]


# Measured at 128 to 512 units: throughput grows little beyond 512 rows; a step's overhead is worth some 24.
# 16,384 tokens at 512 units are 32 MB a layer. The GPU's figures are estimates: cuDNN wants larger batches.
_CPU_ROWS = 512
_CPU = Limits(16_384, row_counts=tuple(n for n in ROW_COUNTS if n <= _CPU_ROWS), step_cost=24)
_GPU = Limits(131_072, row_counts=ROW_COUNTS, step_cost=256)


class TensorFlowEngine:
    """Computes pools of rows with Keras's LSTM layers; one thread at a time may call it.

    Attributes:
        name: "tensorflow".
        precision: "float32"; TF32 is off, on a GPU too.
        units: width of an output vector.
        description: the path taken, and why.
        real_steps: tokens computed so far.
        padded_steps: the same with padding and fillers; 1 - real_steps / padded_steps is padding's share.

    Args:
        model: the weights.
        batch_tokens: None for the device's default.
        device: "auto" takes a GPU where TensorFlow sees one.
        threads: CPU threads within one operation; None leaves it to TensorFlow.

    Raises:
        BrokenWorkerError: the device is not there, or TensorFlow is running already with other settings.
        ModelError: the weights can't be read.
    """

    name = "tensorflow"
    precision = "float32"

    def __init__(
        self,
        model: ModelDirectory,
        *,
        batch_tokens: int | None = None,
        device: Device = "auto",
        threads: int | None = None,
    ) -> None:
        if threads is not None:
            _set_threads(threads)
        gpu = _find_gpu(device)
        limits = _GPU if gpu else _CPU
        if batch_tokens is not None:
            limits = limits._replace(batch_tokens=batch_tokens)
        if limits.batch_tokens < CHUNK:
            raise BrokenWorkerError(
                f"batch_tokens is {batch_tokens}, and must be at least {CHUNK}, one row's chunk; raise it"
            )
        self.units = model.config.num_lstm_units
        self.real_steps = 0
        self.padded_steps = 0
        self._limits = limits
        self._layers = model.config.num_lstm_layers
        self._vocab_size = model.config.vocab_size
        self._device = "/GPU:0" if gpu else "/CPU:0"
        with tf.device(self._device):
            self._stack = _traced_stack(model, cudnn=gpu is not None)
        self._limits = limits._replace(row_counts=self._agreeing_row_counts(limits))
        self.description = self._describe(gpu, device)

    @property
    def traces(self) -> int:
        """How often TensorFlow has traced the function."""
        return int(self._stack.experimental_get_tracing_count())

    @property
    def batch_tokens(self) -> int:
        """Rows x time of the largest batch; halved, for good, whenever memory runs out."""
        return self._limits.batch_tokens

    def compute(self, shards: Sequence[Ragged], outputs: Sequence[NDArray[np.float32]]) -> None:
        """Fill in the state after every token; see `worker.engines.Engine`.

        Raises:
            TransientError: memory runs out even for a single row.
        """
        store = RowStore(shards, outputs)
        order = np.argsort(-store.lengths, kind="stable")
        begun = 0
        states: NDArray[np.float32] | None = None
        # Rows longer than a chunk come first, so those that go on are always the first few of `order`.
        while len(order := order[: np.count_nonzero(store.lengths[order] > begun)]):
            states = self._compute_chunk(store, order, begun, states)
            begun += CHUNK

    def _compute_chunk(
        self, store: RowStore, order: NDArray[np.int64], begun: int, states: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Compute the next CHUNK tokens, or what is left, of rows sorted by falling length.

        Args:
            store: the pool.
            order: int64 (rows,), the rows that have tokens left.
            begun: how many tokens of each are done.
            states: float32 (layers, 2, rows, units), h and c after those; None for zeros.

        Returns:
            The same of the rows that go on after this chunk: float32 (layers, 2, rows that go on, units).
        """
        lengths = np.minimum(store.lengths[order] - begun, CHUNK)
        going_on = int(np.count_nonzero(store.lengths[order] > begun + CHUNK))
        carried = np.empty((self._layers, 2, going_on, self.units), np.float32)
        batches = iter(plan(lengths, self._limits))
        while batch := next(batches, None):
            start, stop, shape = batch
            rows = order[start:stop]
            tokens = store.tokens(rows, begun, lengths[start:stop], shape)
            before = None if states is None else states[:, :, start:stop]
            try:
                results, after = self._run(tokens, before)
            except tf.errors.ResourceExhaustedError as error:
                self._halve(shape, error)
                batches = iter(plan(lengths, self._limits, start))
                continue
            store.store(rows, begun, lengths[start:stop], results)
            if start < going_on:
                last = min(stop, going_on)
                carried[:, :, start:last] = after[:, :, : last - start]
            self.real_steps += int(lengths[start:stop].sum())
            self.padded_steps += tokens.size
        return carried

    def _run(self, tokens: NDArray[np.int32], states: NDArray[np.float32] | None) -> tuple[NDArray[np.float32], Any]:
        """Run one batch.

        Args:
            tokens: (batch, time).
            states: (layers, 2, batch or fewer, units); None, and rows beyond its last, begin at zero.

        Returns:
            (batch, time, units), and a tensor (layers, 2, batch, units).
        """
        rows = len(tokens)
        with tf.device(self._device):
            if states is None:
                before = tf.zeros((self._layers, 2, rows, self.units))
            else:
                before = tf.pad(states, ((0, 0), (0, 0), (0, rows - states.shape[2]), (0, 0)))
            results, after = self._stack(tf.constant(tokens), before)
        return results.numpy(), after

    def _agreeing_row_counts(self, limits: Limits) -> tuple[int, ...]:
        """The numbers of rows that give one row the same bits; of several such families the cheapest."""
        random = np.random.default_rng(0)
        tokens = random.integers(1, self._vocab_size + 1, (FEWEST_ROWS, 3), np.int32)
        families: dict[bytes, list[int]] = {}
        for rows in limits.row_counts:
            repeats = rows // FEWEST_ROWS
            try:
                results, _ = self._run(np.tile(tokens, (repeats, 1)), None)
            except tf.errors.ResourceExhaustedError:
                break  # and so would every larger number be
            places = results.reshape(repeats, -1)
            if (places == places[0]).all():
                families.setdefault(places[0].tobytes(), []).append(rows)
        candidates = [limits._replace(row_counts=tuple(family)) for family in families.values()]
        # Rows whose lengths fall evenly stand for any pool: few sizes cost padding, small ones overhead.
        lengths = np.linspace(CHUNK, 1, 5_000).astype(np.int64)
        cheapest = min(candidates, key=lambda each: total_cost(plan(lengths, each), each), default=limits)
        return cheapest.row_counts

    def _halve(self, shape: Shape, error: Exception) -> None:
        if shape.rows == 1:
            raise TransientError(
                f"out of memory with one row of {shape.time} tokens at {self.units} units; free "
                "memory on the device, or use a smaller model"
            ) from error
        smaller = min(self._limits.batch_tokens, shape.rows * shape.time) // 2
        self._limits = self._limits._replace(batch_tokens=smaller)

    def _describe(self, gpu: str | None, device: Device) -> str:
        operations = {operation.type for operation in self._stack.get_concrete_function().graph.get_operations()}
        if "CudnnRNNV3" in operations:
            path, reason = "cuDNN", f"GPU {gpu}"
        else:
            path = "Keras's loop on the CPU"
            reason = "asked for" if device == "cpu" else "TensorFlow sees no GPU"
        counts = self._limits.row_counts
        size = f"batches of {counts[0]} to {counts[-1]} rows and up to {self.batch_tokens:,} padded tokens"
        return f"TensorFlow {tf.__version__}, {path} ({reason}), {size}"


def _traced_stack(model: ModelDirectory, *, cudnn: bool) -> Any:
    """One traced function: ids and the layers' states in, outputs and the states after the last step out."""
    config, weights = model.config, model.weights()
    units, depth = config.num_lstm_units, config.num_lstm_layers
    embedding = tf.constant(weights["embedding"])  # (vocab_size + 1, embedding_dim)
    layers = []
    for number in range(depth):
        # True, not "auto": a GPU that can't run cuDNN is an error here, not a silent crawl.
        layer = tf.keras.layers.LSTM(units, return_sequences=True, return_state=True, use_cudnn=cudnn)
        layer.build((None, None, units if number else config.embedding_dim))
        parts = ("kernel", "recurrent_kernel", "bias")
        layer.set_weights([weights[f"lstm.{number}.{part}"] for part in parts])
        layers.append(layer)

    # Unknown batch and time: one trace serves every shape.
    @tf.function(  # type: ignore[untyped-decorator]  # TensorFlow has no types
        input_signature=[
            tf.TensorSpec((None, None), tf.int32),
            tf.TensorSpec((depth, 2, None, units), tf.float32),
        ]
    )
    def stack(tokens: Any, states: Any) -> Any:
        sequence = tf.gather(embedding, tokens)  # (batch, time, embedding_dim)
        after = []
        for number, layer in enumerate(layers):
            before = [states[number, 0], states[number, 1]]  # h, c: (batch, units)
            sequence, *state = layer(sequence, initial_state=before)  # (batch, time, units)
            after.append(tf.stack(state))
        return sequence, tf.stack(after)

    return stack


def _find_gpu(device: Device) -> str | None:
    """The first GPU's name, set up for sharing, or None to stay on the CPU."""
    if device == "cpu":
        return None
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        if device == "gpu":
            raise BrokenWorkerError(
                "a GPU is asked for and TensorFlow sees none; check the driver and CUDA_VISIBLE_DEVICES, "
                "install tensorflow[and-cuda], or choose the device auto or cpu"
            )
        return None
    # cuDNN would round float32 to TF32's 10 bits, far from the 1e-5 that is promised.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
    try:
        for gpu in gpus:
            # Two workers can share a GPU only if neither takes all of its memory at start.
            tf.config.experimental.set_memory_growth(gpu, enable=True)
    except RuntimeError as error:
        raise BrokenWorkerError(
            f"TensorFlow began before its GPU memory could be set to grow ({error}); make the engine before "
            "anything else uses TensorFlow in this process"
        ) from error
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", gpus[0].name))


def _set_threads(threads: int) -> None:
    if threads < 1:
        raise BrokenWorkerError(f"threads is {threads}; give a whole number from 1 up, or none")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise BrokenWorkerError(
            f"threads={threads} comes too late, TensorFlow runs already with "
            f"{tf.config.threading.get_intra_op_parallelism_threads()} (0: as many as cores); set it "
            "before anything else uses TensorFlow in this process"
        ) from error
