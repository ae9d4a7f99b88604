"""The manifest: one line for each shard that the producer cut, in order, then a line that says "that was all"."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from unrolled.errors import JobError
from unrolled.publishing import publish

if TYPE_CHECKING:
    from pathlib import Path

NAME = "_manifest.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """One shard as it was cut.

    Attributes:
        shard: its id, index and content hash.
        rows: rows in its payload.
        tokens: real tokens in them.
        quarantined: rows that the producer put into quarantine instead.
        digest: over the ids and masks of the payload's rows, in order (`unrolled.digest`).
        file: of the shard's first input row.
        position: of that row in its file.
    """

    shard: str
    rows: int
    tokens: int
    quarantined: int
    digest: str
    file: str
    position: int


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
    """The manifest of a job's directory; a last line that a crash cut short doesn't count.

    Raises:
        JobError: a line is no manifest line, or out of order.
    """
    path = directory / NAME
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return Manifest((), ended=False)
    entries: list[Entry] = []
    ended = False
    for number, line in enumerate(lines, 1):
        try:
            content = json.loads(line)
            ended = "end" in content
            if not ended:
                entries.append(Entry(**content))
                if int(entries[-1].shard.partition("-")[0]) != len(entries) - 1:
                    raise ValueError(f"shard {entries[-1].shard} stands at place {len(entries) - 1}")  # noqa: TRY301
        except (ValueError, TypeError) as error:
            raise JobError(f"{path}, line {number}: not a manifest line: {error}; use a new output directory") from error
    return Manifest(tuple(entries), ended)


class ManifestWriter:
    """Appends to a manifest, each line durable before the call returns.

    Args:
        directory: of the job.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / NAME
        if not path.exists():
            publish(directory, NAME, lambda _: None)  # so that the name itself is durable
        self._file = path.open("ab+")
        self._file.seek(0)
        whole = self._file.read().rfind(b"\n") + 1
        self._file.truncate(whole)  # a line that a crash cut short

    def append(self, entry: Entry) -> None:
        """Add one shard."""
        self._write(asdict(entry))

    def end(self, *, shards: int, rows: int) -> None:
        """Say that the input was read to its end."""
        self._write({"end": {"shards": shards, "rows": rows}})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, content: dict[str, object]) -> None:
        self._file.write(json.dumps(content).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
