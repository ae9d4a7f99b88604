"""A job's log: every decision about the job, in numbered segments that are created once and never changed.

Every process reads the same first n segments, so no lock is needed. To make a decision, a process reads the whole log
and creates the segment with the next number. If that number is taken, it reads the segment and decides again.
"""

# Over 150 lines: the state of a log, its readers and its writer.

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from unrolled.errors import JobError
from unrolled.job import names
from unrolled.job.names import Life, segment_name
from unrolled.job.segment import Segment
from unrolled.protocol.entries import Entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.entries import Inputs
    from unrolled.protocol.objects import Objects

    #: Returns the segment to add to a log; None if nothing is left to add.
    Decide = Callable[["Log"], Segment | None]


class Log:
    """The state that follows from the segments read so far.

    Attributes:
        length: number of segments read.
        entries: every shard of the job, retries included, in the order of the log.
        retried: shards whose failed rows were retried: source → the shard that has those rows.
        ended: whether the input was read to its end.
        cancelled: whether the waiting shards must not be computed.
        discarded: whether the job was discarded, so that none of its objects counts any more.
        run: in a live job, the run whose turn it is to read; empty before the first run.
    """

    def __init__(self) -> None:
        self.length = 0
        self.entries = Entries()
        self.retried: dict[ShardId, ShardId] = {}
        self.ended = self.cancelled = self.discarded = False
        self.run = ""
        self._lives: dict[ShardId, int] = {}
        self._entries_before = array("Q", [0])  # number of entries before each segment, and after the last one
        self._lives_of: dict[int, tuple[Life, ...]] = {}

    def apply(self, segment: Segment) -> None:
        """Apply the next segment. An entry that the log already has, as two runs at once may write, adds nothing."""
        for entry in segment.entries:
            if self.entries.add(entry) and entry.source is not None:
                self.retried[entry.source] = entry.shard
        for life in segment.lives:
            self._lives[life.shard] = life.number
        if segment.lives:
            self._lives_of[self.length] = segment.lives
        self._entries_before.append(len(self.entries))
        self.length += 1
        match segment.kind:
            case "begin":
                self.run, self.cancelled, self.ended = segment.run, False, False
            case "end":
                self.ended = True
            case "cancel" | "resume":
                self.cancelled = segment.kind == "cancel"
            case "discard":
                self.discarded = True

    @property
    def inputs(self) -> Inputs:
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
        started = [
            *(Life(self.entries.shard(place), 0) for place in range(first, end)),
            *self._lives_of.get(number, ()),
        ]
        return [life for life in started if self.life(life.shard) == life]


def catch_up(log: Log, objects: Objects) -> None:
    """Read the new segments.

    Raises:
        JobError: a segment is damaged.
    """
    known = log.length
    while (segment := _read_segment(objects, log.length)) is not None:
        log.apply(segment)
    if log.length > known:
        objects.sync(names.LOG)  # no decision may outlast the segments that it is based on


def append(log: Log, objects: Objects, decide: Decide) -> None:
    """Add segments to the log for as long as `decide` returns one.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        decide: called again after each segment, whether this process or another one has created it.

    Raises:
        JobError: a segment is damaged.
    """
    catch_up(log, objects)
    while (segment := decide(log)) is not None:
        name = segment_name(log.length)
        log.apply(Segment.decode(name, objects.settle(name, segment.encode())))


def read_entries(log: Log, objects: Objects) -> Iterator[Entry]:
    """The whole entry of each shard, in order; the log's segments are read again.

    Args:
        log: the log, as far as its shards are wanted.
        objects: the job's objects.

    Raises:
        JobError: a segment is damaged or gone.
    """
    number = 0
    for place in range(log.length):
        if (segment := _read_segment(objects, place)) is None:
            raise JobError(f"{objects.store}/{segment_name(place)}: isn't there; restore it from a copy")
        for entry in segment.entries:
            if number < len(log.entries) and entry.shard == log.entries.shard(number):
                number += 1
                yield entry


def _read_segment(objects: Objects, number: int) -> Segment | None:
    name = segment_name(number)
    content = objects.read(name)
    return None if content is None else Segment.decode(name, content)
