"""The manifest: a line for each shard that the producer cut, in order, then one that says "that was all"."""

# Over 150 lines: reading and writing a line belong together.

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from unrolled.errors import JobError, PayloadError, TransientError
from unrolled.job.shard_id import ShardId
from unrolled.store.publish import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "_manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One shard as it was cut.

    Attributes:
        shard: its id: index and content hash.
        rows: rows in its payload.
        tokens: real tokens in them.
        quarantined: rows that the producer put into quarantine instead.
        digest: over the ids and masks of the payload's rows, in order (`unrolled.format.rows_digest`).
        file: the input file of the shard's first row.
        position: the number of that row in its file, from 0.
    """

    shard: ShardId
    rows: int
    tokens: int
    quarantined: int
    digest: str
    file: str
    position: int


_COUNTS = ("rows", "tokens", "quarantined", "position")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the producer has cut so far.

    Attributes:
        entries: in order of their index.
        ended: whether the input was read to its end.
    """

    entries: tuple[Entry, ...]
    ended: bool

    @property
    def rows(self) -> int:
        """Input rows, the quarantined ones included."""
        return sum(entry.rows + entry.quarantined for entry in self.entries)

    @property
    def tokens(self) -> int:
        """Real tokens."""
        return sum(entry.tokens for entry in self.entries)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a job's directory. A last line that a crash cut short doesn't count.

    Raises:
        JobError: a line is not a manifest line, or out of order.
        TransientError: the file can't be read now.
    """
    path = directory / NAME
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return Manifest((), ended=False)
    except OSError as error:
        raise TransientError(f"{path}: can't be read now: {error.strerror}") from error
    entries: list[Entry] = []
    ended = False
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line.decode())
            ended = set(content) == {"end"}
            if ended:
                _check_end(content["end"], Manifest(tuple(entries), ended=True))
            else:
                entries.append(_entry(content, len(entries)))
        except (ValueError, TypeError, PayloadError, RecursionError) as error:
            raise JobError(
                f"{path}, line {number}: not a manifest line: {error}; use a new output directory"
            ) from error
    return Manifest(tuple(entries), ended)


def _entry(content: object, place: int) -> Entry:
    if not isinstance(content, dict):
        raise ValueError("an object is expected")  # noqa: TRY004 - about the file, not about an argument
    for name, value in content.items():
        if name not in _COUNTS and not isinstance(value, str):
            raise ValueError(f"{name} is {str(value)[:80]!r}; a text is expected")
        if name in _COUNTS and (type(value) is not int or value < 0):
            raise ValueError(f"{name} is {str(value)[:80]!r}; a count is expected")
    entry = Entry(ShardId.parse(content.pop("shard", "")), **content)
    if entry.shard.index != place:
        raise ValueError(f"shard {entry.shard} is at place {place}")
    return entry


def _check_end(found: object, manifest: Manifest) -> None:
    expected = {"shards": len(manifest.entries), "rows": manifest.rows}
    if found != expected:
        raise ValueError(f"the end counts {str(found)[:80]}, the lines before it {expected}")


class ManifestWriter:
    """Appends to a manifest, each line durable before the call returns.

    Args:
        directory: of the job.

    Raises:
        TransientError: the file system refused; so for each call. What was not written whole is taken back.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        if not self._path.exists():
            publish(directory, NAME, lambda _: None)  # so that the name itself is durable
        with self._explained():
            self._file = self._path.open("ab+", buffering=0)
            self._file.seek(0)
            self._size = self._file.read().rfind(b"\n") + 1

    def append(self, entry: Entry) -> None:
        """Add one shard."""
        self._write({**asdict(entry), "shard": str(entry.shard)})

    def end(self, *, shards: int, rows: int) -> None:
        """Say that the input was read to its end.

        Args:
            shards: all that the manifest holds.
            rows: all in them, the quarantined ones included.
        """
        self._write({"end": {"shards": shards, "rows": rows}})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, content: dict[str, object]) -> None:
        line = json.dumps(content).encode() + b"\n"
        with self._explained():
            # What a crash or a full disk left of a line goes first, or this one would be joined to it.
            self._file.truncate(self._size)
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
            os.fsync(self._file.fileno())
        self._size += len(line)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(f"cannot write {self._path}: {error.strerror}; check the disk") from error
