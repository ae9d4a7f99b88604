"""The names of a job's objects in its store: parts at the top, everything else below `_unrolled/`.

| name | created by | content |
|---|---|---|
| `part-<shard>.parquet` | worker | the shard's one outcome: vectors, and in the metadata the failed rows |
| `_unrolled/job.json` | producer | model, inputs and options |
| `_unrolled/log/<number>.jsonl` | any command | a segment of the job's log |
| `_unrolled/chapters/<number>.chapter` | any command | many segments of the log in one object, made from them |
| `_unrolled/rows/<shard>.rows` | producer, retry | the shard's rows, and the values of its entry in the log |
| `_unrolled/quarantine/<shard>.jsonl` | producer | rows that can't be read or tokenized, with reasons |
| `_unrolled/failed/<shard>.rows` | worker, retry, sweep | the rows that the shard's part names as failed |
| `_unrolled/dead/<shard>.<life>.json` | worker | why this life of the shard was given up |
| `_unrolled/times/<worker>-<number>.json` | worker | the worker's time for the job, for people |
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, NamedTuple

from unrolled.errors import PayloadError
from unrolled.job.shard_id import ShardId, part_name, shard_of_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The folders of the objects; parts are in the top folder.
FOLDER, PARTS = "_unrolled", ""
LOG, CHAPTERS, ROWS, QUARANTINE, FAILED, DEAD, TIMES = (
    f"{FOLDER}/{name}" for name in ("log", "chapters", "rows", "quarantine", "failed", "dead", "times")
)
JOB = f"{FOLDER}/job.json"
_LIFE = re.compile(r"(.+)\.(0|[1-9][0-9]{0,8})")


class Life(NamedTuple):
    """One life of a shard; as text "000042-0123456789ab.0". A dead shard gets the next one when it is retried.

    Attributes:
        shard: the shard.
        number: 0 for the first life.
    """

    shard: ShardId
    number: int

    @classmethod
    def parse(cls, text: str) -> Life:
        """Read the text that `str()` gives.

        Raises:
            PayloadError: the text is malformed.
        """
        found = _LIFE.fullmatch(text)
        if not found:
            raise PayloadError(f"life {text[:80]!r}: a shard id, a dot and a number are expected")
        return cls(ShardId.parse(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.shard}.{self.number}"


def segment_name(number: int) -> str:
    """The name of a segment of the log, counted from 0."""
    return f"{LOG}/{number:06d}.jsonl"


def chapter_name(number: int) -> str:
    """The name of a chapter of the log, counted from 0."""
    return f"{CHAPTERS}/{number:06d}.chapter"


def part_object(shard: ShardId) -> str:
    """The name of a shard's part."""
    return part_name(shard)


def rows_object(shard: ShardId) -> str:
    """The name of a shard's rows."""
    return f"{ROWS}/{shard}.rows"


def quarantine_object(shard: ShardId) -> str:
    """The name of the list of a shard's bad rows."""
    return f"{QUARANTINE}/{shard}.jsonl"


def failed_object(shard: ShardId) -> str:
    """The name of the rows that a shard's part names as failed."""
    return f"{FAILED}/{shard}.rows"


def dead_object(life: Life) -> str:
    """The name of the record of a life that was given up."""
    return f"{DEAD}/{life}.json"


def times_object(name: str) -> str:
    """The name of a record of a worker's time."""
    return f"{TIMES}/{name}.json"


def parts_in(names: Iterable[str]) -> Iterator[ShardId]:
    """The shards of the names that are names of parts; other names are left out."""
    for name in names:
        with contextlib.suppress(PayloadError):
            if name.endswith(".parquet") and "/" not in name:
                yield shard_of_part(name)


def shards_in(names: Iterable[str]) -> Iterator[ShardId]:
    """The shards of the names of the form `<folder>/<shard>.rows` or `<folder>/<shard>.jsonl`; others are left out."""
    for name in names:
        if name.endswith((".rows", ".jsonl")):
            with contextlib.suppress(PayloadError):
                yield ShardId.parse(name.rpartition("/")[2].rpartition(".")[0])


def lives_in(names: Iterable[str]) -> Iterator[Life]:
    """The lives of the names that are names of records of death; other names are left out."""
    for name in names:
        if name.endswith(".json"):
            with contextlib.suppress(PayloadError):
                yield Life.parse(name.rpartition("/")[2].removesuffix(".json"))
