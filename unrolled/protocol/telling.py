"""Bringing the ledger up to the log: any process may do it, and several may at once.

The ledger holds, in one key with its shards, a *mark*: how many segments of the job's log it was told. Losing it costs
time alone, for the log has all that it was told.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from unrolled.job import names
from unrolled.protocol.log import catch_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.job.names import Life
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

#: Lives that one script enters: it holds the server for about a millisecond.
CHUNK = 500


class JobLedger(Protocol):
    """What a ledger knows of one job. Every call waits until the ledger answers."""

    def told(self) -> int | None:
        """How many segments it was told; negative while somebody tells it everything; None where it knows nothing."""
        ...

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        """Enter lives with their token ids, and move the mark, in one step; False where the mark isn't `expected`."""
        ...

    def cancel(self) -> None:
        """Take the job out, its mark included."""
        ...

    def forget(self, length: int) -> None:
        """Take the job out, its mark included, unless the ledger knows of more than `length` segments."""
        ...


def tell(log: Log, objects: Objects, ledger: JobLedger) -> None:
    """Bring the ledger up to the log.

    Args:
        log: of the job; read to its end.
        objects: of the job.
        ledger: of the job's model.

    Raises:
        JobError: a segment is damaged.
    """
    while True:
        catch_up(log, objects)
        mark = ledger.told()
        if log.stopped:
            if mark is None:
                return
            ledger.cancel()
        elif mark is None or mark < 0:
            _tell_all(log, objects, ledger, mark)
        elif mark >= log.length:
            return
        else:
            ledger.enter(mark, _sized(log, log.started(mark)), mark + 1)


def tell_again(log: Log, objects: Objects, ledger: JobLedger, lives: Sequence[Life]) -> None:
    """Enter lives that the ledger has taken out as done, because their parts are gone since.

    Args:
        log: of the job; read to its end.
        objects: of the job.
        ledger: of the job's model.
        lives: which ones; those that are in the ledger stay as they are.

    Raises:
        JobError: a segment is damaged.
    """
    for start in range(0, len(lives), CHUNK):
        some = _sized(log, list(lives[start : start + CHUNK]))
        mark: int | None = None
        while mark is None or mark < 0 or not ledger.enter(mark, some, mark):
            tell(log, objects, ledger)
            if log.stopped:
                return
            mark = ledger.told()


def _tell_all(log: Log, objects: Objects, ledger: JobLedger, mark: int | None) -> None:
    """Tell a ledger that has lost it all that waits, some at a time; any loss or rival on the way ends it.

    A life is left out only for an object that is there: its part, or its record of death. What isn't there may be what
    can't be seen yet.
    """
    rows = set(names.shards_in(objects.list(names.ROWS)))
    parts = set(names.parts_in(objects.list(names.PARTS)))
    dead = set(names.lives_in(objects.list(names.DEAD)))
    objects.sync(names.PARTS, names.DEAD)
    lives = map(log.life, log.entries)
    waiting = [life for life in lives if life not in dead and (life.shard not in parts or life.shard in rows)]
    for start in range(0, len(waiting) + 1, CHUNK):
        last = start + CHUNK > len(waiting)
        becomes = log.length if last else -1 - secrets.randbits(50)
        if not ledger.enter(mark, _sized(log, waiting[start : start + CHUNK]), becomes):
            return
        mark = becomes


def _sized(log: Log, lives: list[Life]) -> list[tuple[Life, int]]:
    return [(life, log.entries[life.shard].size) for life in lives]
