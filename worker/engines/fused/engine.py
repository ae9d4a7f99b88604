"""The fused CPU engine: a trie of the pool's token prefixes, and one C++ kernel for the stack of layers.

It adds no padding, and computes no shared prefix twice. A row has the same bits alone, in any pool, in any order
and on any number of threads. docs/engine.md explains how it works.

It is one file because it is the Python side of one C interface.
"""

# Over 150 lines: one class: how a pool goes through the layers.

import ctypes
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError, RequestError
from unrolled.format.columns import VectorColumn
from unrolled.model.directory import ModelDirectory
from unrolled.tokenization.ragged import Ragged
from worker.engines.cpus import threads_for
from worker.engines.engine import PoolStats
from worker.engines.fused import library
from worker.engines.fused.arrays import PoolArrays
from worker.engines.fused.weights import Weights
from worker.engines.padded import refuse_padding

__all__ = ["FusedEngine"]

# The first layer's input product is kept as a table of all token ids, if the table takes at most this many bytes.
TABLE_BYTES = 256 << 20
# The most memory for the vectors that a layer hands to one that reads in the other direction. Larger pools are computed
# in pieces; a piece is at least one row, however long.
VECTOR_BYTES = 256 << 20


class FusedEngine:
    """Computes pools on the CPU, without TensorFlow.

    Attributes:
        name: "fused".
        arithmetic: "float32"; or, for the weights, inputs and states that enter products, "bfloat16", or "bfloat16x3"
            with two bfloat16 pieces a number. Sums and cell states are float32.
        isa: the instruction set that is used.
        threads: the number of threads that work on a pool.
        description: one line that says which path was taken and why.
    """

    name = "fused"

    def __init__(self, model: ModelDirectory, arithmetic: str = "float32", threads: int | None = None) -> None:
        """Load and pack a model's weights.

        Args:
            model: the model.
            arithmetic: "float32", "bfloat16" or "bfloat16x3".
            threads: the number of threads; None for all processors that this process may use, or all cores with tiles.

        Raises:
            RequestError: the arithmetic or the number of threads is not allowed.
            BrokenWorkerError: the kernel was not built, or this machine can't run the instruction set in UNROLLED_ISA.
            ModelError: the weights don't fit the configuration.
            MemoryError: the packed weights don't fit into memory.
        """
        if arithmetic not in library.ARITHMETICS:
            raise RequestError(f"arithmetic is {arithmetic!r}; allowed: {', '.join(library.ARITHMETICS)}")
        if threads is not None and threads < 1:
            raise RequestError(f"threads is {threads}; give at least 1, or leave it out for all processors")
        refuse_padding(model.config)
        self._library = library.load()
        self.arithmetic = arithmetic
        self.isa = self._kernel()
        self.threads = threads_for(self.isa) if threads is None else threads
        self._layer_dims = model.config.layer_dims
        self._vector_dim, self._given_dim = model.config.vector_dim, model.config.given_dim
        self._engine, has_table = self._pack(model)
        self._release = weakref.finalize(self, self._library.unrolled_engine_free, self._engine)
        self.description = (
            f"fused engine: {self.isa}, {arithmetic}, "
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

        The interpreter lock is released during the computation. One pool is computed at a time; a second caller waits.
        A mean is the sum of a row's float32 states in float64, in the order in which the layer reads them, divided by
        their number.

        Raises:
            RequestError: an array has the wrong type, shape or layout, offsets are not in order, a token id is not in
                1..vocab_size or not the number of a vector, or the model doesn't have a column. Nothing has been
                computed.
            MemoryError: states, or vectors that layers hand to each other, don't fit into memory.
            BrokenWorkerError: the threads can't be started, or the kernel is of another version.
        """
        pool = PoolArrays(shards, outputs, columns, self._layer_dims, self._vector_dim, self._given_dim)
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

    def rate(self) -> float:
        """How fast a small model (two layers of 256 units) is computed now: operations of its products per second."""
        return library.rate(self.arithmetic, self.threads)

    def _kernel(self) -> str:
        """The instruction set that is used."""
        forced = library.forced_isa()
        isa = library.kernel_isa(forced, self.arithmetic)
        if isa is None:
            name = (forced or b"").decode()
            reason = f" ({library.why_no_tiles()})" if name == "amx" else ""
            raise BrokenWorkerError(
                f"{library.ISA_VARIABLE} is {name}, which this processor doesn't have for "
                f"{self.arithmetic}{reason}; allowed here: {', '.join(library.available_isas(self.arithmetic))}"
            )
        return isa

    def _pack(self, model: ModelDirectory) -> tuple[ctypes.c_void_p, bool]:
        """Hand the weights to the kernel, which copies them.

        Returns:
            The kernel's engine, and whether it made a table of the first layer's input product.
        """
        config, weights = model.config, Weights(model.config, model.weights())
        engine, has_table = ctypes.c_void_p(), ctypes.c_int32()
        status = self._library.unrolled_engine_new(
            library.forced_isa(),
            library.ARITHMETICS[self.arithmetic],
            self.threads,
            TABLE_BYTES,
            VECTOR_BYTES,
            config.vocab_size,
            config.vector_dim or config.embedding_dim or 0,
            weights.embedding,
            len(config.layers),
            weights.layers,
            ctypes.byref(engine),
            ctypes.byref(has_table),
        )
        _raise_for(status, library.Problem())
        return engine, bool(has_table.value)


def _raise_for(status: int, problem: library.Problem) -> None:
    """Raise the error that a status of the kernel means."""
    shard, position, value = problem.shard, problem.position, problem.value
    match status:
        case library.OK:
            return
        case library.OUT_OF_MEMORY:
            raise MemoryError("the fused engine's weights or states don't fit into memory; make the pools smaller")
        case library.BAD_OFFSETS:
            raise RequestError(
                f"shard {shard}: offset {position} is {value}; offsets must begin with 0, never fall, and end with the "
                "number of values"
            )
        case library.BAD_TOKEN:
            raise RequestError(f"shard {shard}: token {position} is {value}; allowed: 1 to vocab_size, no padding")
        case library.TOO_MANY_ROWS:
            raise RequestError(f"the pool has {value} rows; allowed: 2^32 - 2, make the pools smaller")
        case library.ROW_TOO_LONG:
            raise RequestError(f"shard {shard}: row {position} has {value} tokens; allowed: 2^31 - 1")
        case library.BAD_MODEL | library.BAD_COLUMNS:
            raise BrokenWorkerError(
                f"the fused engine and its kernel don't fit together (status {status}); reinstall the package"
            )
        case _:
            raise BrokenWorkerError(f"the fused engine failed (status {status}): its threads can't be started")
