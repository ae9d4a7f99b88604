"""Reading a long log quickly: the chapters of a log, made from its segments by the processes that add to it.

The segments are the truth. A chapter is created once, after its segments are durable, and any process would give it
the same bytes. It is believed only whole, with its own digest, and if the last of its segments is the one in the log;
otherwise, or if there is none, the segments are read. `unrolled verify` compares chapters with all of their segments.
Only processes that add to a log create its chapters, because others may not be allowed to write.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

from unrolled.errors import JobError, TransientError
from unrolled.job.names import chapter_name, segment_name
from unrolled.protocol.chapter import Chapter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

#: Segments of a chapter.
SEGMENTS = 1_000


def read_chapter(log: Log, objects: Objects) -> Chapter | None:
    """The chapter that begins where a log ends; None if there is none, or none that can be believed."""
    if log.length % SEGMENTS:
        return None
    name = chapter_name(log.length // SEGMENTS)
    if (content := objects.read(name)) is None:
        return None
    with contextlib.suppress(JobError):
        chapter = Chapter.decode(name, content)
        fits = chapter.first == log.length and len(chapter.added) == SEGMENTS
        if fits and chapter.last == _last(objects, log.length + SEGMENTS):
            return chapter
    return None


def write_chapters(log: Log, objects: Objects) -> None:
    """Create those chapters of a log that are missing, and whose segments are durable."""
    with contextlib.suppress(TransientError):  # no command fails because of a chapter
        _write_chapters(log, objects)


def _write_chapters(log: Log, objects: Objects) -> None:
    while (end := (log.chapters + 1) * SEGMENTS) <= log.durable:
        name = chapter_name(log.chapters)
        if not objects.exists(name) and (last := _last(objects, end)) is not None:
            objects.create(name, log.chapter(end - SEGMENTS, end, last).encode())
        log.chapters += 1


def false_chapters(log: Log, objects: Objects, listed: Iterable[str]) -> Iterator[str]:
    """The names of those chapters that contradict a log's segments.

    Args:
        log: the job's log, read by its segments.
        objects: the job's objects.
        listed: the names of its chapters, listed before the log was read.
    """
    ends = {chapter_name(number): (number + 1) * SEGMENTS for number in range(log.length // SEGMENTS)}
    for name in listed:
        content = None
        if (end := ends.get(name)) is not None and (last := _last(objects, end)) is not None:
            content = log.chapter(end - SEGMENTS, end, last).encode()
        if objects.read(name) != content:
            yield name


def lone_chapters(log: Log, objects: Objects, listed: Iterable[str]) -> Iterator[str]:
    """The names of those chapters that repeat segments after a log's end or its gap: somebody has deleted these.

    The arguments are those of `false_chapters`.
    """
    for name in listed:
        with contextlib.suppress(JobError):
            content = objects.read(name)
            if content is not None and Chapter.decode(name, content).first + SEGMENTS > log.length:
                yield name


def _last(objects: Objects, end: int) -> str | None:
    """The digest of the last segment before a number."""
    content = objects.read(segment_name(end - 1))
    return None if content is None else hashlib.sha256(content).hexdigest()
