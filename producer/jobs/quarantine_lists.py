"""The lists of rows that can't be computed, with reasons: the producer's, and the engine's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unrolled.errors import FileFormatError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId


@dataclass(frozen=True, slots=True)
class BadRowListed:
    """One row in quarantine.

    Attributes:
        file: the input's name; None for a row that the engine failed on.
        position: row number within that file, from 0; None for a row that the engine failed on.
        shard: the row's shard.
        row: for a row that the engine failed on, its number among the shard's good rows, from 0; else None.
        id: the row's id; None where it has none.
        reason: why it can't be computed.
    """

    file: str | None
    position: int | None
    shard: ShardId
    row: int | None
    id: str | None
    reason: str


def list_quarantine(directory: JobDirectory) -> Iterator[BadRowListed]:
    """Every row in quarantine, shard by shard, a line in memory at a time.

    Raises:
        FileFormatError: a list is damaged.
        TransientError: one can't be read now.
    """
    lists = [(shard, directory.quarantine(shard)) for shard in directory.quarantined()]
    lists += [(shard, directory.quarantine(shard, engine=True)) for shard in directory.failing()]
    for shard, path in sorted(lists):
        for number, line in read_lines(path):
            try:
                yield BadRowListed(
                    file=line.get("file"),
                    position=line.get("position"),
                    shard=shard,
                    row=line.get("row"),
                    id=line["id"],
                    reason=str(line["reason"]),
                )
            except KeyError as error:
                raise damaged(path, number, f"{error} is missing") from error


def count_listed(path: Path) -> int:
    """How many rows a list has; 0 where there is no list.

    Raises:
        FileFormatError: the list is damaged.
        TransientError: it can't be read now.
    """
    return sum(1 for _ in read_lines(path)) if path.exists() else 0


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a list, each with its number from 1.

    Raises:
        FileFormatError: a line is no JSON object.
        TransientError: the list can't be read now.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    content = json.loads(line)
                except ValueError as error:
                    raise damaged(path, number, str(error)) from error
                if not isinstance(content, dict):
                    raise damaged(path, number, f"{content!r:.80} is no object")
                yield number, content
    except OSError as error:
        raise TransientError(f"cannot read {path}: {error.strerror or error}") from error


def damaged(path: Path, number: int, why: str) -> FileFormatError:
    """The error for a line that no list can have."""
    return FileFormatError(f"{path}, line {number}: {why}; the list is damaged: restore it from your copy")
