"""The pool: the rows of all the shards that wait while the engine is busy, computed together.

The engine starts whenever it is idle and takes everything that waits, up to a budget of tokens: under load the pools
grow, and an idle worker answers as fast as one shard allows. There is no timer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unrolled.errors import BrokenWorkerError
from worker.errors import GivenBackError
from worker.isolation import compute_isolating

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unrolled.ragged import Ragged
    from worker.buffers import Buffers
    from worker.engines import Engine
    from worker.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What comes out of the pool for one shard.

    Attributes:
        outputs: float32 (tokens, units); the caller returns it to the buffers when it is written.
        failed: row index → reason, for rows that the engine can't compute.
    """

    outputs: NDArray[np.float32]
    failed: dict[int, str] = field(default_factory=dict)


class Pool:
    """One engine and the shards that wait for it; `compute` may be called from many threads.

    Args:
        engine: what computes.
        buffers: where outputs are put.
        metrics: told of every pool.
        pool_tokens: most tokens in one go; a single larger shard still goes, alone.
    """

    def __init__(self, engine: Engine, buffers: Buffers, metrics: Metrics, pool_tokens: int) -> None:
        self._engine = engine
        self._buffers = buffers
        self._metrics = metrics
        self._pool_tokens = pool_tokens
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Ragged, Future[Computed]]] = deque()
        self._computing: list[Future[Computed]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._busy_since: float | None = None

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def compute(self, shard: Ragged) -> Computed:
        """Put a shard's rows into the pool and wait for their outputs.

        Args:
            shard: rows of real tokens.

        Raises:
            GivenBackError: the pool was closed before the outputs were there.
            BrokenWorkerError: the engine can't compute anything any more.
        """
        future: Future[Computed] = Future()
        with self._changed:
            if self._closed:
                raise GivenBackError
            self._waiting.append((shard, future))
            self._changed.notify()
        return future.result()

    def close(self) -> None:
        """Send every waiting shard back; what the engine is computing just now is dropped when it is done."""
        with self._changed:
            self._closed = True
            futures = [future for _, future in self._waiting] + self._computing
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
                for _, future in batch:
                    _fail(future, error)
            finally:
                self._busy_since = None
                with self._changed:
                    self._computing = []

    def _next(self) -> list[tuple[Ragged, Future[Computed]]]:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._waiting))
            batch: list[tuple[Ragged, Future[Computed]]] = []
            tokens = 0
            while self._waiting and not (batch and tokens + self._waiting[0][0].values.size > self._pool_tokens):
                batch.append(self._waiting.popleft())
                tokens += batch[-1][0].values.size
            self._computing = [future for _, future in batch]
            return batch

    def _compute(self, batch: list[tuple[Ragged, Future[Computed]]]) -> None:
        shards = [shard for shard, _ in batch]
        outputs = [self._buffers.take(shard.values.size) for shard in shards]
        failed: list[dict[int, str]] = [{} for _ in shards]
        began = time.perf_counter()
        try:
            self._engine.compute(shards, outputs)
        except BrokenWorkerError:
            raise
        except Exception as error:
            log.warning("the engine failed on a pool of %d shard(s), looking for the rows: %r", len(shards), error)
            log.debug("the engine's failure", exc_info=error)
            failed = [compute_isolating(self._engine, *pair) for pair in zip(shards, outputs, strict=True)]
        self._metrics.computed(
            rows=sum(shard.rows for shard in shards),
            tokens=sum(shard.values.size for shard in shards),
            seconds=time.perf_counter() - began,
        )
        for (_, future), array, reasons in zip(batch, outputs, failed, strict=True):
            if not _settle(future, Computed(array, reasons)):
                self._buffers.give(array)


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
