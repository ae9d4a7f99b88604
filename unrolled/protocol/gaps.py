"""Segments that are missing from a log. No process makes such a gap: somebody has deleted or lost files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import JobError
from unrolled.job import names
from unrolled.job.names import segment_name
from unrolled.protocol.log import Log, catch_up

if TYPE_CHECKING:
    from unrolled.protocol.objects import Objects


def missing_segment(log: Log, objects: Objects, *, by_chapters: bool = True) -> str | None:
    """Name of the first segment that doesn't exist although a later one does; None if there is none.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        by_chapters: see `catch_up`; a chapter stands in for segments that are missing.

    Raises:
        JobError: a segment is damaged.
    """
    last = _last_listed(objects)
    catch_up(log, objects, by_chapters=by_chapters)  # segments may have been added before the folder was listed
    return segment_name(log.length) if last >= log.length else None


def _last_listed(objects: Objects) -> int:
    """Number of the last segment that exists; -1 if there is none."""
    listed = [name.rpartition("/")[2].removesuffix(".jsonl") for name in objects.list(names.LOG)]
    return max((int(number) for number in listed if number.isascii() and number.isdecimal()), default=-1)


def refuse_gap(objects: Objects, known: int | None = None) -> None:
    """Refuse a log with a gap: a new segment would come before older ones, and what they named would be forgotten.

    Args:
        objects: the job's objects.
        known: how many segments the caller has read; unless a later one exists, nothing is read again. The caller's
            log stays as it is, for what was concluded from it must not grow older than it.

    Raises:
        JobError: a segment is missing or damaged.
        TransientError: the store can't be read now.
    """
    if known is not None and _last_listed(objects) < known:
        return
    missing = missing_segment(Log(), objects)
    if missing is not None:
        raise JobError(
            f"{objects.store}/{missing}: isn't there, but later segments of the log are; restore it from a copy, or use"
            " a new output directory"
        )
