"""Which shards of a job have their part, kept from look to look: a look costs what has changed and what still waits.

A part is never deleted, except by a discard, and a shard's rows are deleted once its part exists. So a look lists
the rows that wait, and asks for the parts of those shards alone whose rows are gone. All parts are listed only where
that is cheaper, and before a job is called finished.
"""

# Over 150 lines: one look is a few steps, each of which changes what the next one starts from.

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from unrolled.job import names
from unrolled.job.names import part_object
from unrolled.protocol.completion import standing
from unrolled.protocol.log import catch_up

if TYPE_CHECKING:
    from collections.abc import Iterable, KeysView

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

#: Shards whose rows exist and whose part is asked for too, because a process may have died between the two.
FEW = 32
#: Listing all parts costs as much as asking for this share of them.
LISTING = 1 / 100


@dataclass(slots=True)
class Sums:
    """Sums over some shards of a job.

    Attributes:
        rows: number of input rows, those in quarantine included.
        tokens: real tokens of the input.
        quarantined: rows of the quarantine.
        all_rows: rows, those that a retry brought again counted twice.
    """

    rows: int = 0
    tokens: int = 0
    quarantined: int = 0
    all_rows: int = 0


class Tally:
    """The state of a job's shards, look by look.

    Args:
        log: the job's log; each look reads its new segments.
        objects: the job's objects.
        live: whether its input can't be read again.

    Attributes:
        log: as given.
        cut: sums over all shards.
        done: sums over the published ones.
        published: shards whose part exists.
        dead: shards without a part whose present life was given up.
        strays: rows of a live input that no segment names.
        kept: published shards whose failed rows may not have been brought again.
        finished: see `unrolled.protocol.completion.Standing`.
    """

    def __init__(self, log: Log, objects: Objects, *, live: bool) -> None:
        self.log = log
        self.cut, self.done = Sums(), Sums()
        self.published: set[ShardId] = set()
        # A dictionary, because its order is the same in every process, so that a simulated look can be replayed.
        self._waiting: dict[ShardId, None] = {}
        self.dead: frozenset[ShardId] = frozenset()
        self.strays: frozenset[ShardId] = frozenset()
        self.kept: set[ShardId] = set()
        self.finished = False
        self._objects = objects
        self._live = live
        self._segments = 0

    @property
    def waiting(self) -> KeysView[ShardId]:
        """Shards that are neither published nor dead."""
        return self._waiting.keys()

    def look(self) -> None:
        """Look again.

        Raises:
            JobError: a segment is damaged.
            TransientError: the store can't be read now.
        """
        log, objects, known = self.log, self._objects, self.log.length
        catch_up(log, objects)
        if self.finished and log.length == known:
            return
        self._take_in_segments()
        self._wait_for(self.dead)
        rows = set(names.shards_in(objects.list(names.ROWS)))
        self._publish(self._with_parts(rows))
        lives = set(names.lives_in(objects.list(names.DEAD)))
        self.dead = frozenset(
            life.shard for life in lives if life.shard in self.waiting and log.life(life.shard) == life
        )
        for shard in self.dead:
            del self._waiting[shard]
        if self._live:
            self.strays = frozenset(shard for shard in rows if shard not in log.entries and not shard.retries)
        self.kept = self.published & rows.union(names.shards_in(objects.list(names.FAILED)))
        self.finished = False
        if log.discarded or (log.ended and not (log.cancelled or self.strays or self.waiting)):
            self.finished = self._is_finished()

    def _take_in_segments(self) -> None:
        for number in range(self._segments, self.log.length):
            for shard, _ in self.log.started(number):
                if shard not in self.published and shard not in self.waiting and shard not in self.dead:
                    self._waiting[shard] = None
                    self._count(self.cut, shard)
        self._segments = self.log.length

    def _with_parts(self, rows: set[ShardId]) -> Iterable[ShardId]:
        """Those of the shards that wait whose part is found."""
        gone = [shard for shard in self._waiting if shard not in rows]
        if len(gone) > len(self.log.entries) * LISTING:
            found = names.parts_in(self._objects.list(names.PARTS))
            # The log's own ids are kept, so that a million of them are held once.
            return [self.log.entries[shard].shard for shard in found if shard in self.waiting]
        asked = dict.fromkeys([*gone, *islice(self._waiting, FEW)])  # which are all, towards the end of a job
        return [shard for shard in asked if self._objects.exists(part_object(shard))]

    def _wait_for(self, shards: Iterable[ShardId]) -> None:
        self._waiting.update(dict.fromkeys(sorted(shards)))

    def _publish(self, shards: Iterable[ShardId]) -> None:
        for shard in shards:
            self.published.add(shard)
            self._waiting.pop(shard, None)
            self._count(self.done, shard)

    def _count(self, sums: Sums, shard: ShardId) -> None:
        entry = self.log.entries[shard]
        sums.all_rows += entry.rows
        if entry.source is None:
            sums.rows += entry.rows + entry.quarantined
            sums.tokens += entry.tokens
            sums.quarantined += entry.quarantined

    def _is_finished(self) -> bool:
        """Whether it is complete by the objects that exist now, rather than by what earlier looks have found."""
        found = standing(self.log, self._objects, live=self._live)
        if lost := self.published - found.published:  # somebody has removed parts
            self.published, self.done = set(), Sums()
            self._publish(shard for shard in self.log.entries if shard in found.published)
            self._wait_for(lost - found.dead)
            self.dead |= lost & found.dead
        return found.finished
