"""The assembly of a worker from its parts, without Celery."""

# Over 150 lines: the parts of one worker, and their start and end in order.

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from typing import TYPE_CHECKING

from unrolled.errors import BrokenWorkerError, BrokerAwayError, BrokerRefusesError, TransientError, counted
from unrolled.job.offer import SHORT, Offer
from unrolled.patience import Patience
from unrolled.queue.broker import AWAY, Broker
from unrolled.telemetry.server import MetricsServer
from unrolled.telemetry.tracing import start_tracing
from worker.engines.choice import choose_engine
from worker.errors import GivenBackError
from worker.pool.buffers import Buffers
from worker.pool.pool import Pool
from worker.runtime.heartbeat import Heartbeat
from worker.runtime.job_registry import Jobs
from worker.runtime.login import Login
from worker.runtime.shard_service import ShardService
from worker.runtime.telemetry.figures import Now, figures
from worker.runtime.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.model.directory import ModelDirectory
    from unrolled.queue.job_ledger import Send
    from unrolled.telemetry.family import Family
    from worker.engines.engine import Engine
    from worker.settings import Settings

log = logging.getLogger(__name__)


class Assembly:
    """A worker's parts from start to stop.

    Args:
        settings: the worker's settings, checked.
        model: the model that they name. It is opened once, so that queue, ledger and engine have the same model.
        send: sends one shard's message.
        stop_worker: asks the process to stop; called when it can't continue.
        make_engine: creates the engine.
        on_stopping: called when nothing on board is waited for any more; perhaps several times, in any thread.

    Raises:
        UnrolledError: the model or the engine can't be used, the broker refuses this worker, or figures can't be served
            where the settings say.
    """

    def __init__(
        self,
        settings: Settings,
        model: ModelDirectory,
        send: Send,
        stop_worker: Callable[[], None],
        make_engine: Callable[[Settings, ModelDirectory], Engine] = choose_engine,
        on_stopping: Callable[[], None] = lambda: None,
    ) -> None:
        # Over 40 lines: the parts of a worker are made in the order in which they need each other.
        broker = Broker(settings.broker)
        self.broken: BrokenWorkerError | None = None
        self.refused: BrokerRefusesError | None = None
        self._breaking = threading.Lock()
        self._stopping: threading.Timer | None = None
        self._asked_to_stop = False
        self._stop_worker = stop_worker
        self._on_stopping = on_stopping
        self._settings = settings
        engine = make_engine(settings, model)
        log.info("model %s, %s", model.fingerprint, engine.description)
        offer = Offer(model.fingerprint, engine.name, engine.arithmetic)  # type: ignore[arg-type]  # the settings are checked
        ledger = broker.ledger(settings.namespace, offer, settings.lease_seconds)
        self._metrics = metrics = Metrics()
        self._patience = Patience(log.warning, (TransientError, *AWAY), GivenBackError)
        self._spans = start_tracing(settings.tracing, "unrolled-worker")
        self._pool = Pool(engine, Buffers(settings.memory_budget), metrics, settings.pool_tokens, self._spans)
        holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        jobs = Jobs(settings, ledger, self._patience, send, holder)
        self.service = ShardService(
            holder,
            settings,
            ledger,
            model.config,
            jobs,
            self._pool,
            self._patience,
            metrics,
            send,
            self._on_broken,
            self._spans,
            engine.description,
        )
        about = {
            "engine": engine.name,
            "arithmetic": engine.arithmetic,
            "concurrency": settings.concurrency,
            "threads": getattr(engine, "threads", None),
            "lease_seconds": settings.lease_seconds,
        }
        login = Login(broker, settings.namespace)
        self._heartbeat = Heartbeat(
            settings, ledger, self.service, self._pool, metrics, self._patience, about, send, login, self._on_refused
        )
        self._labels = {
            "offer": ledger.offer.short,  # as in the figures of the queue
            "model": model.fingerprint[:SHORT],
            "engine": engine.name,
            "arithmetic": engine.arithmetic,
            # The engines that have kernels to choose from name theirs.
            "kernel": str(getattr(engine, "isa", engine.name)),
            "threads": str(getattr(engine, "threads", None) or ""),
        }
        try:
            login.check()
        except BrokerAwayError as error:
            log.warning("%s; trying again until it works", error)
        self._server: MetricsServer | None = None
        if settings.metrics_port is not None:
            self._server = MetricsServer(self.figures, settings.metrics_port, settings.metrics_address)
            log.info("figures for Prometheus: %s", self._server.url)

    def figures(self) -> Iterator[Family]:
        """This worker's figures now, as Prometheus gets them."""
        on_board, longest_seconds = self.service.board.load()
        now = Now(
            on_board,
            longest_seconds,
            self._pool.busy_seconds(),
            self.service.used_bytes,
            self._settings.memory_budget,
            len(self._heartbeat.troubles()),
        )
        yield from figures(self._labels, self._metrics.tallies(), now)

    def start(self) -> None:
        """Start the engine's thread and the heartbeat."""
        self._pool.start()
        self._heartbeat.start()

    def begin_stopping(self, **_: object) -> None:
        """Let shards on board finish within the grace period; at the second call give them back at once.

        Called in a signal handler, so it takes no lock: a timer's thread does the work.
        """
        asked, self._asked_to_stop = self._asked_to_stop, True  # at once: another signal may interrupt what follows
        grace = 0.0 if asked else self._settings.grace_seconds
        before = self._stopping
        # A limit of memory or of threads may leave no room for one: the one before it goes on, or `stop` does without.
        try:
            timer = threading.Timer(grace, self._stop_service)
            timer.daemon = True
            before, self._stopping = self._stopping, timer
            timer.start()
        except (RuntimeError, MemoryError):
            self._stopping, self._asked_to_stop = before, asked
        else:
            if asked and before:
                before.cancel()

    def stop(self) -> None:
        """Wait until nothing is on board, at most for the grace period, and end all threads."""
        if not self._stopping:
            self.begin_stopping()
        if not self._stopping:
            self._stop_service()
        elif held := len(self.service.board.held()):
            log.info(
                "stopping: %s on board may finish within %g s; a second signal gives back what is left at once",
                counted(held, "shard"),
                self._settings.grace_seconds,
            )
        self.service.board.wait_until_empty()
        # A signal may interrupt the cancelling: `begin_stopping` must find no timer that it would cancel, too.
        timer, self._stopping = self._stopping, None
        if timer:
            timer.cancel()
        self._stop_service()
        self._heartbeat.stop()
        if self._server:
            self._server.close()
        self._spans.close()

    @property
    def computing(self) -> bool:
        """Whether the engine still computes a pool whose shards were given back."""
        return self._pool.busy_seconds() > 0

    def _on_broken(self, error: BrokenWorkerError) -> None:
        with self._breaking:
            if self.broken is not None:
                return
            self.broken = error
        log.critical("this worker can't continue: %s; it gives its shards back", error)
        self._stop_service()
        self._stop_worker()

    def _on_refused(self, error: BrokerRefusesError) -> None:
        """End, as a worker does that is refused before it starts; what it has got meanwhile is given back."""
        self.refused = error
        log.critical("%s", error)
        self._stop_service()
        self._stop_worker()

    def _stop_service(self) -> None:
        self._on_stopping()
        self.service.stop()
