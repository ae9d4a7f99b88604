"""One run of `enqueue`: its progress, and its garbage collection."""

# Over 150 lines: one run, and all that may end it.

from __future__ import annotations

import gc
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from producer.enqueue.pipeline import submit
from producer.enqueue.presence import present
from producer.enqueue.sole_reader import sole_reader
from producer.enqueue.stop_signals import stop_signals
from producer.queue.shard_queue import ShardQueue, StoppedWaitingError
from producer.terminal.figures import ProducerFigures
from producer.terminal.progress import progress
from unrolled.errors import BrokerRefusesError, FileFormatError, JobError, counted
from unrolled.job import names
from unrolled.patience import QUIET_SECONDS, Patience
from unrolled.protocol.entries import ShardSet
from unrolled.protocol.gaps import refuse_gap
from unrolled.protocol.listing import find
from unrolled.protocol.log import Log, catch_up
from unrolled.reading.outcome import failed_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.enqueue.submission import Prepared
    from producer.enqueue.summary import Summary
    from unrolled.protocol.opening import OpenJob

#: Objects that are created, and still alive, before Python looks for cycles; a shard has a few thousand rows.
_OBJECTS_PER_COLLECTION = 50_000
#: Bytes of an input from which on their share tells how many tokens there will be.
_TELLING_BYTES = 1 << 24


class Display(Protocol):
    """Shows how far the queueing is: a `Progress`, or what stands for one."""

    def update(self, *, done_tokens: int, done_rows: int | None = None, total_tokens: int | None = None) -> None:
        """See `Progress.update`."""
        ...

    def say(self, line: str) -> None:
        """See `Progress.say`."""
        ...

    def warn(self, line: str) -> None:
        """See `Progress.warn`."""
        ...


def enqueue(
    prepared: Prepared,
    broker: str,
    namespace: str,
    max_queued_tokens: int | None,
    priority: int | None = None,
    display: Display | None = None,
    figures: ProducerFigures | None = None,
    *,
    starts_workers: bool = False,
) -> Summary:
    """Cut and queue the rows of a prepared job, and report progress on standard error.

    Args:
        prepared: from `prepare`.
        broker: URL of the Redis server.
        namespace: prefix of every key.
        max_queued_tokens: token ids that may wait or be computed at once; None for what keeps the workers busy.
        priority: the job's share of the workers, see `unrolled.queue.ledger.Ledger.enter`.
        display: shows how far it is; None for a bar on standard error.
        figures: receive what is read and queued.
        starts_workers: whether the user's command starts workers itself.

    Raises:
        UnrolledError: something can't be used, or broke off; the same call continues from there.
    """
    # Over 40 lines, most of them the description: what a run needs, in order.
    with nullcontext(display) if display else progress("queueing") as bar:
        # A stop ends the waiting for the broker, and never that for the disk: rows of a stream must get there.
        asking = Patience(bar.warn, stopped=StoppedWaitingError, quiet_seconds=QUIET_SECONDS)
        writing = Patience(bar.warn, quiet_seconds=QUIET_SECONDS)
        for notice in prepared.plan.notices:
            bar.say(notice)
        figures = figures or ProducerFigures()
        shown = _Shown(bar, prepared.plan.size_bytes, figures)
        job = prepared.job.with_patience(writing.until_done)
        log = Log()
        refuse_gap(log, job.objects)
        queue = ShardQueue(
            broker,
            namespace,
            job.job.offer,
            asking,
            max_queued_tokens,
            figures.waited,
            starts_workers=starts_workers,
        )
        with (
            closing(queue),
            _rare_collections(),
            stop_signals(asking, live=prepared.submission.source.follow) as stopped,
        ):
            jobs = queue.of_job(job, priority)
            figures.sends(lambda: jobs.sent)
            is_live = prepared.submission.source.follow
            # The run meets these again, once what was taken from a stream to look at it is on disk; and, if a signal
            # ends it, what is in its pipe.
            deferred: list[type[Exception]] = [StoppedWaitingError] if is_live else []
            deferred += [BrokerRefusesError] if prepared.plan.live else []
            # Of two processes that begin a stream at once, one finds here that the other has made the job.
            read = prepared.plan.live.loss if prepared.plan.live else "nothing was read"
            try:
                with suppress(*deferred):
                    jobs.claim_place()
                with (
                    sole_reader(job, queue.ledger, bar.warn, read) if is_live else nullcontext(),
                    present(queue.ledger, job.key, writing),
                ):
                    prepared = replace(prepared, job=job)
                    summary = submit(prepared, jobs, shown.each, shown.on_bytes, stopped, log.cancels)
            except StoppedWaitingError as error:
                raise JobError(f"{job.place}: {_stopped_text(shown.rows)}") from error
            if not is_live:
                summary.failed = _count_failed(log, job)
            summary.in_the_way = jobs.obstacles()
            return summary


def _count_failed(log: Log, job: OpenJob) -> int:
    """Rows of a job on which a worker has failed, and which no retry has brought again; they are in quarantine."""
    catch_up(log, job.objects)
    count = 0
    rows, parts, failed = (find(log, job.objects, folder).marks for folder in (names.ROWS, names.PARTS, names.FAILED))
    # A worker that died after a part leaves the shard's rows.
    for shard in ShardSet(log.entries, parts & (rows | failed)) - log.retried.keys():
        with suppress(FileFormatError):  # `unrolled verify` names it
            count += len(failed_rows(job.objects, shard) or ())
    return count


def _stopped_text(rows: int) -> str:
    """The end of a live input whose rows couldn't all be queued, for people."""
    stopped, again = "stopped while the broker couldn't be asked", "When it can, run the same command again"
    if not rows:
        return f"{stopped}; no row was read. {again}"
    read = counted(rows, "row that was read is", "rows that were read are")
    return f"{stopped}; the {read} on disk, but not all of them are queued. {again}: it queues them first"


class _Shown:
    """Shows the tokens queued so far, and estimates their total from the share of bytes read."""

    def __init__(self, bar: Display, size_bytes: int | None, figures: ProducerFigures) -> None:
        self._bar = bar
        self._figures = figures
        self._size_bytes = size_bytes
        self._read_bytes = 0
        self.rows = 0  # of the shards that are on disk

    def on_bytes(self, count: int) -> None:
        self._read_bytes += count
        self._figures.read(count)

    def each(self, summary: Summary) -> None:
        self._figures.queued(summary)
        self.rows = summary.rows
        total = None
        # What was read and isn't cut yet, up to some hundred kilobytes, must not count.
        if self._size_bytes and self._read_bytes >= _TELLING_BYTES:
            total = summary.tokens * max(self._size_bytes, self._read_bytes) // self._read_bytes
        self._bar.update(done_tokens=summary.tokens, done_rows=summary.rows, total_tokens=total)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage rarely, and ignore existing objects: there are many rows, and none is part of a cycle."""
    threshold, *others = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *others)
    try:
        yield
    finally:
        gc.set_threshold(threshold, *others)
        gc.unfreeze()
