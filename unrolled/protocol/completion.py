"""Whether a job is finished, as proved by objects that exist, never by objects that are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unrolled.job import names
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
    published: frozenset[ShardId] = field(repr=False)
    dead: frozenset[ShardId] = field(repr=False)
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
        JobError: a segment is damaged.
    """
    catch_up(log, objects)
    known, done = log.length, log.ended and not log.stopped
    published = frozenset(names.parts_in(objects.list(names.PARTS))) & log.entries.keys()
    lives = set(names.lives_in(objects.list(names.DEAD)))
    dead = frozenset(shard for shard in log.entries if shard not in published and log.life(shard) in lives)
    strays: frozenset[ShardId] = frozenset()
    if live:
        rows = names.shards_in(objects.list(names.ROWS))
        strays = frozenset(shard for shard in rows if shard not in log.entries and not shard.retries)
    if done and not strays and len(published) + len(dead) == len(log.entries):
        objects.sync(names.PARTS, names.DEAD)
        catch_up(log, objects)  # a shard may have been added meanwhile
        return Standing(known == log.length, published, dead, strays)
    return Standing(finished=False, published=published, dead=dead, strays=strays)
