"""The path of a job's rows to the queue: sources, tokenization, unique ids, cuts, shards, runs."""

# Over 150 lines: the stations of a row, from batches that are read to shards that are queued.

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from producer.enqueue.cutter import Cutter, cuts
from producer.enqueue.growth import Growth
from producer.enqueue.runs import FileRun, LiveRun
from producer.enqueue.seen_ids import SeenIds
from producer.enqueue.shard import make_shard
from producer.enqueue.stuck import count_stuck
from producer.enqueue.summary import Summary
from producer.queue.shard_queue import StoppedWaitingError
from producer.sources.errors import SourceError
from producer.sources.formats.delimited import DELIMITERS, has_header
from producer.sources.notices import notices_of_empty
from producer.sources.reading import read_batches
from producer.sources.rows import BadRow, Row
from producer.sources.streams.live import Ending
from producer.sources.streams.spool import disk_directory
from producer.tokenization.checked_rows import checked_rows
from producer.tokenization.coverage import Coverage
from producer.tokenization.gaps import count_gaps
from unrolled.errors import BrokerRefusesError, JobError, UnrolledError, counted
from unrolled.job.segment import Segment
from unrolled.patience import at_once
from unrolled.protocol.discarded import refuse_another
from unrolled.protocol.finishing import sweep_discarded
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import append, catch_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from producer.enqueue.cutter import Cut
    from producer.enqueue.runs import Make
    from producer.enqueue.submission import Prepared
    from producer.queue.shard_queue import JobQueue
    from producer.sources.rows import SourceBatch
    from unrolled.job.segment import Entry
    from unrolled.patience import Steadily
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects
    from unrolled.protocol.spooling import Spooled

#: Why a row is bad that may be the beginning of a longer one.
_UNFINISHED = "the stream was ended before the end of this row was read"
#: Seconds between two looks at the log of a live stream's job.
LOOK_SECONDS = 5.0


def submit(
    prepared: Prepared,
    queue: JobQueue,
    each: Callable[[Summary], None],
    on_bytes: Callable[[int], None] | None = None,
    stopped: threading.Event | None = None,
    cancels: int | None = None,
) -> Summary:
    """Queue every row, except those that earlier runs of the same command have queued.

    Args:
        prepared: from `prepare`.
        queue: the job's queue.
        each: called after each shard with the summary so far.
        on_bytes: called with the number of input bytes read since its last call.
        stopped: when it is set, a live input ends; a row of which only the beginning was read then is a bad one.
        cancels: see `producer.enqueue.runs.Run`.

    Raises:
        UnrolledError: an input broke off, has changed since the job began, or the job was cancelled. What was queued
            stays queued; the same command goes on from there.
    """
    # Over 40 lines: the stations of a row in their order, and what ends each of them.
    summary, source = Summary(), prepared.submission.source

    def count(entry: Entry, new: bool) -> None:
        summary.add(entry, new, appended=isinstance(run, FileRun) and entry.shard.index >= run.appended_from)
        summary.sent = queue.sent
        each(summary)

    ending = Ending(stopped or threading.Event())
    batches = _with_notice(
        read_batches(prepared.plan, source, on_bytes=on_bytes, steadily=prepared.job.objects.steadily, ending=ending),
        prepared,
        queue,
    )
    labels = [file.label for file in prepared.plan.files]
    run: FileRun | LiveRun
    steadily: Steadily = at_once
    impatient = prepared.job.with_patience(at_once).objects  # for what needn't wait for a disk that is away
    undone: AbstractContextManager[None] = nullcontext()
    read, coverage, ends = _Read(), Coverage(prepared.tokenizer), list[int]()
    if source.follow:
        run = LiveRun(prepared.job.objects, queue, count, ending.leave, cancels)
        _begin(run, ending, has_taken=prepared.plan.live is not None)
        summary.continued = run.number > 0
        if summary.continued:
            _say_of_header(prepared, queue)
        batches = _while_it_is_wanted(batches, run.log, impatient, ending)
        batches = _numbered(batches, run.number, ending, read)
        batches = _while_there_is_room(batches, queue, run.log, ending.wanted, source.batch_rows)
        steadily = prepared.job.objects.steadily
        labels = [_label_of_run(label, run.number) for label in labels]
    else:
        growth = Growth(prepared.job, prepared.inputs, append=prepared.submission.append)
        summary.added = 0 if prepared.submission.append else None
        run = FileRun(prepared.job.objects, queue, count, growth, cancels)
        undone = _undone_if_refused(run.log, prepared.job.objects, queue)
        ends = _begin_files(run, prepared)
    with SeenIds(labels, disk_directory(), steadily) as seen:
        cutter = Cutter(prepared.shard_tokens, prepared.shard_rows, ends)
        has_ids = prepared.model.config.vector_dim is None
        flush_seconds = prepared.submission.flush_seconds if source.follow else None
        rows = _with_counts(seen.unique(_tokenized(batches, prepared, coverage)), summary, has_ids=has_ids)
        try:
            with undone:
                run.run(shards_of(cuts(rows, cutter, flush_seconds), prepared.job.job.id))
        finally:
            if source.follow and read.rows > summary.rows and not run.log.discarded:
                lost = counted(read.rows - summary.rows, "row of the stream was", "rows of the stream were")
                queue.say(f"{lost} read, but may not be on disk, and can't be read again")
            if run.log.discarded:  # what was on its way then may have come after the discard had looked
                with suppress(UnrolledError):
                    sweep_discarded(impatient)
    summary.conclude(restored=queue.wake(), mended=run.mended, sent=queue.sent)
    summary.unknown_share, summary.unknown_noun = coverage.unknown_share, coverage.noun
    count_stuck(summary, run.log, prepared.job)
    return summary


def _begin_files(run: FileRun, prepared: Prepared) -> list[int]:
    """Begin a run, as `FileRun.begin` does."""
    try:
        return run.begin()
    except JobError:
        refuse_another(prepared.job.place, run.log)  # no inputs resume that one
        raise


def _begin(run: LiveRun, ending: Ending, *, has_taken: bool) -> None:
    """Begin a run of a stream; what was taken from it before must reach the disk, also if the broker refuses the run.

    Then it ends with that, and meets the refusal again. A signal has it end with what is in the pipe.
    """
    try:
        run.begin()
    except StoppedWaitingError:
        ending.wanted.set()
    except BrokerRefusesError:
        if not has_taken:
            raise
        ending.leave()


def _undone_if_refused(log: Log, objects: Objects, queue: JobQueue) -> AbstractContextManager[None]:
    """Leave a job cancelled, if it is and the run that resumes it is refused."""
    catch_up(log, objects)
    return _cancelled_again(log, objects, queue) if log.cancelled else nullcontext()


@contextmanager
def _cancelled_again(log: Log, objects: Objects, queue: JobQueue) -> Iterator[None]:
    """Cancel a job again if the run is refused, because its input is another one."""
    try:
        yield
    except JobError:
        append(log, objects, lambda log: None if log.stopped else Segment("cancel"))
        update_ledger(log, objects, queue)
        raise


def _say_of_header(prepared: Prepared, queue: JobQueue) -> None:
    """Say that a later run of a stream takes its first line for the names of the columns, if it does.

    A row may pass for them, and then it isn't stored. That can't be seen: the job doesn't know the columns' names.
    """
    (source,) = prepared.plan.files
    if source.format in DELIMITERS and has_header(prepared.submission.source):
        queue.say(
            f"{source.label}: the first line of this run is read as the names of the columns, and not as a row, as in "
            "each run of this stream"
        )


def _tokenized(batches: Iterable[SourceBatch], prepared: Prepared, coverage: Coverage) -> Iterator[Cut]:
    return checked_rows(
        batches,
        prepared.model.config,
        prepared.tokenizer,
        add_special_tokens=prepared.submission.special_tokens,
        coverage=coverage,
    )


def shards_of(stream: Iterable[Cut], job: str) -> Iterator[Make]:
    """For each cut, a function that makes its shard, given its place in the job."""
    for cut in stream:
        yield partial(_shard_of, job, cut)


def _shard_of(job: str, cut: Cut, index: int, growth: int = 0) -> Spooled:
    return make_shard(index, job, cut, growth)


def _with_counts(batches: Iterable[Cut], summary: Summary, *, has_ids: bool) -> Iterator[Cut]:
    """Count the good rows that have no real token, and so no vector, and rows of ids with padding between tokens."""
    for batch in batches:
        if has_ids:
            summary.gaps += count_gaps([row.tokens for row in batch if isinstance(row, Row)])
        for row in batch:
            # The first token nearly always says it; a look at all of them takes longer.
            if isinstance(row, Row) and not (row.tokens.size and (row.tokens[0] or row.tokens.any())):
                summary.without_tokens += 1
        yield batch


def _while_it_is_wanted(
    batches: Iterator[SourceBatch], log: Log, objects: Objects, ending: Ending
) -> Iterator[SourceBatch]:
    """A live stream's batches, until somebody cancels or discards its job: a quiet one meets no segment of others."""
    looked = time.monotonic()
    for batch in batches:
        if time.monotonic() - looked >= LOOK_SECONDS:
            with suppress(UnrolledError):  # the next shard meets it, too
                catch_up(log, objects)
            looked = time.monotonic()
            if log.stopped:
                ending.leave()
        yield batch


@dataclass(slots=True)
class _Read:
    """The number of rows read from a live stream."""

    rows: int = 0


def _with_notice(batches: Iterator[SourceBatch], prepared: Prepared, queue: JobQueue) -> Iterator[SourceBatch]:
    """The batches; at their end, say so if a pipe had no row, which nothing shows before. A stream may."""
    missing = {file.label for file in prepared.plan.files if file.size_bytes is None}
    for batch in batches:
        if missing:
            missing.difference_update(row.file for row in batch)
        yield batch
    for line in notices_of_empty([] if prepared.submission.source.follow else [*missing]):
        queue.say(line)


def _numbered(batches: Iterator[SourceBatch], run: int, ending: Ending, read: _Read) -> Iterator[SourceBatch]:
    """A live stream's rows, labelled with the number of the run that reads them, so that no two runs give one id.

    Rows read from a pipe can't be read again, so all that was read is given; the beginning of a row as a bad one.
    """
    try:
        for batch in batches:
            read.rows += len(batch)
            rows = [row._replace(file=_label_of_run(row.file, run)) for row in batch]
            yield [BadRow(row.file, row.position, row.id, _UNFINISHED) for row in rows] if ending.came else rows
    except SourceError:  # the beginning of a table's header
        if not ending.came:
            raise


def _while_there_is_room(
    batches: Iterator[SourceBatch], queue: JobQueue, log: Log, stopped: threading.Event, batch_rows: int
) -> Iterator[SourceBatch]:
    """A live stream's batches, of which none is read from the pipe while the queue is full.

    Empty batches are given meanwhile, so that the rows that were read are cut when they have waited for long enough.
    """
    known = log.length
    for batch in batches:
        yield batch
        # A full batch is followed by the rest of what was read. Without a new shard, the queue isn't asked: the broker
        # may be away, and the rows must reach the disk first.
        if len(batch) < batch_rows and log.length > known:
            # An error here would end the reading, and rows that were read and not yet cut would be lost. The next shard
            # meets the refusal again, where everything that was read can be kept.
            with suppress(BrokerRefusesError):
                for _ in queue.while_full():
                    if stopped.is_set():
                        break
                    yield []
            known = log.length


def _label_of_run(label: str, run: int) -> str:
    return f"{label}#{run}"
