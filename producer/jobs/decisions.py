"""People's decisions about a job: retry, cancel and discard.

Each decision is a segment of the job's log, and then its consequences. It is safe to repeat a decision, and for two
processes to make it at once.
"""

# Over 150 lines: the three decisions share how a segment is made, appended and carried out.

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.jobs.whole_rows import called_failed, remedy
from unrolled.errors import FileFormatError, JobError, PayloadError, TransientError, UnrolledError
from unrolled.job import names, payload
from unrolled.job.names import Life, failed_object, part_object, rows_object
from unrolled.job.segment import MOST_ENTRIES, Segment
from unrolled.protocol.finishing import finish_published, sweep_discarded
from unrolled.protocol.gaps import refuse_gap
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log, append
from unrolled.protocol.restored import replace_longer
from unrolled.protocol.spooling import make_retry, spool
from unrolled.reading.outcome import failed_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.finishing import FailedRows
    from unrolled.protocol.ledger_update import JobLedger
    from unrolled.protocol.objects import Objects

    #: Returns the ids of the rows that a shard's part names as failed; None where no part can be seen.
    FailedIds = Callable[[Objects, ShardId], Sequence[str] | None]

_UNTIL_RESUMED = " before the same `unrolled run` or `unrolled enqueue` resumes it"
_NO_PART = (
    "{} isn't there, so the rows in {} aren't retried: first make it again, with the same `unrolled run` or `unrolled "
    "enqueue`, or restore it from a copy"
)


@dataclass(frozen=True, slots=True)
class Retried:
    """The result of `retry`.

    Attributes:
        rows: number of failed rows that are in new shards now.
        shards: number of these new shards.
        dead: number of dead shards that got another life.
        damaged: number of dead shards that got none, because their rows are damaged.
    """

    rows: int
    shards: int
    dead: int
    damaged: int


def retry(
    objects: Objects,
    ledger: JobLedger | None,
    failed_rows: FailedRows,
    *,
    failed: bool,
    ids_of_failed: FailedIds = failed_ids,
) -> Retried:
    """Give dead shards another life, and put failed rows into new shards; no published object changes.

    Args:
        objects: the job's objects.
        ledger: the ledger of the job's offer; None to leave its update to the next process that looks after the job.
        failed_rows: reads the failed rows of a part.
        failed: whether to retry failed rows too, and not only dead shards.
        ids_of_failed: reads the ids of the failed rows of a part.

    Raises:
        JobError: the job is cancelled or discarded, or its log is damaged or has a gap; or a part is missing, or a part
            or failed rows are damaged: then all others are retried.
    """
    # Over 40 lines: one decision: what is made durable, decided and deleted, in this order.
    log, troubles = Log(), list[UnrolledError]()
    refuse_gap(log, objects)
    _refuse_stopped(log, objects)
    if ledger is not None:
        replace_longer(log, objects, ledger)
    cut = _cut_failed(log, objects, failed_rows, ids_of_failed, troubles) if failed else []
    dead = [
        life
        for life in names.lives_in(objects.list(names.DEAD))
        if life.shard in log.entries and log.life(life.shard) == life and not objects.exists(part_object(life.shard))
    ]
    damaged = [life for life in dead if has_damaged_rows(objects, life.shard)]
    dead = [life for life in dead if life not in damaged]  # the next life would also be given up

    def decide(log: Log) -> Segment | None:
        _refuse_stopped(log, objects)
        new = tuple(entry for entry in cut if entry.source not in log.retried)[:MOST_ENTRIES]
        lives = tuple(Life(life.shard, life.number + 1) for life in dead if log.life(life.shard) == life)
        lives = lives[: MOST_ENTRIES - len(new)]
        return Segment("retry", new, lives) if new or lives else None

    append(log, objects, decide)
    _update_ledger(log, objects, ledger)
    if not log.discarded:
        for shard in names.shards_in(objects.list(names.FAILED)):
            if shard in log.retried:  # the segment exists, so the tokens are in the rows of the new shard
                objects.delete(failed_object(shard))
    if troubles:
        raise JobError(f"{objects.store}: {troubles[0]}; everything else was retried") from troubles[0]
    brought = [entry.rows for entry in cut if entry.shard in log.entries]
    revived = sum(log.life(life.shard) != life for life in dead)
    return Retried(sum(brought), len(brought), revived, len(damaged))


def cancel(objects: Objects, ledger: JobLedger | None) -> bool:
    """Stop the computation of waiting shards; False if that was decided before.

    Raises:
        JobError: the log is damaged, or has a gap.
    """
    log, decided = Log(), False

    def decide(log: Log) -> Segment | None:
        nonlocal decided
        decided = decided or not log.stopped
        return None if log.stopped else Segment("cancel")

    refuse_gap(log, objects)
    append(log, objects, decide)
    _update_ledger(log, objects, ledger)
    return decided


def discard(objects: Objects, ledger: JobLedger | None) -> None:
    """Delete a job's parts and waiting shards. The log stays, so that no other job can use the directory.

    Raises:
        JobError: the log is damaged.
        TransientError: the job can't be discarded, or is discarded and something of it can't be deleted; the text
            says which.
    """
    log = Log()
    append(log, objects, lambda log: None if log.discarded else Segment("discard"))
    _update_ledger(log, objects, ledger)
    with still_discarded():
        sweep_discarded(objects)


@contextmanager
def still_discarded() -> Iterator[None]:
    """Add to an error that a job is discarded all the same.

    Raises:
        TransientError: something of it can't be deleted.
    """
    try:
        yield
    except TransientError as error:
        raise TransientError(
            f"{error}. The job is discarded; the same discard again deletes what is left of it"
        ) from error


def _update_ledger(log: Log, objects: Objects, ledger: JobLedger | None) -> None:
    if ledger is not None:
        update_ledger(log, objects, ledger)


def _cut_failed(
    log: Log, objects: Objects, failed_rows: FailedRows, ids_of_failed: FailedIds, troubles: list[UnrolledError]
) -> list[Entry]:
    """Make new shards of failed rows durable: one for each shard whose failed rows weren't retried yet.

    The part says which these are. One that was removed and made again may call others so than its list has. While there
    is none, nothing is retried: the part couldn't be made again after that, because some rows would be in two shards.
    """
    try:
        finish_published(log, objects, failed_rows)
    except (PayloadError, FileFormatError) as error:
        troubles.append(error)
    cut = []
    for source in names.shards_in(objects.list(names.FAILED)):
        content = None if source in log.retried or source not in log.entries else objects.read(failed_object(source))
        if content is None:
            continue
        try:
            ids = ids_of_failed(objects, source)
            if ids is None:
                troubles.append(JobError(_NO_PART.format(part_object(source), failed_object(source))))
            if not ids:
                continue
            spooled = make_retry(source, called_failed(content, ids))
        except FileFormatError as error:
            troubles.append(error)
            continue
        except PayloadError as error:
            troubles.append(PayloadError(f"{failed_object(source)}: {error}; {remedy(source)}"))
            continue
        spool(objects, spooled)
        cut.append(spooled.entry)
    return cut


def has_damaged_rows(objects: Objects, shard: ShardId) -> bool:
    """Whether a shard's rows are damaged; rows that can't be seen may be sound."""
    rows = objects.read(rows_object(shard))
    try:
        return rows is not None and payload.decode_as(shard.hash, rows) is None
    except PayloadError:
        return True


def _refuse_stopped(log: Log, objects: Objects) -> None:
    if log.stopped:
        what, until = ("discarded", "") if log.discarded else ("cancelled", _UNTIL_RESUMED)
        raise JobError(f"{objects.store}: the job is {what}; nothing can be retried{until}")
