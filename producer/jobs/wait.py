"""Waiting for a job, and telling Redis again what it lost of it, so that it completes whatever the broker does."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

from producer.jobs.diagnosis import diagnose
from producer.jobs.status_reader import StatusReader
from producer.queue.shard_queue import ShardQueue
from unrolled.counted import counted
from unrolled.errors import BrokerAwayError, FileFormatError, JobError, PayloadError, TransientError
from unrolled.patience import Patience
from unrolled.protocol.finishing import sweep
from unrolled.protocol.log import Log
from unrolled.protocol.telling import tell
from unrolled.reading.outcome import failed_rows

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus
    from producer.queue.shard_queue import JobQueue
    from producer.terminal.progress import Progress
    from unrolled.protocol.opening import OpenJob

#: How long something must be in the way before a person is told.
PATIENCE_SECONDS = 10.0
#: A look at 100,000 names takes a while: rest at least this many times longer.
_REST = 4


def wait_for_job(
    job: OpenJob,
    broker: str | None,
    namespace: str,
    bar: Progress,
    *,
    until: float = math.inf,
    every_seconds: float = 0.5,
) -> JobStatus:
    """Wait until the job is complete. A broker or a store that is away is waited for.

    Args:
        job: which one.
        broker: URL of the Redis server; None to watch the store alone.
        namespace: prefix of every key.
        bar: shows how far the job is, and what is in the way.
        until: when to give up, on the monotonic clock.
        every_seconds: between two looks, at least.

    Returns:
        The job's last status.

    Raises:
        JobError: the job was cancelled or discarded, or its log is damaged.
        TransientError: the store couldn't be read even once before `until`.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    patience = Patience(bar.say)
    queue = ShardQueue(broker, namespace, job.job.offer, patience) if broker else None
    reader = StatusReader(job, queue.broker if queue else None, namespace)
    teller = _Teller(patience)
    log, status = Log(), None
    with contextlib.closing(queue) if queue else contextlib.nullcontext():
        while True:
            began = time.monotonic()
            try:
                status = patience.until_done(f"look at {job.place}", reader.read, until)
            except TransientError:
                if status is None:
                    raise
                return status
            bar.update(done_tokens=status.tokens_done, done_rows=status.rows_done, total_tokens=status.tokens)
            if status.complete:
                _tidy_up(queue, job, reader.log)
            elif status.cancelled:
                raise JobError(f"{job.place}: {diagnose(status)['cancelled']}")
            if status.complete or time.monotonic() >= until:
                return status
            teller.tell(status)
            if queue and status.lost:
                _tell_again(queue.of_job(job), job, log, teller)
            pause = max(every_seconds, _REST * (time.monotonic() - began))
            time.sleep(max(0.0, min(pause, until - time.monotonic())))


def _tidy_up(queue: ShardQueue | None, job: OpenJob, log: Log) -> None:
    """Delete leftovers, and let Redis forget the job. Both are harmless if they stay."""
    with contextlib.suppress(TransientError, PayloadError, FileFormatError):
        sweep(log, job.objects, failed_rows, live=job.job.live)
    if queue:
        with contextlib.suppress(TransientError), queue.broker.asked():
            if not queue.ledger.members(job.key)[0]:  # else a worker has yet to take its last shard out
                queue.ledger.forget(job.key)


def _tell_again(queue: JobQueue, job: OpenJob, log: Log, teller: _Teller) -> None:
    """Tell Redis again what it lost."""
    try:
        tell(log, job.objects, queue)
    except (BrokerAwayError, TransientError):
        return  # the next look says so
    if queue.sent:
        teller.say(f"Redis lost {counted(queue.sent, 'waiting shard')}, entered again now")


class _Teller:
    """Says each thing that is in the way once, when it has been for a while."""

    def __init__(self, patience: Patience) -> None:
        self.say = patience.say
        self._patience = patience
        self._since: dict[str, float] = {}
        self._said: set[str] = set()

    def tell(self, status: JobStatus) -> None:
        """Say what is new in a status."""
        if status.away:
            self._patience.fails("see the queue", status.away)
        else:
            self._patience.works("see the queue")
        now = time.monotonic()
        # `wait` itself tells Redis again what it lost, so this advice isn't needed.
        ways = {kind: text for kind, text in diagnose(status).items() if kind in ("dead", "worker", "input", "strays")}
        self._since = {kind: self._since.get(kind, now) for kind in ways}
        for kind, since in self._since.items():
            if now - since >= PATIENCE_SECONDS:
                self.say_once(kind, ways[kind])

    def say_once(self, kind: str, line: str) -> None:
        """Say something, unless something of its kind was said."""
        if kind not in self._said:
            self._said.add(kind)
            self.say(line)
