"""What is left to do once a shard's part is there, and what may then be deleted. Anybody may do it, at any time.

In this order: the rows that the part calls failed are saved with their tokens, then the shard's rows are deleted. Who
can't see the rows deletes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import FileFormatError, PayloadError
from unrolled.job import names
from unrolled.job.names import failed_object, quarantine_object, rows_object
from unrolled.protocol.spooling import select_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

    #: The numbers of the rows that a shard's part calls failed; None where there is no part to be seen.
    FailedRows = Callable[[Objects, ShardId], Sequence[int] | None]


def finish(objects: Objects, shard: ShardId, failed: Sequence[int], rows: bytes | None = None) -> None:
    """Save the failed rows of a shard whose part is there, then delete its rows.

    Args:
        objects: of the job.
        shard: which one.
        failed: the numbers of the rows that the part *that is there* calls failed; never those of an own attempt.
        rows: the shard's rows, where they are at hand.

    Raises:
        PayloadError: the rows are damaged; nothing is deleted.
    """
    objects.sync(names.PARTS)
    if failed:
        rows = rows or objects.read(rows_object(shard))
        if rows is None:
            return  # deleted by another who had saved the failed ones, or not to be seen yet: the sweep comes again
        objects.create(failed_object(shard), select_rows(rows, failed))
    objects.delete(rows_object(shard))


def finish_published(log: Log, objects: Objects, failed_rows: FailedRows) -> int:
    """Finish every shard of a log that has both its part and its rows; how many there were.

    Raises:
        PayloadError: rows are damaged; all others are finished.
        FileFormatError: a part is damaged; all others are finished.
    """
    finished = 0
    trouble: PayloadError | FileFormatError | None = None
    for shard in names.shards_in(objects.list(names.ROWS)):
        try:
            if shard in log.entries and (failed := failed_rows(objects, shard)) is not None:
                finish(objects, shard, failed)
                finished += 1
        except FileFormatError as error:
            trouble = trouble or error
        except PayloadError as error:
            trouble = trouble or PayloadError(f"{rows_object(shard)}: {error}")
    if trouble:
        raise trouble
    return finished


def sweep(log: Log, objects: Objects, failed_rows: FailedRows, *, live: bool) -> None:
    """Delete what other objects have made superfluous. One at a time is enough; several do no harm.

    Args:
        log: read to its end.
        objects: of the job.
        failed_rows: reads a part's.
        live: whether the job's input can't be read again: then rows that no segment names are the next run's.

    Raises:
        PayloadError: rows are damaged; what is superfluous elsewhere is deleted.
        FileFormatError: a part is damaged; what is superfluous elsewhere is deleted.
    """
    if log.discarded:
        sweep_discarded(objects)
        return
    try:
        finish_published(log, objects, failed_rows)
    except (PayloadError, FileFormatError):
        _sweep_superfluous(log, objects, live=live)
        raise
    _sweep_superfluous(log, objects, live=live)


def _sweep_superfluous(log: Log, objects: Objects, *, live: bool) -> None:
    if log.ended and not live:
        for folder, named in ((names.ROWS, rows_object), (names.QUARANTINE, quarantine_object)):
            for shard in names.shards_in(objects.list(folder)):
                if shard not in log.entries and not shard.retries:
                    objects.delete(named(shard))
    over = [
        life
        for life in names.lives_in(objects.list(names.DEAD))
        if life.number < log.life(life.shard).number or objects.exists(names.part_object(life.shard))
    ]
    if over:
        objects.sync(names.PARTS)  # a part must outlast the record that it makes superfluous
    for life in over:
        objects.delete(names.dead_object(life))
    for shard in names.shards_in(objects.list(names.FAILED)):
        if shard in log.retried:
            objects.delete(failed_object(shard))


def sweep_discarded(objects: Objects) -> None:
    """Delete all of a discarded job but its log and its identity, which keep other jobs out."""
    for shard in names.parts_in(objects.list(names.PARTS)):
        objects.delete(names.part_object(shard))
    for folder, named in (
        (names.ROWS, rows_object),
        (names.QUARANTINE, quarantine_object),
        (names.FAILED, failed_object),
    ):
        for shard in names.shards_in(objects.list(folder)):
            objects.delete(named(shard))
    for life in names.lives_in(objects.list(names.DEAD)):
        objects.delete(names.dead_object(life))
