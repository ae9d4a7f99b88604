"""The names of a job's objects, and the decisions in its log, both read without the product's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulation.content import decode_segment

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG, CHAPTERS, ROWS, QUARANTINE, FAILED, DEAD = (
    f"_unrolled/{folder}/" for folder in ("log", "chapters", "rows", "quarantine", "failed", "dead")
)

JOB = "_unrolled/job.json"


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


def shard_in(name: str) -> str:
    """The shard in an object's name."""
    return name.rpartition("/")[2].removeprefix("part-").partition(".")[0]


def is_retry(shard: str) -> bool:
    """Whether a shard is a retry of failed rows."""
    return "r" in shard


class Logged(NamedTuple):
    """A shard in the log.

    Attributes:
        rows: number of its rows.
        quarantined: number of bad rows of the same cut.
        source: the shard whose failed rows these are; empty for rows of the input.
    """

    rows: int
    quarantined: int
    source: str


class Decisions:
    """The decisions in a log, read without the product's code: in all segments, or in those before `stop`.

    Attributes:
        length: number of segments.
        shards: by name, in the order of the log.
        inputs: how many of them were cut from the input.
        retried: shards whose failed rows are in another shard.
        lives: the present life of each shard, and the number of the segment that began it.
        ended: whether the input was read to its end.
        grown_to: the digest of the inputs' names since rows were appended; empty before.
    """

    def __init__(self, objects: Mapping[str, bytes], stop: int | None = None) -> None:
        self.length = self.inputs = 0
        self.shards: dict[str, Logged] = {}
        self.retried: set[str] = set()
        self.lives: dict[str, tuple[int, int]] = {}
        self.ended = self.cancelled = self.discarded = False
        self.grown_to = ""
        while self.length != stop and (content := objects.get(f"{LOG}{self.length:06d}.jsonl")) is not None:
            self.apply(content)
        if stop is not None:
            return
        if self.shards and JOB not in objects:
            raise BrokenPromiseError("the log has shards, and nothing says whose")
        if self.length < sum(name.startswith(LOG) for name in objects):
            raise BrokenPromiseError(f"the log has a hole: segment {self.length} isn't there, and a later one is")

    def apply(self, content: bytes) -> set[str]:
        """Apply the next segment, and return the shards that it mentions."""
        head, *entries = decode_segment(content)
        touched = set()
        for entry in entries:
            source = entry["source"] or ""
            self.inputs += not source and entry["shard"] not in self.shards
            self.shards.setdefault(entry["shard"], Logged(entry["rows"], entry["quarantined"], source))
            self.lives.setdefault(entry["shard"], (0, self.length))
            touched.add(entry["shard"])
            if source:
                self.retried.add(source)
                touched.add(source)
        for shard, number in head.get("lives", {}).items():
            self.lives[shard] = number, self.length
            touched.add(shard)
        kind = head["segment"]
        if kind in ("begin", "resume", "cancel"):
            self.cancelled = kind == "cancel"
        if kind in ("begin", "append", "end"):
            self.ended = kind == "end"
        if kind == "append":
            self.grown_to = head["inputs"]["digest"]
        self.discarded |= kind == "discard"
        self.length += 1
        return touched

    def life(self, shard: str) -> int:
        """The present life of a shard."""
        return self.lives[shard][0]
