"""A segment of a job's log: one decision about the job, as lines of JSON.

The first line says which kind it is; the entries of shards follow, one a line. The kinds:

| kind | meaning |
|---|---|
| `shards` | these shards were cut from the input |
| `end` | the input was read to its end, of which these shards are the last |
| `append` | the input has more rows or files after its end; it revokes an `end` |
| `begin` | a run starts to read the live input; it revokes an `end` and a `cancel` |
| `retry` | these shards have failed rows of other shards, and these dead shards get their next life |
| `cancel`, `resume` | waiting shards must not be computed; they must be computed again |
| `discard` | no object of the job counts any more; final |
"""

# Over 150 lines: the writer of a segment, and its reader with every check.

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, NamedTuple, get_args

from unrolled.errors import JobError, PayloadError
from unrolled.job.inputs import Inputs
from unrolled.job.names import Life
from unrolled.job.shard_id import ShardId

Kind = Literal["shards", "end", "append", "begin", "retry", "cancel", "resume", "discard"]
KINDS = get_args(Kind)
#: Most entries of one segment, because a reader has all of them in memory while it checks them.
MOST_ENTRIES = 1_000
#: Largest segment that is read, in bytes. An entry has about 300 bytes, and with the longest name of a file 25,000.
MOST_BYTES = 32 * 2**20
FORMAT_VERSION = 1
_RUN = re.compile(r"[0-9a-f]{16}")
_DIGEST = re.compile(r"[0-9a-f]{32}")
#: A shard's counts are below 2**32: a payload has fewer token ids, and a list of bad rows is made in memory.
_COUNT_ENDS = {"rows": 2**32, "tokens": 2**32, "size": 2**32, "quarantined": 2**32, "position": 2**63}


class Entry(NamedTuple):
    """A shard's entry in the log; its rows contain the same values.

    Attributes:
        shard: the shard's id; its hash covers all other values and the rows.
        rows: number of rows, without those in quarantine.
        tokens: number of real tokens in the rows.
        size: number of token ids in the rows, padding included.
        quarantined: number of the shard's rows that went to quarantine.
        digest: hash of the ids and masks of the rows, in order (`unrolled.format.rows_digest`).
        source: for a retry, the shard whose failed rows these are; None for rows of the input.
        file: name of the input that contains the first row.
        position: number of the first row in its input.
    """

    shard: ShardId
    rows: int
    tokens: int
    size: int
    quarantined: int
    digest: str
    source: ShardId | None
    file: str
    position: int

    def to_json(self) -> dict[str, Any]:
        """The entry as a dictionary for JSON."""
        return self._asdict() | {"shard": str(self.shard), "source": self.source and str(self.source)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Entry:
        """Read an entry from an untrusted source.

        Raises:
            ValueError: the content isn't an entry; the text says what was found.
            PayloadError: a shard id is malformed.
        """
        # A log may have a million entries: each is looked at once, and names of files are held once.
        if content.keys() != _KEYS:
            different = ", ".join(sorted(map(str, content.keys() ^ _KEYS)))
            raise ValueError(f"an entry has or lacks {different!s:.120}; its keys are fixed")
        shard, rows, tokens, size, quarantined, digest, source, file, position = _in_order(content)
        for (name, end), count in zip(_COUNT_ENDS.items(), (rows, tokens, size, quarantined, position), strict=True):
            if type(count) is not int or not 0 <= count < end:
                raise ValueError(f"{name} is {count!s:.80}; a count is expected")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"digest is {digest!s:.80}; 32 hexadecimal digits are expected")
        shard, source = ShardId.parse(_text(shard)), None if source is None else ShardId.parse(_text(source))
        if (shard.index, shard.retries) != ((source.index, source.retries + 1) if source else (shard.index, 0)):
            raise ValueError(f"the source of {shard} is {source}; that of a retry has its index and one retry less")
        return cls(shard, rows, tokens, size, quarantined, digest, source, sys.intern(_text(file)), position)


_KEYS = frozenset(Entry._fields)
_in_order = itemgetter(*Entry._fields)


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a job's log.

    Attributes:
        kind: the kind of decision; see the module.
        entries: in `shards`, `end` and `retry`, the new shards.
        lives: in `retry`, the lives of dead shards that begin with this segment.
        run: in `begin`, 16 hexadecimal digits that name the run.
        inputs: in `append`, the job's inputs from now on.
    """

    kind: Kind
    entries: tuple[Entry, ...] = ()
    lives: tuple[Life, ...] = ()
    run: str = ""
    inputs: Inputs | None = None

    def encode(self) -> bytes:
        """The segment's bytes; equal segments give equal bytes."""
        head: dict[str, Any] = {"format_version": FORMAT_VERSION, "segment": self.kind, "entries": len(self.entries)}
        if self.run:
            head["run"] = self.run
        if self.inputs:
            head["inputs"] = self.inputs.to_json()
        if self.lives:
            head["lives"] = {str(shard): number for shard, number in self.lives}
        return "".join(json.dumps(line) + "\n" for line in [head, *(e.to_json() for e in self.entries)]).encode()

    @classmethod
    def decode(cls, name: str, content: bytes) -> Segment:
        """Read a segment from an untrusted source.

        Args:
            name: the object's name, for errors.
            content: the object's bytes.

        Raises:
            JobError: the content isn't a segment, or has another version.
        """
        if len(content) > MOST_BYTES:
            raise JobError(
                f"{name}: {len(content):,} bytes; at most {MOST_BYTES:,} are a segment's: restore it from a copy, or "
                "begin the job again with a new --out"
            )
        try:
            head, *lines = [json.loads(line) for line in content.decode().splitlines() or ["{}"]]
            if head["format_version"] != FORMAT_VERSION:
                raise JobError(
                    f"{name}: format version {head['format_version']!s:.20}; this release reads {FORMAT_VERSION}: "
                    "use the release of unrolled that wrote it"
                )
            entries = tuple(map(Entry.from_json, lines))
            lives = tuple(Life(ShardId.parse(s), _count(n)) for s, n in dict(head.get("lives", {})).items())
            inputs = Inputs.from_json(head["inputs"]) if "inputs" in head else None
            segment = cls(head["segment"], entries, lives, _text(head.get("run", "")), inputs)
            segment._check(_count(head["entries"]))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, PayloadError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise JobError(
                f"{name}: not a segment of a job's log: {why:.200}; restore it from a copy, or begin the job again "
                "with a new --out"
            ) from error
        return segment

    def _check(self, entries: int) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"segment is {self.kind!s:.40}; allowed: {', '.join(KINDS)}")
        if entries != len(self.entries):
            raise ValueError(f"{len(self.entries)} entries follow a head that counts {entries}")
        if len(self.entries) > MOST_ENTRIES:
            raise ValueError(f"{len(self.entries):,} entries; at most {MOST_ENTRIES:,} are allowed")
        if self.entries and self.kind not in ("shards", "end", "retry"):
            raise ValueError(f"a segment of kind {self.kind} has entries")
        if any((entry.source is None) != (self.kind != "retry") for entry in self.entries):
            raise ValueError(f"an entry's source doesn't fit a segment of kind {self.kind}")
        if bool(self.lives) > (self.kind == "retry") or any(life.number < 1 for life in self.lives):
            raise ValueError("lives belong to a retry, and are counted from 1")
        if bool(self.run) != (self.kind == "begin") or (self.run and not _RUN.fullmatch(self.run)):
            raise ValueError("a run of 16 hexadecimal digits belongs to a begin, and to nothing else")
        if bool(self.inputs) != (self.kind == "append"):
            raise ValueError("inputs belong to an append, and to nothing else")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!s:.80} is found; a text is expected")
    return value


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise TypeError(f"{value!s:.80} is found; a count is expected")
    return value
