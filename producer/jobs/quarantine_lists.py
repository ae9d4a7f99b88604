"""The rows that can't be computed: rows that the producer refused, and rows that a part names as failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from producer.jobs.damage import explain_damage, explain_lost_list
from unrolled.errors import FileFormatError, PayloadError, counted
from unrolled.job import names
from unrolled.job.bad_rows import decode_bad_rows
from unrolled.job.names import quarantine_object
from unrolled.protocol.discarded import refuse_discarded
from unrolled.protocol.listing import find
from unrolled.protocol.log import Log, catch_up
from unrolled.reading.outcome import read_outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.entries import Counts
    from unrolled.protocol.opening import OpenJob


@dataclass(frozen=True, slots=True)
class BadRowListed:
    """One row in quarantine.

    Attributes:
        file: the input's name; None for a row that the engine failed on.
        position: row number within that file, from 0; None for a row that the engine failed on.
        shard: the row's shard.
        row: for a row that the engine failed on, its number among the shard's rows, from 0; otherwise None.
        id: the row's id; None if it has none.
        reason: why it can't be computed.
    """

    file: str | None
    position: int | None
    shard: ShardId
    row: int | None
    id: str | None
    reason: str


def list_quarantine(job: OpenJob, on_damage: Callable[[str], None]) -> Iterator[BadRowListed]:
    """Every row in quarantine, in the order of the log; the rows of one shard are in memory at a time.

    A row that failed and was retried is listed only if it failed again.

    Args:
        job: the job.
        on_damage: called with what is wrong with each list that is missing or damaged, and with each damaged part;
            their rows are left out.

    Raises:
        JobError: the log is damaged, or the job was discarded.
        TransientError: the store can't be read now.
    """
    log, objects = Log(), job.objects
    catch_up(log, objects)
    refuse_discarded(job.place, log)
    kept = find(log, objects, names.FAILED).marks | find(log, objects, names.ROWS).marks
    for number, is_kept in enumerate(kept):
        entry = log.entries.at(number)
        shard = entry.shard
        try:
            yield from refused_rows(job, entry)
        except FileFormatError as error:
            on_damage(str(error))
        try:
            info = read_outcome(objects, shard) if is_kept and shard not in log.retried else None
        except FileFormatError as error:
            on_damage(explain_damage(job, log, shard, str(error)))
            continue
        for failed in info.failed if info else ():
            yield BadRowListed(None, None, shard, failed.row, failed.id, failed.reason)


def refused_rows(job: OpenJob, entry: Entry | Counts) -> list[BadRowListed]:
    """The rows of a shard that the producer refused.

    Raises:
        FileFormatError: the list is missing or damaged.
    """
    if not entry.quarantined:
        return []
    name = quarantine_object(entry.shard)
    content = job.objects.read(name)
    try:
        rows = _checked(job, entry, content)
    except PayloadError as error:
        why = explain_lost_list(job, str(error), is_missing=content is None)
        raise FileFormatError(f"{job.place}/{name}: {why}") from error
    return [
        BadRowListed(row["file"], row["position"], entry.shard, None, row["id"], str(row["reason"])) for row in rows
    ]


def _checked(job: OpenJob, entry: Entry | Counts, content: bytes | None) -> list[dict[str, Any]]:
    if content is None:
        raise PayloadError("it is missing")
    rows = decode_bad_rows(job.job.id, entry.shard.index, content)
    if len(rows) != entry.quarantined:
        raise PayloadError(f"it lists {counted(len(rows), 'row')}, the log says {entry.quarantined}")
    return rows
