"""The rows that the engine failed on: their list keeps their tokens, so that their shard can still be verified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producer.jobs.quarantine_lists import damaged, read_lines
from unrolled.format.rows_digest import RowsDigest
from unrolled.reading.part_file import Part

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Entry


@dataclass(frozen=True, slots=True, eq=False)
class FailedRow:
    """A row that the engine failed on.

    Attributes:
        row: its number among the shard's good rows, from 0.
        id: the id that it came with, or its automatic one.
        mask: bool (steps,), True where a token is real.
    """

    row: int
    id: str
    mask: NDArray[np.bool_]


def read_failed(directory: JobDirectory, entry: Entry) -> list[FailedRow]:
    """The rows of a shard that the engine failed on, in order.

    Raises:
        FileFormatError: the list is damaged, or out of order.
        TransientError: it can't be read now.
    """
    path = directory.quarantine(entry.shard, engine=True)
    found: list[FailedRow] = []
    for number, line in read_lines(path) if path.exists() else ():
        row, row_id, tokens = line.get("row"), line.get("id"), line.get("tokens")
        least = found[-1].row + 1 if found else 0
        if not isinstance(row, int) or not least <= row < entry.rows or not isinstance(row_id, str):
            why = f"row {row!r} with id {row_id!r}; a row from {least} to {entry.rows - 1} is expected"
            raise damaged(path, number, why)
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise damaged(path, number, "its tokens are not a list of whole numbers")
        found.append(FailedRow(row, row_id, np.array([token != 0 for token in tokens], np.bool_)))
    return found


def digest_with(path: Path, failed: list[FailedRow]) -> str:
    """The digest of a part's rows, with those that the engine failed on put back in their places.

    Args:
        path: of the part.
        failed: in order, each row once.

    Raises:
        FileFormatError: the part is damaged.
        TransientError: it can't be read now.
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
    """Add the failed rows that follow each other from this place on; the place after them."""
    while left and left[-1].row == at:
        row = left.pop()
        digest.update([row.id], np.array([row.mask.size]), row.mask)
        at += 1
    return at
