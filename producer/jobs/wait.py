"""Waiting for a job, and telling Redis again what it lost of it, so that it completes whatever the broker does."""

# Over 150 lines: waiting, and everything that is reported meanwhile.

from __future__ import annotations

import contextlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from producer.jobs.diagnosis import BLIND, diagnose
from producer.jobs.status import OwnRun
from producer.jobs.status_reader import StatusReader
from producer.queue.copies import is_finished_elsewhere
from producer.queue.shard_queue import ShardQueue
from producer.terminal.progress import Progress
from producer.terminal.text import figure
from unrolled.errors import BrokerError, FileFormatError, JobError, PayloadError, TransientError, as_argument, counted
from unrolled.job import names
from unrolled.job.directories import is_job
from unrolled.patience import QUIET_SECONDS, Patience, at_once
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log
from unrolled.protocol.opening import open_job
from unrolled.protocol.restored import trusted_log
from unrolled.protocol.upkeep import clean_up
from unrolled.queue.job_ledger import JobLedger
from unrolled.reading.outcome import failed_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from producer.jobs.screen import JobScreen
    from producer.jobs.status import JobStatus
    from producer.terminal.figures import ProducerFigures
    from unrolled.patience import Steadily
    from unrolled.protocol.opening import OpenJob

T = TypeVar("T")

#: How long something must be in the way before it is reported, if it is often over soon: a producer at work may
#: be about to read its input on, and `wait` itself enters in Redis again what it lost. All else is reported at once.
PATIENCE_SECONDS = {"input": 10.0, "strays": 10.0, "lost": 10.0, "gone": 10.0, "starting": 30.0, "unseen": 90.0}
#: The same for a lack of workers, if there was one before: a broker that was emptied learns of them again.
_WORKER_SECONDS = 10.0
#: How long the rows and parts of all shards that wait must be out of sight, while no worker computes them, before the
#: wait is given up. A network file system may hide new files for a minute.
GONE_SECONDS = 90.0
_ENTER = "enter again in Redis what it lost"
_STILL_LOST = (
    "{} that Redis has as done. If it stays so: `unrolled cancel {}`, and then the same `unrolled run` or `unrolled "
    "enqueue`, queues {} again"
)
#: A look at 100,000 names takes a while: rest at least this many times longer.
_REST = 4
#: How long a look that has begun may go on when the time is over: a slow bucket answers hundreds of requests for one.
_LATE_SECONDS = 10.0
#: A small job is over soon: at first, look again after this share of the time that was waited.
_QUICK = 0.1


def wait_for_job(
    job: OpenJob,
    broker: str | None,
    namespace: str,
    bar: Progress | JobScreen,
    *,
    until: float = math.inf,
    every_seconds: float = 0.5,
    figures: ProducerFigures | None = None,
    own_run: Callable[[], OwnRun] = lambda: OwnRun.UNSEEN,
    since: tuple[float, int] | None = None,
) -> JobStatus:
    """Wait until the job is finished. A broker or a store that is away is waited for.

    Args:
        job: which one.
        broker: URL of the Redis server; None to watch the store alone.
        namespace: prefix of every key.
        bar: shows how far the job is, and what is in the way.
        until: when to give up, on the monotonic clock.
        every_seconds: between two looks, at least.
        figures: receive how far the job is.
        own_run: see `StatusReader`.
        since: see `StatusReader`.

    Returns:
        The job's last status.

    Raises:
        JobError: the job was cancelled or discarded, or its log is damaged; or its records or all that waits were
            removed.
        TransientError: the store couldn't be read even once before `until`, or some seconds after it.
        BrokerRefusesError: the broker doesn't let this user in or do this, and never did.
    """
    # Over 40 lines: one loop, and all that can end it.
    patience = Patience(bar.warn, quiet_seconds=QUIET_SECONDS)
    queue = ShardQueue(broker, namespace, job.job.offer, patience) if broker else None
    seen = job.with_patience(partial(_in_time, until + _LATE_SECONDS, job.objects.steadily))
    reader = StatusReader(seen, queue.broker if queue else None, namespace, own_run, since)
    teller = _Teller(patience, PATIENCE_SECONDS)
    log, status, first = Log(), None, time.monotonic()
    with contextlib.closing(queue) if queue else contextlib.nullcontext():
        while True:
            began = time.monotonic()
            _refuse_removed(job, status)
            try:
                status = patience.until_done(f"look at {job.place}", reader.read, until)
            except TransientError:
                if status is None:
                    raise
                return status
            _show(bar, figures, status)
            if status.finished:
                # Of a copy, Redis has the job of the other directory.
                is_copy = status.queue and status.queue.original
                _clean_up(None if is_copy else queue, job, reader.log)
            elif status.cancelled:
                raise JobError(f"{job.place}: {diagnose(status)['cancelled']}")
            if status.finished:
                return status
            is_over = time.monotonic() >= until
            teller.tell(status, reader.away, is_last=is_over)
            if queue is None:
                teller.say_once("blind", BLIND.format(place=job.place))
            if queue and status.lost and not (status.queue and status.queue.declines):
                log = _tell_again(queue, job, log, teller)
            if is_over:
                return status
            usual = min(every_seconds, (time.monotonic() - first) * _QUICK)
            pause = max(usual, _REST * (time.monotonic() - began))
            time.sleep(max(0.0, min(pause, until - time.monotonic())))


def _refuse_removed(job: OpenJob, status: JobStatus | None) -> None:
    """Refuse to wait for a job of which somebody has removed the records, perhaps while its workers still wrote.

    Args:
        job: which one.
        status: its last one, by which something is gone if this is so; None before the first.
    """
    if status is not None and not status.gone:
        return
    with contextlib.suppress(TransientError):
        if not job.with_patience(at_once).objects.exists(names.JOB):
            raise _removed(job.place)


def open_again(place: str) -> OpenJob:
    """The job at a place where it was a moment ago.

    Raises:
        JobError: it isn't there any more, or can't be read.
        TransientError: it can't be read now.
    """
    try:
        return open_job(place)
    except JobError as error:
        if not is_job(place):
            raise _removed(place) from error
        raise


def _removed(place: str) -> JobError:
    return JobError(
        f"{place}: {names.JOB} was removed while the job ran. Restore it from a copy; without one, stop the job's "
        "workers and remove the directory, or use another --out"
    )


def _in_time(until: float, steadily: Steadily, what: str, action: Callable[[], T]) -> T:
    """Run an action on a store, unless the time is over.

    Raises:
        TransientError: it is.
    """
    if time.monotonic() > until:
        raise TransientError(f"can't {what}: the time is over")
    return steadily(what, action)


def _show(bar: Progress | JobScreen, figures: ProducerFigures | None, status: JobStatus) -> None:
    if figures:
        figures.looked(status)
    if isinstance(bar, Progress):
        dead = f"{figure(status.dead_tokens)} tokens in dead shards" if status.dead_tokens else ""
        bar.update(
            done_tokens=status.tokens_done,
            done_rows=status.rows_done,
            total_tokens=status.tokens - status.dead_tokens,
            working=not status.stands_still,
            counts=not status.unattended,
            more=", ".join(filter(None, [dead, status.long_pool])),
        )
    else:
        bar.show(status)


def _clean_up(queue: ShardQueue | None, job: OpenJob, log: Log) -> None:
    """Delete leftovers, and let Redis forget the job. Both are harmless if they stay."""
    ledger = JobLedger(queue.ledger, job.key, job.address, queue.send, at_once) if queue else None
    with (
        contextlib.suppress(TransientError, BrokerError, PayloadError, FileFormatError),
        queue.broker.asked() if queue else contextlib.nullcontext(),
    ):
        clean_up(log, job.objects, ledger, failed_rows, live=job.job.live)


def _tell_again(queue: ShardQueue, job: OpenJob, log: Log, teller: _Teller) -> Log:
    """Enter again in Redis what it lost; nothing of a job that somebody removes, which no worker could open.

    It is tried once: the next look says what is in the way, and tries again.

    Returns:
        The log to give to the next call.
    """
    ledger = JobLedger(queue.ledger, job.key, job.address, queue.send, at_once)
    try:
        if not job.objects.exists(names.JOB):
            return log
        with queue.broker.asked():
            if is_finished_elsewhere(job, queue.ledger.place_of(job.key)):
                ledger.cancel()  # this is a copy, and what the broker knows is what was done there
            log = trusted_log(log, job.objects, ledger)
            update_ledger(log, job.objects, ledger)
    except (BrokerError, TransientError) as error:
        teller.refused = error
        return log
    teller.refused = None
    if ledger.sent:
        were = counted(ledger.sent, "waiting shard was", "waiting shards were")
        lost, sent = ("it", "it was") if ledger.sent == 1 else ("them", "they were")
        teller.say(f"{were} not in Redis, and entered now: it had lost {lost}, or isn't the broker that {sent} sent to")
    return log


class _Teller:
    """Says each thing that is in the way once.

    Args:
        patience: says it.
        patience_seconds: kind of thing → how long it must have been in the way; 0 where a kind isn't named.

    Attributes:
        refused: why what Redis lost couldn't be entered again; None if it could, or nothing was lost.
    """

    def __init__(self, patience: Patience, patience_seconds: Mapping[str, float]) -> None:
        self.say = patience.say
        self.refused: Exception | None = None
        self._patience = patience
        self._patience_seconds = patience_seconds
        self._since: dict[str, float] = {}
        self._said: set[str] = set()
        self._gone, self._gone_at = 0, time.monotonic()
        self._had_worker = False

    def tell(self, status: JobStatus, away: Exception | None, *, is_last: bool) -> None:
        """Say what is new in a status.

        Args:
            status: what was found.
            away: why the broker couldn't be asked; None if it was, or wasn't meant to be.
            is_last: whether the wait is over: all that is in the way is said then, but for what `wait` mends itself.

        Raises:
            JobError: all that waits has been out of sight for too long, and no worker computes it.
        """
        # Over 40 lines: what ends the wait, what passes by itself, and what is said once.
        if away:
            self._patience.fails("see the queue", away)
        elif not status.run_elsewhere:
            self._patience.works("see the queue")
        now = time.monotonic()
        if status.gone != self._gone or status.queue is None:
            self._gone, self._gone_at = status.gone, now
        # Their hints are sent again and again while the ledger has the shards, so a shard in the ledger is no hope.
        is_hopeless = status.ended and status.gone and status.gone == status.waiting
        is_held = status.queue is None or status.queue.running > 0
        if is_hopeless and not is_held and now - self._gone_at >= GONE_SECONDS:
            raise JobError(f"{status.out}: {diagnose(status)['gone']}")
        ways = {kind: text for kind, text in diagnose(status).items() if kind not in ("away", "blind", "cancelled")}
        is_declined = "declined" in ways  # which says why nothing can be entered
        if self.refused and status.lost and not is_declined:
            self._patience.fails(_ENTER, self.refused)
        elif not status.run_elsewhere:
            self._patience.works(_ENTER)
        if status.lost and not (self.refused or is_declined):
            waits, them = counted(status.lost, "shard waits", "shards wait"), "it" if status.lost == 1 else "them"
            ways["lost"] = _STILL_LOST.format(waits, as_argument(status.out), them)
        self._had_worker |= status.queue is not None and "worker" not in ways
        usual = {"worker": _WORKER_SECONDS} if self._had_worker else {}
        self._since = {kind: self._since.get(kind, now) for kind in ways}
        for kind, since in self._since.items():
            seconds = max(self._patience_seconds.get(kind, 0.0), usual.get(kind, 0.0))
            # A job without a shard may have begun a moment ago.
            is_hasty = kind == "lost" or (kind == "input" and not status.shards)
            if now - since >= seconds or (is_last and not is_hasty):
                # A worker that has met one trouble may meet another.
                self.say_once(kind if kind != "trouble" else ways[kind], ways[kind])

    def say_once(self, kind: str, line: str) -> None:
        """Say something, unless something of its kind was said."""
        if kind not in self._said:
            self._said.add(kind)
            self.say(line)
