"""Updating the ledger from the log: any process may do it, and several may do it at once.

The ledger has a *mark* for each job: the number of segments of the job's log that were entered. It is in one key with
the shards. Losing it costs only time, because everything in the ledger can be entered again from the log.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

import numpy as np

from unrolled.job import names
from unrolled.protocol.listing import find, find_dead
from unrolled.protocol.log import catch_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.job.names import Life
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

#: Lives that one script enters; the server is busy with it for about a millisecond.
CHUNK = 500


class JobLedger(Protocol):
    """The ledger as one job sees it. Every call waits until the ledger answers."""

    def mark(self) -> int | None:
        """The number of segments entered; negative during an update from scratch; None if the ledger lacks the job."""
        ...

    def enter(self, expected: int | None, lives: Sequence[tuple[Life, int]], becomes: int) -> bool:
        """Enter lives with their token ids, and move the mark, in one step; False if the mark isn't `expected`."""
        ...

    def cancel(self) -> None:
        """Take the job out, its mark included."""
        ...

    def forget(self, length: int) -> None:
        """Take the job out, its mark included, unless the ledger knows of more than `length` segments."""
        ...


def update_ledger(log: Log, objects: Objects, ledger: JobLedger) -> None:
    """Enter everything in the ledger that the log has and the ledger lacks.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        ledger: the ledger of the job's offer.

    Raises:
        JobError: a segment is damaged.
    """
    while True:
        catch_up(log, objects)
        mark = ledger.mark()
        if log.stopped:
            if mark is None:
                return
            ledger.cancel()
        elif mark is None or mark < 0:
            _enter_all(log, objects, ledger, mark)
        elif mark >= log.length:
            return
        elif ledger.enter(mark, _sized(log, log.started(mark)), mark + 1) and mark + 1 >= log.length:
            # A process that has added a segment since the last look enters it. A cancel would have removed the mark,
            # and nothing would have been entered.
            return


def enter_again(log: Log, objects: Objects, ledger: JobLedger, lives: Sequence[Life]) -> None:
    """Enter lives again that were removed from the ledger as done, because their parts have been lost since.

    Args:
        log: the job's log; it is read to its end.
        objects: the job's objects.
        ledger: the ledger of the job's offer.
        lives: the lives; those that are in the ledger stay as they are.

    Raises:
        JobError: a segment is damaged.
    """
    for start in range(0, len(lives), CHUNK):
        some = _sized(log, list(lives[start : start + CHUNK]))
        mark: int | None = None
        while mark is None or mark < 0 or not ledger.enter(mark, some, mark):
            update_ledger(log, objects, ledger)
            if log.stopped:
                return
            mark = ledger.mark()


def _enter_all(log: Log, objects: Objects, ledger: JobLedger, mark: int | None) -> None:
    """Enter all waiting lives in a ledger that has lost the job, a chunk at a time; stop if another process interferes.

    A life is left out only because of an object that exists: its part, or its record of death. An object that seems to
    be missing may only be invisible yet.
    """
    rows, parts = (find(log, objects, folder).marks for folder in (names.ROWS, names.PARTS))
    dead = find_dead(log, objects)
    objects.sync(names.PARTS, names.DEAD)
    waiting = np.flatnonzero(~dead & (~parts | rows)).tolist()
    for start in range(0, len(waiting) + 1, CHUNK):
        last = start + CHUNK > len(waiting)
        becomes = log.length if last else -1 - secrets.randbits(50)
        some = map(log.entries.at, waiting[start : start + CHUNK])
        if not ledger.enter(mark, [(log.life(counts.shard), counts.size) for counts in some], becomes):
            return
        mark = becomes


def _sized(log: Log, lives: list[Life]) -> list[tuple[Life, int]]:
    return [(life, log.entries[life.shard].size) for life in lives]
