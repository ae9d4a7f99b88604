"""The Celery application of a worker: `celery -A worker.app worker` takes its settings from `UNROLLED_*` variables.

It is only glue: what is done with a shard is in `worker.runtime.shard_service`.
"""

# Over 150 lines: half of it is the configuration, in one table with its reasons.

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from celery import Celery, bootsteps, signals
from kombu import Queue  # type: ignore[attr-defined]  # kombu is untyped

from unrolled.errors import BrokenWorkerError, ModelError, UnrolledError
from unrolled.model.directory import open_model
from unrolled.process.allocator import share_arenas
from unrolled.queue.broker_url import celery_url
from unrolled.queue.messages import TASK, queue_name, transport_options
from worker.celery_guard import guard_signals, guard_transport
from worker.engines.choice import choose_engine, offer_of
from worker.runtime.assembly import Assembly
from worker.runtime.farewell import Farewell
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.model.directory import ModelDirectory
    from unrolled.queue.member import Member
    from worker.engines.engine import Engine

    MakeEngine = Callable[[Settings, ModelDirectory], Engine]

log = logging.getLogger(__name__)

#: Exit statuses of a worker, besides 0 and those of the command line: 75, because it can't use its engine or its
#: broker, or 70, because its engine broke. They are those of sysexits.h, and a part of `producer.cli.exit_status`.
EXIT_UNUSABLE, EXIT_BROKEN = os.EX_TEMPFAIL, os.EX_SOFTWARE
_AT_ONCE = 4096  # bytes, one for each signal


class WorkerApp(Celery):  # type: ignore[misc]  # Celery is untyped
    """Celery, and the parts of the worker.

    Attributes:
        settings: of this worker.
        model: that it serves.
        make_engine: makes the engine.
        assembly: the parts of the worker; None before it starts.
    """

    settings: Settings
    model: ModelDirectory
    make_engine: MakeEngine
    assembly: Assembly | None = None

    @property
    def ending(self) -> int:
        """The exit status of a worker that was stopped."""
        if self.assembly and self.assembly.broken:
            return EXIT_BROKEN
        return EXIT_UNUSABLE if self.assembly and self.assembly.refused else 0

    def send_hint(self, member: Member) -> None:
        """Send one shard's message."""
        self.send_task(TASK, member.encode())


def create_app(settings: Settings, make_engine: MakeEngine = choose_engine) -> WorkerApp:
    """A Celery application for one model.

    Args:
        settings: of this worker.
        make_engine: makes the engine, when the worker starts.

    Raises:
        ModelError: the model can't be used.
        BrokenWorkerError: no engine is installed.
    """
    model = open_model(settings.model)
    queue = queue_name(offer_of(settings, model))
    app = WorkerApp("unrolled", broker=celery_url(settings.broker), set_as_current=False)
    app.settings = settings
    app.model = model
    app.make_engine = make_engine
    app.conf.update(_configuration(settings, queue))
    app.steps["worker"].add(AssemblyStep)
    guard_transport()
    guard_signals()

    @app.task(name=TASK, typing=False, shared=False)  # type: ignore[untyped-decorator]  # Celery is untyped
    def shard(*values: object) -> str:
        if app.assembly is None:
            raise BrokenWorkerError("a message came before the worker had started")
        return app.assembly.service.handle(values)

    return app


def _configuration(settings: Settings, queue: str) -> dict[str, Any]:
    return {
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": queue,
        "task_queues": [Queue(queue)],  # type: ignore[no-untyped-call]  # kombu is untyped
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "task_publish_retry": True,
        "task_acks_late": True,
        "worker_pool": "threads",
        "worker_concurrency": settings.concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_consumer": "worker.celery_guard:GuardedConsumer",
        # Threads can't be cancelled, and their work is safe to repeat.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_eta_task_limit": 10,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis that has no memory, or can't write its log, answers with errors that pass.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            **transport_options(settings.namespace),
            "unacked_mutex_expire": 10,
            "socket_keepalive": True,
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "health_check_interval": 25,
        },
    }


class AssemblyStep(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery is untyped
    """Starts the parts before the consumer asks for messages, and stops them after it."""

    # Celery's pool of threads is stopped later: it would wait without limit for the shards on board.
    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Make and start the parts, or end the process with one clear line."""
        app: WorkerApp = parent.app
        share_arenas()
        try:
            app.assembly = Assembly(
                app.settings,
                app.model,
                app.send_hint,
                lambda: os.kill(os.getpid(), signal.SIGTERM),
                app.make_engine,
                Farewell(app.settings.broker, lambda: app.ending).begin,
            )
        except UnrolledError as error:
            log.critical("%s", error)
            sys.stderr.flush()
            # Of a model whose files changed a moment ago: 1, as of one that can't be used before.
            os._exit(1 if isinstance(error, ModelError) else EXIT_UNUSABLE)
        app.assembly.start()
        if parent.hub:
            _wake_at_signals(parent.hub)
        signals.worker_shutting_down.connect(app.assembly.begin_stopping, weak=False)

    def stop(self, parent: Any) -> None:
        """Let the shards on board finish, or give them back, and stop the parts."""
        app: WorkerApp = parent.app
        if app.assembly:
            app.assembly.stop()
        parent.exitcode = app.ending or parent.exitcode  # for Celery's own command line


def _wake_at_signals(hub: Any) -> None:
    """Have a signal end Celery's wait for a message, which otherwise lasts for up to a second before it stops."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.settimeout(0)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    hub.add_reader(woken, lambda: woken.recv(_AT_ONCE))
    hub.wakers = wake, woken  # kept open as long as the hub


def __getattr__(name: str) -> object:
    """Make `app` when `celery -A worker.app` asks for it, so that an import reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        app = create_app(Settings.from_environ())
    except (UnrolledError, ValueError) as error:
        raise SystemExit(f"Error: {error}") from error
    globals()["app"] = app
    return app
