"""The fused CPU engine: a trie of token prefixes over the pool, and one C++ kernel for the stack of layers.

No token is padded and no shared prefix is computed twice. A row's result is the same to the bit alone, in
any pool, in any order and on any number of threads; it depends on the instruction set.
"""

import ctypes
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError, RequestError
from unrolled.format.columns import VectorColumn
from unrolled.model.directory import ModelDirectory
from unrolled.ragged import Ragged
from worker.engines.engine import PoolStats
from worker.engines.fused import library
from worker.engines.fused.arrays import PoolArrays
from worker.engines.fused.cpus import usable_cpus
from worker.engines.fused.weights import Weights

__all__ = ["FusedEngine"]

# The first layer's input product is kept per token up to this size; above it is computed each time.
TABLE_BYTES = 256 << 20
# What a layer hands to one that reads the other way is kept for so many bytes of tokens at once: larger pools run in
# pieces. A row is one piece at least, however long.
VECTOR_BYTES = 256 << 20


class FusedEngine:
    """Computes pools on the CPU, without TensorFlow.

    Attributes:
        name: "fused".
        arithmetic: "float32", or "bfloat16" for weights, inputs and states entering products (sums and cell
            states stay float32).
        isa: the instruction set taken.
        threads: how many work on a pool.
        description: one line that tells which path was taken and why.
    """

    name = "fused"

    def __init__(self, model: ModelDirectory, arithmetic: str = "float32", threads: int | None = None) -> None:
        """Load and pack a model's weights.

        Args:
            model: where the weights are.
            arithmetic: "float32" or "bfloat16".
            threads: how many work on a pool; None for the processors that this process may use.

        Raises:
            BrokenWorkerError: the kernel was not built, or this machine can't run what UNROLLED_ISA forces.
            ModelError: the weights don't fit the configuration.
            MemoryError: the packed weights don't fit into memory.
        """
        if arithmetic not in ("float32", "bfloat16"):
            raise RequestError(f"arithmetic is {arithmetic!r}; the fused engine has float32 and bfloat16")
        if threads is not None and threads < 1:
            raise RequestError(f"threads is {threads}; at least 1 is needed, or leave it out for all processors")
        self._library = library.load()
        self.arithmetic = arithmetic
        self.threads = usable_cpus() if threads is None else threads
        self._layer_dims = model.config.layer_dims
        self._engine, has_table = self._pack(model)
        self._release = weakref.finalize(self, self._library.unrolled_engine_free, self._engine)
        self.isa, native = self._kernel()
        self.description = (
            f"fused engine: {self.isa}, {arithmetic}{'' if native else ' (emulated)'}, "
            f"{self.threads} thread{'s' if self.threads > 1 else ''}, {model.config.describe_layers()}, "
            f"first layer's input {'from a table' if has_table else 'computed'}"
        )

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> PoolStats:
        """Fill outputs[i][j] with column j of shard i; see `worker.engines.engine.Engine`.

        The interpreter lock is free meanwhile. One pool runs at a time; a second caller waits. A mean is the sum of
        a row's float32 states in float64, in the order in which its layer reads them, over their number.

        Raises:
            RequestError: an array has another type, shape or layout than it must, offsets are no offsets, a token
                is outside 1..vocab_size, or a column is none of this model's. Nothing has been computed then.
            MemoryError: the states of a level, or what a layer that reads both ways hands on, don't fit into memory.
        """
        pool = PoolArrays(shards, outputs, columns, self._layer_dims)
        stats, problem = library.PoolStats(), library.Problem()
        status = self._library.unrolled_engine_compute(
            self._engine,
            pool.shards,
            len(shards),
            pool.columns,
            len(columns),
            ctypes.byref(stats),
            ctypes.byref(problem),
        )
        _raise_for(status, problem)
        return PoolStats(stats.tokens, stats.nodes, stats.plan_seconds)

    def _kernel(self) -> tuple[str, bool]:
        """The instruction set taken, and whether it has the arithmetic's own arithmetic."""
        native, forced = ctypes.c_int32(), library.forced_isa()
        isa = self._library.unrolled_kernel_isa(forced, int(self.arithmetic == "bfloat16"), ctypes.byref(native))
        if isa is None:
            raise BrokenWorkerError(
                f"{library.ISA_VARIABLE} asks for {(forced or b'').decode()}, which this processor lacks "
                f"in {self.arithmetic}; allowed here: {', '.join(library.available_isas(self.arithmetic))}"
            )
        return isa.decode(), bool(native.value)

    def _pack(self, model: ModelDirectory) -> tuple[ctypes.c_void_p, bool]:
        """Hand the weights to the kernel, which copies them; whether it made a table of the first layer."""
        self._kernel()
        config, weights = model.config, Weights(model.config, model.weights())
        engine, has_table = ctypes.c_void_p(), ctypes.c_int32()
        status = self._library.unrolled_engine_new(
            library.forced_isa(),
            int(self.arithmetic == "bfloat16"),
            self.threads,
            TABLE_BYTES,
            VECTOR_BYTES,
            config.vocab_size,
            config.embedding_dim or 0,
            weights.embedding,
            len(config.layers),
            weights.layers,
            ctypes.byref(engine),
            ctypes.byref(has_table),
        )
        _raise_for(status, library.Problem())
        return engine, bool(has_table.value)


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
        case library.BAD_MODEL | library.BAD_COLUMNS:
            raise BrokenWorkerError(
                f"the fused engine and its kernel disagree (status {status}); reinstall the package"
            )
        case _:
            raise BrokenWorkerError(f"the fused engine failed (status {status}); no thread could be started")
