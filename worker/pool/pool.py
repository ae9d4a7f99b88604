"""The pool: the rows of all the shards that wait while the engine is busy, computed together.

The engine starts whenever it is idle and takes everything that waits for the same columns, up to a budget of tokens:
under load the pools grow, and an idle worker answers as fast as one shard allows. There is no timer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from unrolled.errors import BrokenWorkerError
from unrolled.ragged import runs
from worker.engines.engine import PoolStats
from worker.errors import GivenBackError
from worker.pool.isolation import compute_isolating, rows_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.ragged import Ragged
    from worker.engines.engine import Engine
    from worker.pool.buffers import Buffers
    from worker.runtime.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What comes out of the pool for one shard, lent to a `with` block: after it the pool uses the arrays again.

    Attributes:
        outputs: for each column float32 (tokens or rows, width).
        failed: row index → reason, for rows that the engine can't compute.
    """

    outputs: list[NDArray[np.float32]]
    failed: dict[int, str]
    _buffers: Buffers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the arrays back."""
        self._buffers.give(self.outputs)


class _Waiting(NamedTuple):
    """A shard that waits for the engine."""

    shard: Ragged
    columns: tuple[VectorColumn, ...]
    future: Future[Computed]


class Pool:
    """One engine and the shards that wait for it; `compute` may be called from many threads.

    Args:
        engine: what computes.
        buffers: where outputs are put.
        metrics: told of every pool.
        pool_tokens: most tokens in one go. A larger shard goes alone, some of its rows at a time; a larger row alone.
    """

    def __init__(self, engine: Engine, buffers: Buffers, metrics: Metrics, pool_tokens: int) -> None:
        self._engine = engine
        self._buffers = buffers
        self._metrics = metrics
        self._pool_tokens = pool_tokens
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._computing: list[Future[Computed]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._busy_since: float | None = None

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def compute(self, shard: Ragged, columns: tuple[VectorColumn, ...]) -> Computed:
        """Put a shard's rows into the pool and wait for their outputs.

        Args:
            shard: rows of real tokens.
            columns: what is computed of them.

        Raises:
            GivenBackError: the pool was closed before the outputs were there.
            BrokenWorkerError: the engine can't compute anything any more.
        """
        future: Future[Computed] = Future()
        with self._changed:
            if self._closed:
                raise GivenBackError
            self._waiting.append(_Waiting(shard, columns, future))
            self._changed.notify()
        return future.result()

    def close(self) -> None:
        """Send every waiting shard back; what the engine is computing just now is dropped when it is done."""
        with self._changed:
            self._closed = True
            futures = [waiting.future for waiting in self._waiting] + self._computing
            self._waiting.clear()
            self._changed.notify_all()
        for future in futures:
            _fail(future, GivenBackError())

    def busy_seconds(self) -> float:
        """How long the engine has been at its present pool; 0 when it is idle."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def _run(self) -> None:
        while batch := self._next():
            self._busy_since = time.monotonic()
            try:
                self._compute(batch)
            except BaseException as error:  # noqa: BLE001 - every waiting thread must be told
                for waiting in batch:
                    _fail(waiting.future, error)
            finally:
                self._busy_since = None
                with self._changed:
                    self._computing = []

    def _next(self) -> list[_Waiting]:
        """What is computed next: the shard that waits longest, and those that go with it; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._waiting))
            batch: list[_Waiting] = []
            others: list[_Waiting] = []
            tokens = 0
            while self._waiting:
                waiting = self._waiting.popleft()
                # Shards of jobs that store other things stay where they are: their turn comes when they are first.
                if batch and waiting.columns != batch[0].columns:
                    others.append(waiting)
                    continue
                if batch and tokens + waiting.shard.values.size > self._pool_tokens:
                    self._waiting.appendleft(waiting)
                    break
                batch.append(waiting)
                tokens += waiting.shard.values.size
            self._waiting.extendleft(reversed(others))
            self._computing = [waiting.future for waiting in batch]
            return batch

    def _compute(self, batch: list[_Waiting]) -> None:
        columns = batch[0].columns
        shards = [waiting.shard for waiting in batch]
        outputs: list[list[NDArray[np.float32]]] = []
        began = time.perf_counter()
        try:
            for shard in shards:
                outputs.append(self._buffers.take(columns, shard.rows, shard.values.size))  # noqa: PERF401 - one may fail
            failed, stats = self._fill(shards, outputs, columns)
        except BaseException:
            for arrays in outputs:  # those that were taken before it went wrong
                self._buffers.give(arrays)
            raise
        rows = sum(shard.rows for shard in shards)
        self._metrics.computed(rows=rows, seconds=time.perf_counter() - began, stats=stats)
        for waiting, arrays, reasons in zip(batch, outputs, failed, strict=True):
            if not _settle(waiting.future, Computed(arrays, reasons, self._buffers)):
                self._buffers.give(arrays)

    def _fill(
        self,
        shards: list[Ragged],
        outputs: list[list[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> tuple[list[dict[int, str]], PoolStats]:
        """Compute shards into their arrays; returns each shard's failed rows with their reasons, and what it took."""
        try:
            if len(shards) == 1:
                return [{}], self._compute_in_runs(shards[0], outputs[0], columns)
            return [{} for _ in shards], self._engine.compute(shards, outputs, columns)
        except (BrokenWorkerError, GivenBackError):
            raise
        except Exception as error:
            log.warning("the engine failed on a pool of %d shard(s), looking for the rows: %r", len(shards), error)
            log.debug("the engine's failure", exc_info=error)
        # Not in the handler: the error holds the frames it came through, and their arrays.
        all_runs = [self._runs(shard) for shard in shards]
        failed = compute_isolating(self._engine, shards, outputs, columns, all_runs, self._pause)
        tokens = sum(shard.values.size for shard in shards)
        return failed, PoolStats(tokens, computed=tokens)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, seconds):
                raise GivenBackError

    def _compute_in_runs(
        self, shard: Ragged, outputs: list[NDArray[np.float32]], columns: tuple[VectorColumn, ...]
    ) -> PoolStats:
        """Compute a shard that goes alone, a run of rows at a time."""
        stats = PoolStats()
        for start, stop in self._runs(shard):
            if self._closed:
                raise GivenBackError
            arrays = rows_of(shard, outputs, columns, start, stop)
            stats += self._engine.compute([shard.take(start, stop)], [arrays], columns)
        return stats

    def _runs(self, shard: Ragged) -> list[tuple[int, int]]:
        """Runs of rows that are computed in one call, because an engine's own memory grows with the rows."""
        return runs(shard.offsets[1:], self._pool_tokens)


def _settle(future: Future[Computed], result: Computed) -> bool:
    """Hand the result over, unless the future was given back meanwhile."""
    try:
        future.set_result(result)
    except Exception:  # noqa: BLE001 - InvalidStateError: nobody waits any more
        return False
    return True


def _fail(future: Future[Computed], error: BaseException) -> None:
    try:
        future.set_exception(error)
    except Exception:  # noqa: BLE001 - InvalidStateError: it has its result
        log.debug("a shard had its result before the pool was closed")
