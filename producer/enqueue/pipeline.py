"""The way of a job's rows to the queue: sources, tokenization, unique ids, cuts, shards, runs."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from producer.enqueue.cutter import Cutter, cuts
from producer.enqueue.runs import FileRun, LiveRun
from producer.enqueue.seen_ids import SeenIds
from producer.enqueue.shard import make_shard
from producer.enqueue.summary import Summary
from producer.sources.reading import read_batches
from producer.tokenization.tokenize import tokenize
from unrolled.counted import counted
from unrolled.patience import at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from producer.enqueue.cutter import Cut
    from producer.enqueue.runs import Make
    from producer.enqueue.submission import Prepared
    from producer.queue.shard_queue import JobQueue
    from producer.rows import SourceBatch
    from unrolled.job.segment import Entry
    from unrolled.patience import Steadily


def submit(
    prepared: Prepared,
    queue: JobQueue,
    each: Callable[[Summary], None],
    on_bytes: Callable[[int], None] | None = None,
    stopped: threading.Event | None = None,
) -> Summary:
    """Bring every row to the queue; what earlier runs of the same command did isn't done again.

    Args:
        prepared: from `prepare`.
        queue: of the job.
        each: called after each shard with the summary so far.
        on_bytes: told of input bytes as they are read.
        stopped: on a live input, taken for its end when it is set.

    Raises:
        UnrolledError: an input broke off, has changed since the job began, or the job was cancelled. What was queued
            stays queued; the same command goes on from there.
    """
    summary, source = Summary(), prepared.submission.source

    def count(entry: Entry, new: bool) -> None:
        summary.add(entry, new)
        summary.sent = queue.sent
        each(summary)

    batches = read_batches(prepared.plan, source, on_bytes=on_bytes, steadily=prepared.job.objects.steadily)
    labels = [file.label for file in prepared.plan.files]
    run: FileRun | LiveRun
    steadily: Steadily = at_once
    read = _Read()
    if source.follow:
        stopped = stopped or threading.Event()
        run = LiveRun(prepared.job.objects, queue, count, stopped.set)
        run.begin()
        batches = _numbered(batches, run.number, stopped, source.batch_rows, read)
        steadily = prepared.job.objects.steadily
        labels = [_label_of_run(label, run.number) for label in labels]
    else:
        run = FileRun(prepared.job.objects, queue, count)
    with (
        TemporaryDirectory(prefix="unrolled-", dir=_disk()) as scratch,
        SeenIds(labels, Path(scratch) / "ids", steadily) as seen,
    ):
        rows = tokenize(
            batches,
            prepared.tokenizer,
            prepared.model.config.vocab_size,
            add_special_tokens=prepared.submission.special_tokens,
        )
        cutter = Cutter(prepared.shard_tokens, prepared.shard_rows)
        flush_seconds = prepared.submission.flush_seconds if source.follow else None
        try:
            run.run(shards_of(cuts(seen.unique(rows), cutter, flush_seconds), prepared.job.job.id))
        finally:
            if source.follow and read.rows > summary.rows and not run.log.discarded:
                lost = counted(read.rows - summary.rows, "row of the stream was", "rows of the stream were")
                queue.say(f"{lost} read, but may not be on disk, and can't be read again")
    summary.sent = queue.sent
    return summary


def shards_of(stream: Iterable[Cut], job: str) -> Iterator[Make]:
    """What makes each cut a shard, once its place in the job is known."""
    for cut in stream:
        yield partial(make_shard, job=job, cut=cut)


@dataclass(slots=True)
class _Read:
    """How many rows a live stream has given."""

    rows: int = 0


def _numbered(
    batches: Iterator[SourceBatch], run: int, stopped: threading.Event, batch_rows: int, read: _Read
) -> Iterator[SourceBatch]:
    """A live stream's rows under the number of the run that reads them, so that no two runs give one id."""
    for batch in batches:
        read.rows += len(batch)
        yield [row._replace(file=_label_of_run(row.file, run)) for row in batch]
        # What is off the pipe can't be read again. A batch that isn't full is the last one of what was read.
        if stopped.is_set() and len(batch) < batch_rows:
            return


def _label_of_run(label: str, run: int) -> str:
    return f"{label}#{run}"


def _disk() -> str | None:
    """Where large files of a run may be: a disk, because the system's temporary directory may be memory."""
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) and "TMPDIR" not in os.environ else None  # noqa: S108 - names are drawn
