"""Which shards of a job have their part, kept from look to look: a look costs what has changed and what still waits.

A part is never deleted, except by a discard, and a shard's rows are deleted once its part exists. So a look lists
the rows that wait, and asks for the parts of those shards alone whose rows are gone. All parts are listed only where
that is cheaper, and before a job is called finished.
"""

# Over 150 lines: one look is a few steps, each of which changes what the next one starts from.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unrolled.job import names
from unrolled.job.names import part_object
from unrolled.job.shard_keys import FIRST_RETRY
from unrolled.protocol.completion import standing
from unrolled.protocol.entries import ShardSet
from unrolled.protocol.gaps import refuse_gap
from unrolled.protocol.listing import find, find_dead
from unrolled.protocol.log import catch_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        strays: rows of a live input that no segment names.
        finished: see `unrolled.protocol.completion.Standing`.
    """

    def __init__(self, log: Log, objects: Objects, *, live: bool) -> None:
        self.log = log
        self.cut, self.done = Sums(), Sums()
        self.strays: frozenset[ShardId] = frozenset()
        self.finished = False
        self._objects = objects
        self._live = live
        self._published = self._dead = self._kept = self._rows = log.entries.marks()

    @property
    def published(self) -> ShardSet:
        """Shards whose part exists."""
        return ShardSet(self.log.entries, self._published)

    @property
    def dead(self) -> ShardSet:
        """Shards without a part whose present life was given up."""
        return ShardSet(self.log.entries, self._dead)

    @property
    def dead_tokens(self) -> int:
        """Real tokens of the dead shards."""
        return int(self.log.entries.columns["tokens"][: len(self._dead)][self._dead].sum())

    @property
    def waiting(self) -> ShardSet:
        """Shards that are neither published nor dead."""
        return ShardSet(self.log.entries, ~(self._published | self._dead))

    @property
    def gone(self) -> ShardSet:
        """Waiting shards whose rows can't be seen either: a cache is late, or somebody has removed them."""
        unseen = _grown(~self._rows, len(self._published))  # a shard that came after the look isn't one of them
        return ShardSet(self.log.entries, unseen & ~(self._published | self._dead))

    @property
    def kept(self) -> ShardSet:
        """Published shards whose failed rows may not have been brought again."""
        return ShardSet(self.log.entries, self._kept)

    def look(self) -> None:
        """Look again.

        Raises:
            JobError: a segment is damaged or missing.
            TransientError: the store can't be read now.
        """
        log, objects, known = self.log, self._objects, self.log.length
        if known:
            catch_up(log, objects)
        else:
            refuse_gap(log, objects)  # what is after a gap is never seen: the job would be waited for in vain
        if self.finished and log.length == known:
            return
        self._take_in_shards()
        rows = find(log, objects, names.ROWS)
        self._rows = rows.marks
        self._publish(self._with_parts(rows.marks))
        self._dead = find_dead(log, objects) & ~self._published
        if self._live:
            self.strays = rows.strays
        self._kept = self._published & (rows.marks | find(log, objects, names.FAILED).marks)
        self.finished = False
        if log.discarded or (log.ended and not (log.cancelled or self.strays or self.waiting)):
            self.finished = self._is_finished()

    def _take_in_shards(self) -> None:
        """Count the shards that are new in the log."""
        known, new = len(self._published), self.log.entries.marks()
        new[known:] = True
        self._count(self.cut, new)
        self._published, self._dead, self._kept = (
            _grown(marks, len(new)) for marks in (self._published, self._dead, self._kept)
        )

    def _with_parts(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those of the unpublished shards whose part is found; `rows` has the shards whose rows are listed."""
        unpublished = ~self._published
        gone = np.flatnonzero(unpublished & ~rows)
        if len(gone) > len(self.log.entries) * LISTING:
            return find(self.log, self._objects, names.PARTS).marks & unpublished
        asked = {*gone.tolist(), *np.flatnonzero(unpublished)[:FEW].tolist()}  # which are all, towards the end of a job
        found = self.log.entries.marks()
        for number in sorted(asked):
            found[number] = self._objects.exists(part_object(self.log.entries.shard(number)))
        return found

    def _publish(self, found: NDArray[np.bool_]) -> None:
        self._published |= found
        self._count(self.done, found)

    def _count(self, sums: Sums, marks: NDArray[np.bool_]) -> None:
        """Add some shards to sums."""
        hashes, rows, tokens, quarantined = (
            self.log.entries.columns[name][marks] for name in ("hash", "rows", "tokens", "quarantined")
        )
        cut = hashes < FIRST_RETRY
        sums.all_rows += int(rows.sum())
        sums.rows += int(rows[cut].sum() + quarantined[cut].sum())
        sums.tokens += int(tokens[cut].sum())
        sums.quarantined += int(quarantined[cut].sum())

    def _is_finished(self) -> bool:
        """Whether it is complete by the objects that exist now, rather than by what earlier looks have found."""
        found = standing(self.log, self._objects, live=self._live)
        self._take_in_shards()
        published, dead = (_grown(each.marks, len(self._published)) for each in (found.published, found.dead))
        if (self._published & ~published).any():  # somebody has removed parts
            self._published, self.done = self.log.entries.marks(), Sums()
            self._publish(published)
            self._dead = dead
        return found.finished


def _grown(marks: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Marks for more shards, False for the new ones."""
    return np.pad(marks, (0, size - len(marks)))
