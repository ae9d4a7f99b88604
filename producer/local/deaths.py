"""Whether workers that die again and again may be started again: as long as their deaths lead to something."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from unrolled.errors import TransientError, counted
from unrolled.job import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.protocol.objects import Objects

#: A worker that ran at least this long before it died may be started again without counting.
LONG_ENOUGH_SECONDS = 60.0
#: Deaths in a row that lead to nothing, besides those that a shard for each worker may cause.
MOST_DEATHS = 20
#: Shards that may be given up in a row: more are a sign that the machine is to blame, and not the rows.
MOST_GIVEN_UP = 30


class Settled(NamedTuple):
    """How many of a job's shards are settled.

    Attributes:
        published: how many have a part.
        dead: how many records of death there are.
    """

    published: int
    dead: int


class Deaths:
    """Counts the deaths of a job's workers.

    Args:
        workers: how many work at once.
        max_attempts: how many of them a shard may kill while it is computed alone, before it is given up.
        settled: looks what has become of the job's shards; may raise TransientError.
    """

    def __init__(self, workers: int, max_attempts: int, settled: Callable[[], Settled]) -> None:
        self._most = MOST_DEATHS + workers * (max_attempts + 1)
        self._settled = settled
        self._last = Settled(0, 0)
        self._count = self._given_up = 0

    def count(self, lived_seconds: float) -> str:
        """Count a death.

        Args:
            lived_seconds: how long the worker had run.

        Returns:
            Why no worker should be started again; empty where one should.
        """
        if lived_seconds > LONG_ENOUGH_SECONDS:
            self._count = self._given_up = 0
        with contextlib.suppress(TransientError):
            last, self._last = self._last, self._settled()
            if self._last.published > last.published:
                self._count = self._given_up = 0
            elif self._last.dead > last.dead:
                self._count = 0
                self._given_up += self._last.dead - last.dead
        self._count += 1
        if self._count > self._most:
            return f"its workers died {counted(self._count, 'time')} in a row, and nothing came of it"
        if self._given_up > MOST_GIVEN_UP:
            return f"{counted(self._given_up, 'shard was', 'shards were')} given up in a row, and none was published"
        return ""


def settled_in(objects: Objects) -> Settled:
    """Count the settled shards of a job.

    Raises:
        TransientError: it can't be seen now.
    """
    published = sum(1 for _ in names.parts_in(objects.list(names.PARTS)))
    return Settled(published, sum(1 for _ in names.lives_in(objects.list(names.DEAD))))
