"""A whole job on one machine: broker, workers, queueing, waiting, and an orderly end of them all."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from producer.enqueue.session import enqueue
from producer.enqueue.submission import Submission, prepare
from producer.jobs.wait import wait_for_job
from producer.local.broker import EmbeddedBroker
from producer.local.broker_record import BROKER_FILE
from producer.local.workers import Workers
from producer.terminal.progress import progress
from producer.terminal.signals import terminable
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import FrameType

    from producer.enqueue.summary import Summary
    from producer.jobs.status import JobStatus

#: Directory for the workers' logs, in the output directory.
LOGS = "_logs"


def run_job(
    submission: Submission,
    broker: str | None,
    namespace: str,
    max_queued_tokens: int,
    workers: int,
    environment: Mapping[str, str],
) -> tuple[Summary, JobStatus]:
    """Do a job from its inputs to its last published part.

    Args:
        submission: what is asked for.
        broker: URL of the Redis server; None for a server of its own that ends with the job.
        namespace: prefix of every key.
        max_queued_tokens: token ids that may wait or be computed at once.
        workers: how many worker processes to start.
        environment: the workers' settings, as `UNROLLED_*` variables.

    Returns:
        What was queued, and the job's last status.

    Raises:
        UnrolledError: something can't be used, or the workers don't run; the same call continues where this one ended.
    """
    # In one piece, over 40 lines: all that is started ends in the reverse order, whatever happens in between.
    prepared = prepare(submission)
    out = prepared.directory.path
    with ExitStack() as stack:
        stack.enter_context(terminable())
        url = broker or stack.enter_context(_own_broker(out))
        places = {"BROKER": url, "NAMESPACE": namespace, "MODEL": str(submission.model)}
        settings = {**environment, **{f"UNROLLED_{name}": value for name, value in places.items()}}
        stack.enter_context(_interruptible())
        crew = stack.enter_context(Workers(workers, settings, out / LOGS, _interrupt))
        try:
            summary = enqueue(prepared, url, namespace, max_queued_tokens)
            if crew.failure:  # it ended a live input in order
                raise crew.failure
            with progress("computing") as bar:
                return summary, wait_for_job(prepared.directory, url, namespace, bar)
        except KeyboardInterrupt:
            if crew.failure:
                raise crew.failure from None
            raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let `_interrupt` do what Ctrl-C does, even where a shell has this process ignore Ctrl-C (`unrolled run … &`)."""

    def interrupt(_: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before or signal.SIG_DFL)


def _interrupt() -> None:
    # A real signal wakes the main thread from reading an input that may never end.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


@contextmanager
def _own_broker(out: Path) -> Iterator[str]:
    """A broker that ends with the block; its URL. A record lets `status` and `wait` in other terminals find it."""
    record = out / BROKER_FILE
    with EmbeddedBroker() as broker:
        try:
            publish_bytes(record, broker.url.encode())
            yield broker.url
        finally:
            record.unlink(missing_ok=True)
