"""Which shards of a job have an object in a folder: a million names are read some thousands at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unrolled.job import names
from unrolled.job.shard_keys import parse_names, shard_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.log import Log
    from unrolled.protocol.objects import Objects

#: Names that are in memory at once.
_AT_ONCE = 1 << 13
#: The beginning and the end of the names in each folder.
_FORMS = {names.PARTS: ("part-", ".parquet"), names.ROWS: (f"{names.ROWS}/", ".rows")} | {
    names.FAILED: (f"{names.FAILED}/", ".rows")
}


class Found(NamedTuple):
    """The contents of a folder.

    Attributes:
        marks: one value for each shard of the log, True for those that have an object in the folder.
        unknown: the shards that the log doesn't have.
        others: the names that no shard has.
    """

    marks: NDArray[np.bool_]
    unknown: list[ShardId]
    others: list[str]

    @property
    def strays(self) -> frozenset[ShardId]:
        """In `names.ROWS` of a live job: the shards of the input that the next live run adds to the log."""
        return frozenset(shard for shard in self.unknown if not shard.retries)


def find(log: Log, objects: Objects, folder: str) -> Found:
    """Find the shards of a log that have an object in a folder: `names.PARTS`, `names.ROWS` or `names.FAILED`."""

    def read(found: Iterator[str]) -> Found:
        entries, marks = log.entries, log.entries.marks()
        unknown: list[ShardId] = []
        others: list[str] = []
        while some := list(islice(found, _AT_ONCE)):
            keys, rest = parse_names(some, *_FORMS[folder])
            keys = keys[np.argsort(keys["hash"])]  # neighbours are looked up near each other
            numbers = entries.numbers(keys)
            marks[numbers[numbers >= 0]] = True
            unknown += [shard_of(*key) for key in keys[numbers < 0].tolist()]
            others += rest
        return Found(marks, unknown, others)

    return objects.read_names(folder, read)


def find_dead(log: Log, objects: Objects) -> NDArray[np.bool_]:
    """One value for each shard of a log, True for those whose present life was given up."""
    lives = names.lives_in(objects.list(names.DEAD))
    return log.entries.marks(life.shard for life in lives if log.life(life.shard) == life)
