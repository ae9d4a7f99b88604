"""The whole way of a job's rows: sources - tokenization - unique ids - cut - spool - enter - send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.enqueue.cutter import Cutter, cuts
from producer.enqueue.enqueuer import open_enqueuer
from producer.enqueue.seen_ids import SeenIds
from producer.sources.reading import read_batches
from producer.tokenization.tokenize import tokenize

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from producer.enqueue.submission import Prepared
    from producer.enqueue.summary import Summary
    from producer.queue.shard_queue import ShardQueue
    from producer.rows import SourceBatch
    from unrolled.patience import Patience


def submit(
    prepared: Prepared,
    queue: ShardQueue,
    patience: Patience,
    each: Callable[[Summary], None],
    on_bytes: Callable[[int], None] | None = None,
    stopped: threading.Event | None = None,
) -> Summary:
    """Bring every row to the queue. What earlier runs of the same command did isn't done again.

    Args:
        prepared: from `prepare`.
        queue: of the job.
        patience: waits for a disk that is full or away, and says so.
        each: called after each shard with the summary so far.
        on_bytes: called with the number of input bytes as they are read.
        stopped: ends a live input when it is set.

    Raises:
        JobError: another producer is running, or an input has changed since the job began.
        UnrolledError: an input broke off, or the broker refuses this user. What was queued stays queued, and the same
            command continues from there.
    """
    submission, directory, source = prepared.submission, prepared.directory, prepared.submission.source
    labels = [file.label for file in prepared.plan.files]
    with (
        open_enqueuer(directory, patience, live=source.follow, each=each) as enqueuer,
        SeenIds(labels, directory.path / "_ids") as seen,
    ):
        batches = read_batches(prepared.plan, source, on_bytes=on_bytes)
        if source.follow:
            batches = continued(batches, enqueuer.rows_before, stopped, source.batch_rows)
        vocab_size, special = prepared.model.config.vocab_size, submission.special_tokens
        rows = tokenize(batches, prepared.tokenizer, vocab_size, add_special_tokens=special)
        cutter = Cutter(prepared.shard_tokens, prepared.shard_rows)
        shards = cuts(seen.unique(rows), cutter, submission.flush_seconds if source.follow else None)
        return enqueuer.run(shards, queue)


def continued(
    batches: Iterator[SourceBatch], first: int, stopped: threading.Event | None, batch_rows: int
) -> Iterator[SourceBatch]:
    """A live input's rows, numbered from where the last run ended, so that no two have one id.

    Args:
        batches: numbered from 0.
        first: rows of earlier runs.
        stopped: ends the input when it is set.
        batch_rows: rows in a full batch.
    """
    for batch in batches:
        yield [row._replace(position=row.position + first) for row in batch] if first else batch
        # What was read from the pipe can't be read again. A batch that isn't full is the last one of what was read.
        if stopped and stopped.is_set() and len(batch) < batch_rows:
            return
