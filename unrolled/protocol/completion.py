"""Whether a job is finished, as proved by objects that exist, never by objects that are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unrolled.job import names
from unrolled.protocol.entries import ShardSet
from unrolled.protocol.gaps import refuse_gap
from unrolled.protocol.listing import find, find_dead
from unrolled.protocol.log import catch_up

if TYPE_CHECKING:
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a job's shards.

    Attributes:
        finished: every shard of the job has its part or is dead, and no other shard can be added.
        published: shards that have their part.
        dead: shards without a part whose present life was given up.
        strays: shards of a live input whose rows exist and that no segment names yet; the next live run adopts them.
    """

    finished: bool
    published: ShardSet = field(repr=False)
    dead: ShardSet = field(repr=False)
    strays: frozenset[ShardId] = field(repr=False)

    @property
    def complete(self) -> bool:
        """Whether every shard has its part, and no other shard can be added."""
        return self.finished and not self.dead


def standing(log: Log, objects: Objects, *, live: bool) -> Standing:
    """Find the state of a job's shards.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        live: whether the job's input can't be read again.

    Raises:
        JobError: a segment is damaged; or the job would be finished but for a segment that is missing.
    """
    catch_up(log, objects)
    parts = find(log, objects, names.PARTS).marks
    dead = find_dead(log, objects) & ~parts
    strays = find(log, objects, names.ROWS).strays if live else frozenset()
    known, finished = log.length, False
    if log.ended and not log.stopped and not strays and (parts | dead).all():
        objects.sync(names.PARTS, names.DEAD)
        refuse_gap(log, objects)  # reads the log again: a shard may have been added meanwhile
        finished = log.length == known
    return Standing(finished, ShardSet(log.entries, parts), ShardSet(log.entries, dead), strays)
