"""The last steps for a shard that has its part, and the removal of objects that are no longer needed.

Any process may take these steps at any time. The rows that the part names as failed are saved with their tokens first,
and the shard's rows are deleted after that. A process that can't see the rows deletes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import FileFormatError, PayloadError
from unrolled.job import names
from unrolled.job.names import failed_object, quarantine_object, rows_object
from unrolled.protocol.spooling import growth_in_list, growth_of, select_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

    #: Returns the numbers of the rows that a shard's part names as failed; None where no part can be seen.
    FailedRows = Callable[[Objects, ShardId], Sequence[int] | None]


def finish(objects: Objects, shard: ShardId, failed: Sequence[int], rows: bytes | None = None) -> None:
    """Save the failed rows of a shard that has its part, then delete its rows.

    Args:
        objects: the job's objects.
        shard: the shard.
        failed: the numbers of the rows that the *published* part names as failed; never those of the caller's own
            attempt.
        rows: the shard's rows, if the caller has them in memory.

    Raises:
        PayloadError: the rows are damaged; nothing is deleted.
    """
    objects.sync(names.PARTS)
    if failed:
        rows = rows or objects.read(rows_object(shard))
        if rows is None:
            return  # another process has saved the failed ones and deleted all, or they aren't visible yet
        objects.create(failed_object(shard), select_rows(rows, failed))
    objects.delete(rows_object(shard))


def finish_published(log: Log, objects: Objects, failed_rows: FailedRows) -> int:
    """Finish every shard of a log that has both its part and its rows, and return how many there were.

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
    """Delete the objects that other objects have made superfluous. Two sweeps at once do no harm.

    Args:
        log: the job's log, read to its end.
        objects: the job's objects.
        failed_rows: reads the failed rows of a part.
        live: whether the job's input can't be read again. If so, rows that no segment names belong to the next run.

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
                if shard not in log.entries and not shard.retries and _is_passed(log, objects, named(shard), shard):
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


def _is_passed(log: Log, objects: Objects, name: str, shard: ShardId) -> bool:
    """Whether no segment will ever name a shard that a log lacks, in which the input has ended.

    Another shard has its place; or it was cut before rows were appended for the last time, as far as this log was read.
    A log may have grown since, or seem shorter than it is, so a shard of a later growth may yet be named.
    """
    if shard.index < len(log.inputs):
        return True
    content = objects.read(name)
    growth = growth_in_list if name.startswith(names.QUARANTINE) else growth_of
    try:
        return content is not None and growth(content) <= len(log.growths)
    except PayloadError:
        return False


def sweep_discarded(objects: Objects) -> None:
    """Delete everything of a discarded job except `job.json` and its log with chapters, which keep other jobs out."""
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
    for name in objects.list(names.TIMES):
        if name.endswith(".json"):
            objects.delete(name)
