"""The lists of rows that can't be computed: the producer's, and the engine's, which keep the rows' tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import FileFormatError, TransientError
from unrolled.format.rows_digest import RowsDigest
from unrolled.reading.part_file import Part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Entry
    from unrolled.job.shard_id import ShardId


@dataclass(frozen=True, slots=True)
class BadRowListed:
    """One row in quarantine.

    Attributes:
        file: the input's name; None for a row that the engine failed on.
        position: row number within that file, from 0; None likewise.
        shard: its shard.
        row: for a row that the engine failed on, its number among the shard's good rows, from 0; else None.
        id: its id, None where it has none.
        reason: why it can't be computed.
    """

    file: str | None
    position: int | None
    shard: ShardId
    row: int | None
    id: str | None
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class FailedRow:
    """A row that the engine failed on.

    Attributes:
        row: its number among the shard's good rows, from 0.
        id: its id.
        mask: bool (steps,), True where a token is real.
    """

    row: int
    id: str
    mask: NDArray[np.bool_]


def list_quarantine(directory: JobDirectory) -> Iterator[BadRowListed]:
    """Every row in quarantine, shard by shard, a line in memory at a time.

    Raises:
        FileFormatError: a list is damaged.
        TransientError: one can't be read now.
    """
    lists = [(shard, directory.quarantine(shard)) for shard in directory.quarantined()]
    lists += [(shard, directory.quarantine(shard, engine=True)) for shard in directory.failing()]
    for shard, path in sorted(lists):
        for number, line in _lines(path):
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
                raise _damaged(path, number, f"{error} is missing") from error


def read_quarantine(directory: JobDirectory, entry: Entry) -> tuple[int, list[str]]:
    """How many rows of a shard the producer listed, and what is wrong with the list."""
    path = directory.quarantine(entry.shard)
    try:
        count = sum(1 for _ in _lines(path)) if path.exists() else 0
    except (FileFormatError, TransientError) as error:
        return 0, [str(error).replace(f"{directory.path}/", "")]
    if count != entry.quarantined:
        return count, [f"lists {count} row(s), the manifest says {entry.quarantined}"]
    return count, []


def read_failed(directory: JobDirectory, entry: Entry) -> list[FailedRow]:
    """The rows of a shard that the engine failed on, in order.

    Raises:
        FileFormatError: the list is damaged, or out of order.
        TransientError: it can't be read now.
    """
    path = directory.quarantine(entry.shard, engine=True)
    found: list[FailedRow] = []
    for number, line in _lines(path) if path.exists() else ():
        row, row_id, tokens = line.get("row"), line.get("id"), line.get("tokens")
        least = found[-1].row + 1 if found else 0
        if not isinstance(row, int) or not least <= row < entry.rows or not isinstance(row_id, str):
            raise _damaged(
                path,
                number,
                f"row {row!r} with id {row_id!r}; rows {least} to {entry.rows - 1} can stand here",
            )
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise _damaged(path, number, "its tokens are no list of whole numbers")
        found.append(FailedRow(row, row_id, np.array([token != 0 for token in tokens], np.bool_)))
    return found


def digest_with(path: Path, failed: list[FailedRow]) -> str:
    """The digest of a file's rows with those that the engine failed on put back in their places.

    Args:
        path: of the file.
        failed: in order, each row once.

    Raises:
        FileFormatError: the file is damaged.
    """
    digest = RowsDigest()
    left = failed[::-1]
    at = 0  # the shard's next row
    for batch in Part(path).record_batches(["id", "mask"]):
        ids, masks = batch.column("id").to_pylist(), batch.column("mask")
        offsets = masks.offsets.to_numpy() - masks.offsets[0].as_py()
        values = masks.flatten().to_numpy(zero_copy_only=False)
        start = 0
        while start < len(ids):
            at = _put_back(digest, left, at)
            stop = min(len(ids), start + left[-1].row - at) if left else len(ids)
            lengths = np.diff(offsets[start : stop + 1])
            digest.update(ids[start:stop], lengths, values[offsets[start] : offsets[stop]])
            at, start = at + stop - start, stop
    _put_back(digest, left, at)
    return digest.hexdigest()


def _put_back(digest: RowsDigest, left: list[FailedRow], at: int) -> int:
    """Add the rows that stand at this place; the place after them."""
    while left and left[-1].row == at:
        row = left.pop()
        digest.update([row.id], np.array([row.mask.size]), row.mask)
        at += 1
    return at


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    content = json.loads(line)
                except ValueError as error:
                    raise _damaged(path, number, str(error)) from error
                if not isinstance(content, dict):
                    raise _damaged(path, number, f"{content!r:.80} is no object")
                yield number, content
    except OSError as error:
        raise TransientError(f"cannot read {path}: {error.strerror or error}") from error


def _damaged(path: Path, number: int, why: str) -> FileFormatError:
    return FileFormatError(f"{path}, line {number}: {why}; the list is damaged: restore it from your copy")
