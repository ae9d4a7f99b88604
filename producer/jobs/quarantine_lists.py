"""The rows that can't be computed: rows that the producer refused, and rows that a part names as failed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.errors import FileFormatError, counted
from unrolled.job import names
from unrolled.job.names import quarantine_object
from unrolled.protocol.listing import find
from unrolled.protocol.log import Log, catch_up
from unrolled.reading.outcome import read_outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.entries import Counts
    from unrolled.protocol.objects import Objects
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


def list_quarantine(job: OpenJob) -> Iterator[BadRowListed]:
    """Every row in quarantine, in the order of the log; the rows of one shard are in memory at a time.

    A row that failed and was retried is listed only if it failed again.

    Raises:
        JobError: the log is damaged.
        FileFormatError: a list or a part is damaged.
        TransientError: the store can't be read now.
    """
    log, objects = Log(), job.objects
    catch_up(log, objects)
    kept = find(log, objects, names.FAILED).marks | find(log, objects, names.ROWS).marks
    for number, is_kept in enumerate(kept):
        entry = log.entries.at(number)
        shard = entry.shard
        yield from refused_rows(objects, entry)
        if is_kept and shard not in log.retried and (info := read_outcome(objects, shard)) is not None:
            for failed in info.failed:
                yield BadRowListed(None, None, shard, failed.row, failed.id, failed.reason)


def refused_rows(objects: Objects, entry: Entry | Counts) -> Iterator[BadRowListed]:
    """The rows of a shard that the producer refused.

    Raises:
        FileFormatError: the list is damaged.
    """
    if entry.quarantined:
        for number, line in _lines(objects, entry.shard):
            yield _listed(objects, entry.shard, number, line)


def count_quarantine(objects: Objects, entry: Entry | Counts) -> tuple[int, list[str]]:
    """The number of a shard's rows that the producer listed, and the problems with the list."""
    try:
        count = sum(1 for _ in _lines(objects, entry.shard)) if entry.quarantined else 0
    except FileFormatError as error:
        return 0, [str(error)]
    if count != entry.quarantined:
        return count, [f"lists {counted(count, 'row')}, the log says {entry.quarantined}"]
    return count, []


def _listed(objects: Objects, shard: ShardId, number: int, line: dict[str, Any]) -> BadRowListed:
    try:
        return BadRowListed(line["file"], line["position"], shard, None, line["id"], str(line["reason"]))
    except KeyError as error:
        raise _damaged(objects, shard, number, f"{error} is missing") from error


def _lines(objects: Objects, shard: ShardId) -> Iterator[tuple[int, dict[str, Any]]]:
    content = objects.read(quarantine_object(shard)) or b""
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _damaged(objects, shard, number, str(error)) from error
        if not isinstance(line, dict):
            raise _damaged(objects, shard, number, f"{line!r:.80} is no object")
        yield number, line


def _damaged(objects: Objects, shard: ShardId, number: int, why: str) -> FileFormatError:
    name = quarantine_object(shard)
    return FileFormatError(f"{objects.store}/{name}, line {number}: {why}; the list is damaged: restore it from a copy")
