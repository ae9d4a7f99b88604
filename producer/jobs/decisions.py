"""What people decide about a job: bring failed rows and dead shards again, cancel, discard.

Each is a segment of the job's log, and then what follows from it; each may be given again, and by two at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.errors import JobError, PayloadError
from unrolled.job import names, payload
from unrolled.job.names import Life, failed_object, part_object, rows_object
from unrolled.job.segment import MOST_ENTRIES, Segment
from unrolled.protocol.finishing import finish_published, sweep_discarded
from unrolled.protocol.log import Log, append, catch_up
from unrolled.protocol.spooling import make_retry, spool
from unrolled.protocol.telling import tell

if TYPE_CHECKING:
    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.finishing import FailedRows
    from unrolled.protocol.objects import Objects
    from unrolled.protocol.telling import JobLedger


@dataclass(frozen=True, slots=True)
class Retried:
    """What `retry` brought again.

    Attributes:
        rows: failed rows, in shards of their own now.
        shards: those shards.
        dead: dead shards that got another life.
        damaged: dead shards that got none, because their rows are damaged.
    """

    rows: int
    shards: int
    dead: int
    damaged: int


def retry(objects: Objects, ledger: JobLedger | None, failed_rows: FailedRows, *, failed: bool) -> Retried:
    """Give dead shards another life, and failed rows a shard of their own; nothing that is published changes.

    Args:
        objects: of the job.
        ledger: of the job's offer; None to leave the telling to the next process that looks after the job.
        failed_rows: reads a part's.
        failed: whether failed rows are brought too, rather than dead shards alone.

    Raises:
        JobError: the job is cancelled or discarded, or its log is damaged.
        PayloadError: rows are damaged.
    """
    log = Log()
    catch_up(log, objects)
    _refuse_stopped(log, objects)
    cut = _cut_failed(log, objects, failed_rows) if failed else []
    dead = [
        life
        for life in names.lives_in(objects.list(names.DEAD))
        if life.shard in log.entries and log.life(life.shard) == life and not objects.exists(part_object(life.shard))
    ]
    damaged = [life for life in dead if _is_damaged(objects, life.shard)]
    dead = [life for life in dead if life not in damaged]  # the next life would die of them, too

    def decide(log: Log) -> Segment | None:
        _refuse_stopped(log, objects)
        new = tuple(entry for entry in cut if entry.source not in log.retried)[:MOST_ENTRIES]
        lives = tuple(Life(life.shard, life.number + 1) for life in dead if log.life(life.shard) == life)
        lives = lives[: MOST_ENTRIES - len(new)]
        return Segment("retry", new, lives) if new or lives else None

    append(log, objects, decide)
    _tell(log, objects, ledger)
    if not log.discarded:
        for shard in names.shards_in(objects.list(names.FAILED)):
            if shard in log.retried:  # its segment is there, so the tokens are in rows of their own
                objects.delete(failed_object(shard))
    brought = [entry.rows for entry in cut if entry.shard in log.entries]
    revived = sum(log.life(life.shard) != life for life in dead)
    return Retried(sum(brought), len(brought), revived, len(damaged))


def cancel(objects: Objects, ledger: JobLedger | None) -> bool:
    """Have nothing that waits computed; False where that was decided before.

    Raises:
        JobError: the log is damaged.
    """
    log, decided = Log(), False

    def decide(log: Log) -> Segment | None:
        nonlocal decided
        decided = decided or not log.stopped
        return None if log.stopped else Segment("cancel")

    append(log, objects, decide)
    _tell(log, objects, ledger)
    return decided


def discard(objects: Objects, ledger: JobLedger | None) -> None:
    """Delete a job's parts and all that waits; the log stays, so that no other job takes the directory for its own.

    Raises:
        JobError: the log is damaged.
    """
    log = Log()
    append(log, objects, lambda log: None if log.discarded else Segment("discard"))
    _tell(log, objects, ledger)
    sweep_discarded(objects)


def _tell(log: Log, objects: Objects, ledger: JobLedger | None) -> None:
    if ledger is not None:
        tell(log, objects, ledger)


def _cut_failed(log: Log, objects: Objects, failed_rows: FailedRows) -> list[Entry]:
    """Make durable the rows of a shard for each one with failed rows that were not brought yet."""
    finish_published(log, objects, failed_rows)
    cut = []
    for source in names.shards_in(objects.list(names.FAILED)):
        content = None if source in log.retried or source not in log.entries else objects.read(failed_object(source))
        if content is not None:
            spooled = make_retry(source, content)
            spool(objects, spooled)
            cut.append(spooled.entry)
    return cut


def _is_damaged(objects: Objects, shard: ShardId) -> bool:
    """Whether a shard's rows can't be used; rows that can't be seen may be sound."""
    rows = objects.read(rows_object(shard))
    try:
        return rows is not None and payload.decode_as(shard.hash, rows) is None
    except PayloadError:
        return True


def _refuse_stopped(log: Log, objects: Objects) -> None:
    if log.stopped:
        how = "discarded" if log.discarded else "cancelled; `unrolled enqueue` with the same options resumes it"
        raise JobError(f"{objects.store}: the job is {how}; nothing can be retried")
