"""A whole job on one machine: broker, workers, queueing and waiting, and an orderly end of all."""

# Over 150 lines: the parts of one run, and how a person or a failure ends them.

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from producer.enqueue.submission import Submission, prepare
from producer.local.broker import EmbeddedBroker
from producer.local.broker_record import check_alone, recorded, tell_beside_run
from producer.local.deaths import Deaths, settled_in
from producer.local.engine import substitute
from producer.local.stopping import shards_at_work, tell_what_is_left
from producer.local.workers import Workers
from producer.terminal.lines import tell
from producer.terminal.signals import Terminated, echoes, terminable
from unrolled.errors import ModelError, UnrolledError
from unrolled.job import names
from unrolled.model.directory import open_model
from unrolled.settings.worker_options import WorkerOptions
from unrolled.store.posix import PosixStore
from unrolled.telemetry.json_log import note

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from producer.enqueue.summary import Summary
    from producer.jobs.status import JobStatus
    from producer.terminal.figures import ProducerFigures
    from unrolled.model.directory import ModelDirectory
    from unrolled.protocol.opening import OpenJob

#: Folder for the workers' logs, beside the job's objects.
LOGS = f"{names.FOLDER}/logs"

_STOPPING = "Stopping: the workers finish the shards that they compute, for up to {:g} seconds."


def run_job(
    submission: Submission,
    broker: str | None,
    namespace: str,
    max_queued_tokens: int | None,
    workers: int,
    environment: Mapping[str, str],
    priority: int | None = None,
    figures: ProducerFigures | None = None,
    is_substitute: bool = False,
) -> tuple[Summary, JobStatus]:
    """Do a job from its inputs to its last published file.

    Args:
        submission: what is asked for.
        broker: Redis URL; None for a server of our own that ends with the job.
        namespace: prefix of every key.
        max_queued_tokens: token ids that may wait or be computed at once.
        workers: worker processes to start.
        environment: their settings, as `UNROLLED_*` variables. If they name a port for metrics, it is this process's
            own, and the workers take the next ones.
        priority: the job's share of the workers, where the broker has other jobs too.
        figures: receive how far the job is.
        is_substitute: whether TensorFlow computes for lack of the fused engine, which is said.

    Returns:
        What was queued, and the job's status at the end.

    Raises:
        UnrolledError: something can't be used, or the workers don't run; the same call goes on from there.
    """
    # Over 40 lines: what is started in order, so that it ends in the reverse order.
    prepared = prepare(submission, check_broker=partial(_refuse_login, broker))
    job = prepared.job
    note(job=job.key)
    if broker is None:
        check_alone(job)
    else:
        tell_beside_run(job.place, broker)
    if is_substitute:
        tell(substitute())
    with ExitStack() as stack:
        stack.push(lambda kind, *_: _sweep_if_discarded(job) if kind else None)
        stack.enter_context(terminable())
        own = stack.enter_context(EmbeddedBroker()) if broker is None else None
        url = own.url if own else str(broker)
        if own:
            stack.enter_context(recorded(url, job))
        settings = {
            **environment,
            "UNROLLED_BROKER": url,
            "UNROLLED_NAMESPACE": namespace,
            "UNROLLED_MODEL": str(prepared.model.path),  # of one in a bucket, the copy that this job is made for
        }
        stack.enter_context(_interruptible())
        attempts = int(environment.get("UNROLLED_MAX_ATTEMPTS", WorkerOptions().max_attempts))
        deaths = Deaths(workers, attempts, partial(settled_in, job.objects))
        check_model = partial(_check_unchanged, prepared.model)
        interrupter = _Interrupter()
        crew = Workers(workers, settings, _logs_of(job), interrupter.interrupt, deaths, check_model)
        failures: list[UnrolledError] = []

        def give_up(error: UnrolledError) -> None:
            failures.append(error)
            crew.hurry()  # without a broker, the workers would wait for it until their grace is over
            interrupter.interrupt()

        try:
            if own:
                own.watch(give_up)
            stack.enter_context(crew)
            # Imported while the workers start: Celery takes a third of a second here, and the workers take longer.
            from producer.local.queueing import queue_and_wait  # noqa: PLC0415

            return queue_and_wait(prepared, url, namespace, max_queued_tokens, priority, crew, figures)
        except KeyboardInterrupt as reason:
            if failures:
                raise failures[0] from None
            if crew.failure:
                raise crew.failure from None
            if crew.running:
                signal.signal(signal.SIGINT, lambda number, _: None if echoes.is_one(number) else crew.hurry())
                again = "" if isinstance(reason, Terminated) else " Ctrl-C again stops them immediately."
                seconds = float(environment["UNROLLED_GRACE_SECONDS"])
                tell(f"{_STOPPING.format(seconds)}{again}")
                at_work = partial(shards_at_work, url, namespace, job)
                tell_what_is_left(lambda: crew.running, at_work, seconds, again)
            raise
        finally:
            interrupter.end()


def _sweep_if_discarded(job: OpenJob) -> None:
    """Delete what the workers have published after the job was discarded, while they ended."""
    from unrolled.protocol.finishing import sweep_discarded  # noqa: PLC0415 - the workers start before it is loaded
    from unrolled.protocol.log import Log, catch_up  # noqa: PLC0415 - as above

    with suppress(UnrolledError):
        log = Log()
        catch_up(log, job.objects)
        if log.discarded:
            sweep_discarded(job.objects)


def _refuse_login(broker: str | None) -> None:
    if broker is not None:
        from producer.queue.login import refuse_login  # noqa: PLC0415 - a broker of our own needs no redis here

        refuse_login(broker)


def _check_unchanged(model: ModelDirectory) -> None:
    if not model.path.exists():
        raise ModelError(f"{model.path}, the model of the job, is gone; put it back, and run the same command again")
    if open_model(model.path).fingerprint != model.fingerprint:
        raise ModelError(
            f"the files of {model.path} have changed since the job began; put them back, or compute the vectors of the "
            "new model in another directory (--out)"
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let `_Interrupter` do what Ctrl-C does, even where a shell has this process ignore Ctrl-C: `unrolled run … &`."""

    def interrupt(_: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


class _Interrupter:
    """Interrupts the main thread, which does the job, until that is done: nothing may break off the orderly end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_over = False

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        with self._lock:
            if not self._is_over:
                # A real signal: it wakes the main thread from a read that no input may ever end.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def end(self) -> None:
        """Interrupt nothing any more."""
        with self._lock:
            self._is_over = True


def _logs_of(job: OpenJob) -> Path:
    """Where the workers' logs are kept: beside the job, or in this machine's temporary directory."""
    store = job.objects.store
    if isinstance(store, PosixStore):
        return store.path / LOGS
    return Path(tempfile.mkdtemp(prefix="unrolled-logs-"))
