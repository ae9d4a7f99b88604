"""Segments that are missing from a log. No process makes such a gap: somebody has deleted or lost files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import JobError, TransientError
from unrolled.job import names
from unrolled.job.names import segment_name
from unrolled.protocol.log import catch_up

if TYPE_CHECKING:
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

#: What is wrong with a segment that is missing, and what to do.
LOST_SEGMENT = (
    "isn't there, but later segments of the log are; restore it from a copy, or else use a new output directory, and "
    "`unrolled discard` for this one"
)


def missing_segment(log: Log, objects: Objects, *, by_chapters: bool = True) -> str | None:
    """Name of the first segment that doesn't exist although a later one does; None if there is none.

    Args:
        log: the job's log; it is read to its end, or to the gap.
        objects: the job's objects.
        by_chapters: see `catch_up`; a chapter stands in for segments that are missing.

    Raises:
        JobError: a segment is damaged.
        TransientError: a segment that exists can't be seen yet.
    """

    def look() -> bool:
        listed = _listed(objects)
        catch_up(log, objects, by_chapters=by_chapters)  # segments may have been added before the folder was listed
        if log.length in listed:
            raise TransientError(f"{objects.store}/{segment_name(log.length)} exists, and can't be seen yet")
        return max(listed, default=-1) > log.length

    # A folder that was listed while two segments were created may show the later one alone, so a second look decides.
    is_gap = all(objects.steadily(f"read {names.LOG}", look) for _ in range(2))
    return segment_name(log.length) if is_gap else None


def _listed(objects: Objects) -> set[int]:
    """Numbers of the segments in the folder. Files of other names, such as copies of a user's, are none."""
    found = {name: name.rpartition("/")[2].removesuffix(".jsonl") for name in objects.list(names.LOG)}
    numbers = {name: int(digits) for name, digits in found.items() if digits.isascii() and digits.isdecimal()}
    return {number for name, number in numbers.items() if name == segment_name(number)}


def refuse_gap(log: Log, objects: Objects) -> None:
    """Read a log to its end, and refuse one with a gap: the job has shards that a reader would never hear of.

    A new segment would fill the gap, and what was in it would be forgotten.

    Args:
        log: the job's log.
        objects: the job's objects.

    Raises:
        JobError: a segment is missing or damaged.
        TransientError: a segment that exists can't be seen yet.
    """
    missing = missing_segment(log, objects)
    if missing is not None and not log.discarded:  # a discarded job has no shard any more
        raise JobError(f"{objects.store}/{missing}: {LOST_SEGMENT}")
