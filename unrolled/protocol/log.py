"""A job's log: every decision about the job, in numbered segments that are created once and never changed.

The first n segments say the same to everybody, so no lock is needed: who wants to decide something reads all that was
decided, and creates the next number; who finds the number taken reads what is there, and decides again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.job import names
from unrolled.job.names import Life, segment_name
from unrolled.job.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.objects import Objects

    #: What to add, after all that a log says; None where nothing is left to add.
    Decide = Callable[["Log"], Segment | None]


class Log:
    """What the segments read so far say.

    Attributes:
        length: how many segments were read.
        entries: every shard of the job, retries included, in the order of the log.
        inputs: those that were cut from the input, in order.
        retried: shards whose failed rows were brought again: source → the shard that has them.
        ended: whether the input was read to its end.
        cancelled: whether what waits is not to be computed.
        discarded: whether nothing of the job counts any more.
        run: of a live job, the run whose turn it is to read; empty before the first.
    """

    def __init__(self) -> None:
        self.length = 0
        self.entries: dict[ShardId, Entry] = {}
        self.inputs: list[ShardId] = []
        self.retried: dict[ShardId, ShardId] = {}
        self.ended = self.cancelled = self.discarded = False
        self.run = ""
        self._lives: dict[ShardId, int] = {}
        self._started: list[tuple[tuple[ShardId, ...], tuple[Life, ...]]] = []

    def apply(self, segment: Segment) -> None:
        """Take the next segment in. One that repeats an entry, as two runs at once may, adds nothing by it."""
        self.length += 1
        first = []
        for entry in segment.entries:
            if entry.shard not in self.entries:
                self.entries[entry.shard] = entry
                first.append(entry.shard)
                if entry.source is None:
                    self.inputs.append(entry.shard)
                else:
                    self.retried[entry.source] = entry.shard
        for life in segment.lives:
            self._lives[life.shard] = life.number
        self._started.append((tuple(first), segment.lives))
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
    def stopped(self) -> bool:
        """Whether nothing that waits is to be computed."""
        return self.cancelled or self.discarded

    def life(self, shard: ShardId) -> Life:
        """The present life of a shard."""
        return Life(shard, self._lives.get(shard, 0))

    def started(self, number: int) -> list[Life]:
        """The lives that a segment starts, and no later one has ended."""
        shards, lives = self._started[number]
        started = [*(Life(shard, 0) for shard in shards), *lives]
        return [life for life in started if self.life(life.shard) == life]


def catch_up(log: Log, objects: Objects) -> None:
    """Read the segments that are new.

    Raises:
        JobError: one is damaged.
    """
    known = log.length
    while (content := objects.read(name := segment_name(log.length))) is not None:
        log.apply(Segment.decode(name, content))
    if log.length > known:
        objects.sync(names.LOG)  # what is decided on them must not outlast them


def append(log: Log, objects: Objects, decide: Decide) -> None:
    """Add to the log what `decide` makes of all that it says.

    Args:
        log: read further, to the end.
        objects: of the job.
        decide: asked again whenever another was quicker.

    Raises:
        JobError: a segment is damaged.
    """
    catch_up(log, objects)
    while (segment := decide(log)) is not None:
        name = segment_name(log.length)
        log.apply(Segment.decode(name, objects.settle(name, segment.encode())))
