"""The pool: the rows of all shards that a worker holds, which are computed together.

Whenever the engine is idle, it takes all waiting shards that store the same columns, up to a budget of tokens. So pools
grow under load, and an idle worker starts at once on the first shard that arrives. There is no timer. Where the budget
is too small for all, the jobs take turns (`worker.pool.waiting`).

It is one file because the engine's thread and the shutdown share one lock.
"""

# Over 150 lines: one class, whose threads share one lock.

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from unrolled.errors import BrokenWorkerError, counted, reason_of
from unrolled.telemetry.tracing import Spans
from unrolled.tokenization.ragged import runs
from worker.engines.engine import PoolStats
from worker.errors import GivenBackError
from worker.pool.isolation import compute_isolating, rows_of
from worker.pool.waiting import Waiting, WaitingShards

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.tokenization.ragged import Ragged
    from worker.engines.engine import Engine
    from worker.pool.buffers import Buffers
    from worker.runtime.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """The outputs of one shard, for use in a `with` block. After the block the pool uses the arrays for other shards.

    Attributes:
        outputs: for each column float32 (tokens or rows, width).
        failed: the indices of rows that the engine can't compute, each with its reason.
        seconds: the shard's share of the engine's time for its pool, by tokens.
        computed: its share of the steps that the engine computed.
    """

    outputs: list[NDArray[np.float32]]
    failed: dict[int, str]
    seconds: float
    computed: float
    _buffers: Buffers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Give the arrays back."""
        self._buffers.give(self.outputs)


class Pool:
    """One engine and the shards that are waiting for it. Many threads may call `compute` at once.

    Args:
        engine: the engine.
        buffers: the memory for outputs.
        metrics: counts every pool.
        pool_tokens: the most tokens in one call of the engine. A larger shard is computed alone, some of its rows at a
            time, and a longer row alone.
        spans: records what is computed, if spans are recorded.
    """

    def __init__(
        self, engine: Engine, buffers: Buffers, metrics: Metrics, pool_tokens: int, spans: Spans | None = None
    ) -> None:
        self._engine = engine
        self._buffers = buffers
        self._metrics = metrics
        self._pool_tokens = pool_tokens
        self._spans = spans or Spans()
        self._changed = threading.Condition()
        self._waiting = WaitingShards()
        self._computing: list[Future[Computed]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._busy_since: float | None = None
        self._busy_tokens = 0

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def compute(self, job: str, shard: Ragged, columns: tuple[VectorColumn, ...]) -> Computed:
        """Put a shard's rows into the pool and wait for their outputs.

        Args:
            job: names its job; jobs take turns.
            shard: rows of real tokens.
            columns: what is computed of them.

        Raises:
            GivenBackError: the pool was closed before the outputs were computed.
            BrokenWorkerError: the engine can't compute anything any more.
        """
        future: Future[Computed] = Future()
        with self._changed:
            if self._closed:
                raise GivenBackError
            self._waiting.add(Waiting(job, shard, columns, future, time.perf_counter(), self._spans.here()))
            self._changed.notify()
        return future.result()

    def close(self) -> None:
        """Give every shard back, also those that the engine is computing: it goes on, and its results are dropped."""
        with self._changed:
            self._closed = True
            futures = [waiting.future for waiting in self._waiting] + self._computing
            self._waiting.clear()
            self._changed.notify_all()
        for future in futures:
            _fail(future, GivenBackError())

    def give_back(self, job: str) -> int:
        """Give back the shards of a job that wait for the engine, and return their number; those in it go on."""
        with self._changed:
            given = self._waiting.remove_job(job)
        for waiting in given:
            _fail(waiting.future, GivenBackError())
        return len(given)

    def busy_seconds(self) -> float:
        """How long the engine has been computing its present pool; 0 if it is idle."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def busy_tokens(self) -> int:
        """The real tokens in the pool that the engine computes; 0 if it is idle."""
        return self._busy_tokens

    def _run(self) -> None:
        while batch := self._next():
            self._busy_tokens = sum(waiting.tokens for waiting in batch)
            self._busy_since = time.monotonic()
            try:
                self._compute(batch)
            except BaseException as error:  # noqa: BLE001 - every waiting thread must get it
                for waiting in batch:
                    _fail(waiting.future, error)
            finally:
                self._busy_since = None
                self._busy_tokens = 0
                with self._changed:
                    self._computing = []

    def _next(self) -> list[Waiting]:
        """Wait for shards; returns the one whose turn it is and those that join it, or nothing after `close`."""
        with self._changed:
            self._waiting.rest()
            self._changed.wait_for(lambda: self._closed or len(self._waiting) > 0)
            batch: list[Waiting] = []
            tokens = 0
            # A shard with other columns is computed when it is the first.
            while waiting := self._waiting.next(batch[0].columns if batch else None):
                if batch and tokens + waiting.tokens > self._pool_tokens:
                    break
                self._waiting.remove(waiting)
                batch.append(waiting)
                tokens += waiting.tokens
            self._computing = [waiting.future for waiting in batch]
            return batch

    def _compute(self, batch: list[Waiting]) -> None:
        columns = batch[0].columns
        shards = [waiting.shard for waiting in batch]
        outputs: list[list[NDArray[np.float32]]] = []
        began = time.perf_counter()
        try:
            for shard in shards:
                outputs.append(self._buffers.take(columns, shard.rows, shard.values.size))  # noqa: PERF401 - one may fail
            with self._spans.joint("compute", [waiting.span for waiting in batch], shards=len(batch)):
                failed, stats = self._fill(shards, outputs, columns)
        except BaseException:
            for arrays in outputs:  # the arrays that were taken before the failure
                self._buffers.give(arrays)
            raise
        rows = sum(shard.rows for shard in shards)
        seconds, waits = time.perf_counter() - began, [began - waiting.since for waiting in batch]
        self._metrics.computed(rows=rows, seconds=seconds, stats=stats, waits=waits)
        tokens = sum(shard.values.size for shard in shards)
        for waiting, arrays, reasons in zip(batch, outputs, failed, strict=True):
            share = waiting.tokens / tokens if tokens else 1 / len(batch)
            done = Computed(arrays, reasons, share * seconds, share * stats.computed, self._buffers)
            if not _settle(waiting.future, done):
                self._buffers.give(arrays)

    def _fill(
        self,
        shards: list[Ragged],
        outputs: list[list[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> tuple[list[dict[int, str]], PoolStats]:
        """Compute shards into their arrays.

        Returns:
            For each shard the indices of the rows that failed, with their reasons; and what it took.
        """
        try:
            if len(shards) == 1:
                return [{}], self._compute_in_runs(shards[0], outputs[0], columns)
            return [{} for _ in shards], self._engine.compute(shards, outputs, columns)
        except (BrokenWorkerError, GivenBackError):
            raise
        except Exception as error:
            size = counted(len(shards), "shard")
            log.warning(
                "the engine failed on a pool of %s; looking for the rows that it fails on: %s", size, reason_of(error)
            )
            log.debug("the engine's failure", exc_info=error)
        # Not in the handler, where the error still holds the frames that it came through, and their arrays.
        failed = compute_isolating(self._engine, shards, outputs, columns, self._pool_tokens, self._pause)
        tokens = sum(shard.values.size for shard in shards)
        return failed, PoolStats(tokens, computed=tokens)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._closed, seconds):
                raise GivenBackError

    def _compute_in_runs(
        self, shard: Ragged, outputs: list[NDArray[np.float32]], columns: tuple[VectorColumn, ...]
    ) -> PoolStats:
        """Compute a shard alone, a run of rows at a time, because an engine's own memory grows with the rows."""
        stats = PoolStats()
        for start, stop in runs(shard.offsets[1:], self._pool_tokens):
            if self._closed:
                raise GivenBackError
            arrays = rows_of(shard, outputs, columns, start, stop)
            stats += self._engine.compute([shard.take(start, stop)], [arrays], columns)
        return stats


def _settle(future: Future[Computed], result: Computed) -> bool:
    """Hand the result over; False if the shard was given back meanwhile."""
    try:
        future.set_result(result)
    except Exception:  # noqa: BLE001 - InvalidStateError: no thread is waiting for it
        return False
    return True


def _fail(future: Future[Computed], error: BaseException) -> None:
    try:
        future.set_exception(error)
    except Exception:  # noqa: BLE001 - InvalidStateError: the shard has its result
        log.debug("a shard had its result before the pool was closed")
