"""The producer's part of a job on one machine: queueing the input, and waiting for the workers.

A module of its own, because `run` starts the workers before it loads Celery and redis.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from producer.enqueue.session import enqueue
from producer.jobs.screen import JobScreen
from producer.jobs.status import OwnRun
from producer.jobs.status_reader import StatusReader
from producer.jobs.wait import PATIENCE_SECONDS, wait_for_job
from producer.terminal.progress import progress
from unrolled.errors import TransientError, UnrolledError
from unrolled.queue.broker import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.enqueue.submission import Prepared
    from producer.enqueue.summary import Summary
    from producer.jobs.status import JobStatus
    from producer.local.workers import Workers
    from producer.terminal.figures import ProducerFigures

#: Between two looks at the job while its input is read.
_WATCH_SECONDS = 1.0


def queue_and_wait(
    prepared: Prepared,
    url: str,
    namespace: str,
    max_queued_tokens: int | None,
    priority: int | None,
    crew: Workers,
    figures: ProducerFigures | None,
) -> tuple[Summary, JobStatus]:
    """Queue the input of a job, and wait until the job is complete; arguments as in `producer.local.run.run_job`.

    Raises:
        UnrolledError: the workers don't run, or the input or the job can't be used any more.
    """
    if sys.stderr.isatty():
        return _on_screen(prepared, url, namespace, max_queued_tokens, priority, crew, figures)
    since = None
    with suppress(TransientError):  # a store that is away is waited for below
        since = time.monotonic(), StatusReader(prepared.job).read().tokens_done  # workers compute while input is read
    summary = enqueue(prepared, url, namespace, max_queued_tokens, priority, None, figures, starts_workers=True)
    if crew.failure:  # a live input was ended by it, in order
        raise crew.failure
    job = prepared.job
    is_new = summary.sent or summary.known < summary.shards or not summary.rows
    with progress("computing" if is_new or not StatusReader(job).read().complete else "published already") as bar:
        status = wait_for_job(job, url, namespace, bar, own_run=_is_this, figures=figures, since=since)
        return summary, status


def _on_screen(
    prepared: Prepared,
    url: str,
    namespace: str,
    max_queued_tokens: int | None,
    priority: int | None,
    crew: Workers,
    figures: ProducerFigures | None,
) -> tuple[Summary, JobStatus]:
    """Queue the input and wait, on one screen that shows the workers from the start."""
    job = prepared.job
    with JobScreen(prepared.submission.out, patience_seconds=PATIENCE_SECONDS) as screen:
        with closing(Broker(url)) as broker, _watched(StatusReader(job, broker, namespace, _is_this), screen):
            summary = enqueue(
                prepared, url, namespace, max_queued_tokens, priority, screen, figures, starts_workers=True
            )
        if crew.failure:
            raise crew.failure
        waited = wait_for_job(job, url, namespace, screen, own_run=_is_this, figures=figures)
        return summary, waited


def _is_this() -> OwnRun:
    return OwnRun.HERE


@contextmanager
def _watched(reader: StatusReader, screen: JobScreen) -> Iterator[None]:
    """Show the status of a job again and again while the block reads its input."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_WATCH_SECONDS):
            with suppress(UnrolledError):  # the main thread meets it too, and says so
                screen.show(reader.read())

    thread = threading.Thread(target=watch, name="screen", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_WATCH_SECONDS)
