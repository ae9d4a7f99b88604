"""A job's log: every decision about the job, in numbered segments that are created once and never changed.

Every process reads the same first n segments, so no lock is needed. To make a decision, a process reads the whole log
and creates the segment with the next number. If that number is taken, it reads the segment and decides again.
"""

# Over 150 lines: the state of a log, its readers and its writer.

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import JobError
from unrolled.job import names
from unrolled.job.names import Life, segment_name
from unrolled.job.segment import Segment
from unrolled.job.shard_keys import FIRST_RETRY, key_of, shard_of
from unrolled.protocol.chapter import Chapter
from unrolled.protocol.chapters import read_chapter, write_chapters
from unrolled.protocol.entries import Entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.job.inputs import Inputs
    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.entries import Inputs as InputShards
    from unrolled.protocol.objects import Objects

    #: Returns the segment to add to a log; None if nothing is left to add.
    Decide = Callable[["Log"], Segment | None]


class Log:
    """The state that follows from the segments read so far.

    Attributes:
        length: number of segments read.
        durable: number of these, counted from the first one, that are known to be durable.
        entries: every shard of the job, retries included, in the order of the log.
        retried: shards whose failed rows were retried: source → the shard that has those rows.
        ended: whether the input was read to its end.
        growths: for each `append`, how many shards were cut from the input before it.
        grown_from: how many shards were cut before the last `append` that found an end: later ones, if the input didn't
            end between them, belong to what that one added.
        grown_to: the inputs since the last `append`; None before the first, while those of `job.json` count.
        cancelled: whether the waiting shards must not be computed.
        cancels: how many times the job was cancelled.
        discarded: whether the job was discarded, so that none of its objects counts any more.
        run: in a live job, the run whose turn it is to read; empty before the first run.
        chapters: number of chapters, counted from the first one, that are known to exist.
    """

    def __init__(self) -> None:
        self.length = self.durable = self.chapters = 0
        self.entries = Entries()
        self.retried: dict[ShardId, ShardId] = {}
        self.ended = self.cancelled = self.discarded = False
        self.growths: list[int] = []
        self.grown_from = self.cancels = 0
        self.grown_to: Inputs | None = None
        self.run = ""
        self._lives: dict[ShardId, int] = {}
        self._entries_before = array("Q", [0])  # number of entries before each segment, and after the last one
        self._sources = array("Q")  # for each retry, the hash of its source
        self._decisions: dict[int, Segment] = {}  # the segments that do more than add shards, without their shards

    def apply(self, segment: Segment) -> None:
        """Apply the next segment. An entry that the log already has, as two runs at once may write, adds nothing."""
        for entry in segment.entries:
            if self.entries.add(entry) and entry.source is not None:
                self.retried[entry.source] = entry.shard
                self._sources.append(key_of(entry.source)[1])
        self._entries_before.append(len(self.entries))
        if segment.kind != "shards":
            self._decide(self.length, replace(segment, entries=()))
        self.length += 1

    def apply_chapter(self, chapter: Chapter) -> None:
        """Apply all segments of the next chapter."""
        known = len(self.entries)
        self.entries.extend(chapter.columns)
        is_retry = chapter.columns["hash"] >= FIRST_RETRY
        for place, source in zip(np.flatnonzero(is_retry).tolist(), chapter.sources.tolist(), strict=True):
            shard = self.entries.shard(known + place)
            self.retried[shard_of(shard.index, source)] = shard
            self._sources.append(source)
        self._entries_before.extend((known + np.cumsum(chapter.added, dtype=np.uint64)).tolist())
        for number, segment in sorted(chapter.decisions.items()):
            self._decide(number, segment)
        if self.length == self.chapters * len(chapter.added):
            self.chapters += 1
        self.length += len(chapter.added)

    def _decide(self, number: int, segment: Segment) -> None:
        self._decisions[number] = segment
        for life in segment.lives:
            self._lives[life.shard] = life.number
        match segment.kind:
            case "begin":
                self.run, self.cancelled, self.ended = segment.run, False, False
            case "append":
                before = self.entries.columns["hash"][: self._entries_before[number]]
                self.growths.append(int(np.count_nonzero(before < FIRST_RETRY)))
                if self.ended or len(self.growths) == 1:
                    self.grown_from = self.growths[-1]
                self.grown_to, self.ended = segment.inputs, False
            case "end":
                self.ended = True
            case "cancel" | "resume":
                self.cancelled = segment.kind == "cancel"
                self.cancels += self.cancelled
            case "discard":
                self.discarded = True

    def chapter(self, start: int, stop: int, last: str) -> Chapter:
        """The chapter of the segments `[start:stop]`, given the SHA-256 of the last one."""
        before = np.array(self._entries_before[start : stop + 1])
        retries = np.count_nonzero(self.entries.columns["hash"][: before[-1]] >= FIRST_RETRY)
        columns = self.entries.columns[before[0] : before[-1]]
        own = np.count_nonzero(columns["hash"] >= FIRST_RETRY)
        decisions = {number: self._decisions[number] for number in range(start, stop) if number in self._decisions}
        return Chapter(
            start,
            last,
            np.diff(before).astype(np.uint32),
            np.array(self._sources[retries - own : retries], np.uint64),
            columns,
            decisions,
        )

    @property
    def inputs(self) -> InputShards:
        """The shards that were cut from the input, in order."""
        return self.entries.inputs

    @property
    def stopped(self) -> bool:
        """Whether the job was cancelled or discarded, so that no waiting shard must be computed."""
        return self.cancelled or self.discarded

    def life(self, shard: ShardId) -> Life:
        """The present life of a shard."""
        return Life(shard, self._lives.get(shard, 0))

    def started(self, number: int) -> list[Life]:
        """The lives that a segment starts and that no later segment has ended."""
        first, end = self._entries_before[number : number + 2]
        started = [Life(self.entries.shard(place), 0) for place in range(first, end)]
        if number in self._decisions:
            started += self._decisions[number].lives
        return [life for life in started if self.life(life.shard) == life]

    def added_by(self, number: int) -> tuple[int, int]:
        """The number of the segment that added a shard, given by its number, and that of the segment's first shard."""
        place = bisect_right(self._entries_before, number) - 1
        return place, self._entries_before[place]


def catch_up(log: Log, objects: Objects, *, by_chapters: bool = True) -> None:
    """Read the new segments.

    Args:
        log: the job's log as far as it was read.
        objects: the job's objects.
        by_chapters: whether chapters may stand in for their segments.

    Raises:
        JobError: a segment is damaged.
    """
    while True:
        if by_chapters and (chapter := read_chapter(log, objects)) is not None:
            log.apply_chapter(chapter)
        elif (segment := _read_segment(objects, log.length)) is not None:
            log.apply(segment)
        else:
            break
    if log.length > log.durable:
        objects.sync(names.LOG)  # no decision may outlast the segments that it is based on
        log.durable = log.length


def append(log: Log, objects: Objects, decide: Decide, *, look: bool = True) -> None:
    """Add segments to the log for as long as `decide` returns one.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        decide: called again after each segment, whether this process or another one has created it.
        look: whether to read new segments before the first decision. Without that, a decision to add something is as
            safe, because only a log that was read to its end can get the next number; a decision to add nothing is one
            about the segments that were read before.

    Raises:
        JobError: a segment is damaged.
    """
    if look:
        catch_up(log, objects)
    write_chapters(log, objects)
    while (segment := decide(log)) is not None:
        name = segment_name(log.length)
        log.apply(Segment.decode(f"{objects.store}/{name}", objects.settle(name, segment.encode())))
        log.durable = log.length
        write_chapters(log, objects)


def read_entries(log: Log, objects: Objects, since: int = 0) -> Iterator[Entry]:
    """The whole entry of each shard, in order; the log's segments are read again.

    Args:
        log: the log, as far as its shards are wanted.
        objects: the job's objects.
        since: number of the first shard that is wanted.

    Raises:
        JobError: a segment is damaged or gone, or the log was read by a chapter that contradicts its segments.
    """
    first, number = log.added_by(since)
    for place in range(first, log.length):
        if (segment := _read_segment(objects, place)) is None:
            raise JobError(f"{objects.store}/{segment_name(place)}: isn't there; restore it from a copy")
        for entry in segment.entries:
            if number < len(log.entries) and entry.shard == log.entries.shard(number):
                number += 1
                if number > since:
                    yield entry
    if number < len(log.entries):
        raise JobError(f"{objects.store}/{names.CHAPTERS} contradicts the log's segments; `unrolled verify` says where")


def _read_segment(objects: Objects, number: int) -> Segment | None:
    name = segment_name(number)
    content = objects.read(name)
    return None if content is None else Segment.decode(f"{objects.store}/{name}", content)
