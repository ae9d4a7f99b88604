"""The fused CPU engine: a trie of token prefixes over the pool, and one C++ kernel for the LSTM stack.

No token is padded and no shared prefix is computed twice. A row's result is the same to the bit alone, in
any pool, in any order and on any number of threads; it depends on the instruction set.
"""

import ctypes
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError, RequestError
from unrolled.model_directory import ModelConfig, ModelDirectory
from unrolled.ragged import Ragged
from worker.engines.fused import library
from worker.engines.fused.cpus import usable_cpus

__all__ = ["FusedEngine"]

# The first layer's input product is kept per token up to this size; above it is computed each time.
TABLE_BYTES = 256 << 20


class FusedEngine:
    """Computes pools on the CPU, without TensorFlow.

    Attributes:
        name: "fused".
        precision: "float32", or "bfloat16" for weights, inputs and states entering products (sums and cell
            states stay float32).
        units: width of one output vector.
        isa: the instruction set taken.
        threads: how many work on a pool.
        description: one line that tells which path was taken and why.
        stats: of the last pool: `tokens` in it, `nodes` (distinct prefixes) computed for them,
            `plan_seconds`, `compute_seconds`. Empty before the first.
    """

    name = "fused"

    def __init__(self, model: ModelDirectory, precision: str = "float32", threads: int | None = None) -> None:
        """Load and pack a model's weights.

        Args:
            model: where the weights are.
            precision: "float32" or "bfloat16".
            threads: how many work on a pool; None for the processors that this process may use.

        Raises:
            BrokenWorkerError: the kernel was not built, or this machine can't run what UNROLLED_ISA forces.
            ModelError: the weights don't fit the configuration.
            MemoryError: the packed weights don't fit into memory.
        """
        if precision not in ("float32", "bfloat16"):
            raise RequestError(f"precision is {precision!r}; the fused engine has float32 and bfloat16")
        if threads is not None and threads < 1:
            raise RequestError(f"threads is {threads}; at least 1 is needed, or leave it out for all processors")
        self._library = library.load()
        self.precision = precision
        self.units = model.config.num_lstm_units
        self.threads = usable_cpus() if threads is None else threads
        self.stats: dict[str, float] = {}
        self._engine, has_table = self._pack(model.config, model.weights())
        self._release = weakref.finalize(self, self._library.unrolled_engine_free, self._engine)
        self.isa, native = self._kernel()
        self.description = (
            f"fused engine: {self.isa}, {precision}{'' if native else ' (emulated)'}, "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}, "
            f"first layer's input {'from a table' if has_table else 'computed'}"
        )

    def compute(self, shards: Sequence[Ragged], outputs: Sequence[NDArray[np.float32]]) -> None:
        """Fill outputs[i], (tokens, units), with the last layer's state after each token of shards[i].

        The interpreter lock is free meanwhile. One pool runs at a time; a second caller waits.

        Raises:
            RequestError: an array has another type, shape or layout than it must, offsets are no offsets,
                or a token is outside 1..vocab_size. Nothing has been computed then.
            MemoryError: the states of a level don't fit into memory.
        """
        if len(shards) != len(outputs):
            raise RequestError(f"{len(shards)} shards have {len(outputs)} outputs; one each is needed")
        described = (library.Shard * len(shards))()
        for index, (shard, output) in enumerate(zip(shards, outputs, strict=True)):
            described[index] = _describe(index, shard, output, self.units)
        stats, problem = library.PoolStats(), library.Problem()
        status = self._library.unrolled_engine_compute(
            self._engine, described, len(shards), ctypes.byref(stats), ctypes.byref(problem)
        )
        _raise_for(status, problem)
        self.stats = {
            "tokens": stats.tokens,
            "nodes": stats.nodes,
            "plan_seconds": stats.plan_seconds,
            "compute_seconds": stats.compute_seconds,
        }

    def _kernel(self) -> tuple[str, bool]:
        """The instruction set taken, and whether it has the precision's own arithmetic."""
        native, forced = ctypes.c_int32(), library.forced_isa()
        isa = self._library.unrolled_kernel_isa(forced, int(self.precision == "bfloat16"), ctypes.byref(native))
        if isa is None:
            raise BrokenWorkerError(
                f"{library.ISA_VARIABLE} asks for {(forced or b'').decode()}, which this processor lacks "
                f"in {self.precision}; allowed here: {', '.join(library.available_isas(self.precision))}"
            )
        return isa.decode(), bool(native.value)

    def _pack(self, config: ModelConfig, weights: Mapping[str, NDArray[np.float32]]) -> tuple[ctypes.c_void_p, bool]:
        """Hand the weights to the kernel, which copies them; whether it made a table of the first layer."""
        self._kernel()
        kept = []  # the arrays must outlive the call

        def address(name: str) -> int:
            array = np.ascontiguousarray(weights[name], np.float32)
            kept.append(array)
            return array.ctypes.data

        layers = (library.LayerWeights * config.num_lstm_layers)()
        for index in range(config.num_lstm_layers):
            layers[index] = library.LayerWeights(
                config.num_lstm_units if index else config.embedding_dim,
                config.num_lstm_units,
                address(f"lstm.{index}.kernel"),
                address(f"lstm.{index}.recurrent_kernel"),
                address(f"lstm.{index}.bias"),
            )
        engine, has_table = ctypes.c_void_p(), ctypes.c_int32()
        status = self._library.unrolled_engine_new(
            library.forced_isa(),
            int(self.precision == "bfloat16"),
            self.threads,
            TABLE_BYTES,
            config.vocab_size,
            config.embedding_dim,
            address("embedding"),
            len(layers),
            layers,
            ctypes.byref(engine),
            ctypes.byref(has_table),
        )
        _raise_for(status, library.Problem())
        return engine, bool(has_table.value)


def _describe(index: int, shard: Ragged, output: NDArray[np.float32], units: int) -> library.Shard:
    """A shard's addresses, after a check of everything that the kernel takes on trust."""
    values, offsets = shard
    for name, array, dtype, shape in (
        ("values", values, np.int32, (len(values),)),
        ("offsets", offsets, np.int64, (max(len(offsets), 1),)),
        ("outputs", output, np.float32, (len(values), units)),
    ):
        if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
            layout = "" if array.flags.c_contiguous else ", not contiguous"
            raise RequestError(
                f"shard {index}: {name} is {array.dtype} {array.shape}{layout}; "
                f"{np.dtype(dtype)} {shape}, contiguous, is needed"
            )
    if not output.flags.writeable:
        raise RequestError(f"shard {index}: outputs is read-only; pass an array that can be written")
    return library.Shard(values.ctypes.data, offsets.ctypes.data, len(offsets) - 1, len(values), output.ctypes.data)


def _raise_for(status: int, problem: library.Problem) -> None:
    """Turn a status of the kernel's into an error."""
    shard, position, value = problem.shard, problem.position, problem.value
    match status:
        case library.OK:
            return
        case library.OUT_OF_MEMORY:
            raise MemoryError("the fused engine's weights or states don't fit into memory; use smaller pools")
        case library.BAD_OFFSETS:
            raise RequestError(
                f"shard {shard}: offset {position} is {value}; offsets must begin at 0, never fall, "
                "and end at the number of values"
            )
        case library.BAD_TOKEN:
            raise RequestError(f"shard {shard}: token {position} is {value}; ids are 1..vocab_size, without padding")
        case library.TOO_MANY_ROWS:
            raise RequestError(f"the pool has {value} rows; at most 2^32 - 2 fit, use smaller pools")
        case library.ROW_TOO_LONG:
            raise RequestError(f"shard {shard}: row {position} has {value} tokens; at most 2^31 - 1 fit")
        case _:
            raise BrokenWorkerError(f"the fused engine failed (status {status}); no thread could be started")
