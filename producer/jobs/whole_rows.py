"""The rows of a shard put together again: those of its part, and those that failed, in their places."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import PayloadError, counted
from unrolled.format.rows_digest import RowsDigest
from unrolled.job import payload
from unrolled.protocol.spooling import select_rows
from unrolled.reading.arrays import numbers, truths
from unrolled.reading.part_file import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.format.file_info import FailedRow
    from unrolled.job.payload import Payload
    from unrolled.job.shard_id import ShardId
    from unrolled.store.store import Store


def digest_with(store: Store, name: str, failed: Sequence[FailedRow], kept: Payload) -> str:
    """The digest of all rows of a shard.

    Args:
        store: where its part is.
        name: the part's name.
        failed: the rows that the part lacks, by number.
        kept: those rows, in that order (`called_failed`).

    Raises:
        FileFormatError: the part is damaged.
    """
    ids = kept.ids.to_pylist()
    digest, at, left = RowsDigest(), 0, 0
    masks = [kept.tokens.values[start:stop] != 0 for start, stop in pairwise(kept.tokens.offsets)]

    def put_back(place: int) -> tuple[int, int]:
        """Add the failed rows that belong at a place; the place after them, and how many there were so far."""
        count = left
        while count < len(failed) and failed[count].row == place:
            digest.update([ids[count]], np.array([masks[count].size]), masks[count])
            count, place = count + 1, place + 1
        return place, count

    for batch in Part(store, name).record_batches(["id", "mask"]):
        names, masks_of = batch.column("id").to_pylist(), batch.column("mask")
        offsets = numbers(masks_of.offsets) - masks_of.offsets[0].as_py()
        values = truths(masks_of.flatten())
        start = 0
        while start < len(names):
            at, left = put_back(at)
            stop = min(len(names), start + failed[left].row - at) if left < len(failed) else len(names)
            lengths = np.diff(offsets[start : stop + 1])
            digest.update(names[start:stop], lengths, values[offsets[start] : offsets[stop]])
            at, start = at + stop - start, stop
    put_back(at)
    return digest.hexdigest()


def remedy(shard: ShardId) -> str:
    """What helps if a shard's list of failed rows doesn't fit its part. Rows of a retry can't be read again."""
    copy = "restore it from a copy"
    again = "remove it and its part, and the same `unrolled run` or `unrolled enqueue` makes both again"
    return copy if shard.retries else f"{copy}; or, unless the input is a stream, {again}"


def called_failed(content: bytes, ids: Sequence[str]) -> bytes:
    """The rows of a list that the part calls failed, as a list.

    A list outlives its part. If the part is removed and made again, other rows may fail, and only the part says which.

    Args:
        content: the list.
        ids: of the rows that the part calls failed, in their order.

    Raises:
        PayloadError: the list is damaged, or lacks one of these rows.
    """
    kept = payload.decode(content).ids.to_pylist()
    if kept == [*ids]:
        return content
    places = {one: number for number, one in enumerate(kept)}
    if missing := sum(one not in places for one in ids):
        raise PayloadError(
            f"holds {counted(len(kept), 'row')}, and lacks {missing:,} of the {len(ids):,} that the part calls failed"
        )
    return select_rows(content, [places[one] for one in ids])
