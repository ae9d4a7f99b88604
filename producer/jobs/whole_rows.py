"""The rows of a shard put together again: those of its part, and those that failed, in their places."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import PayloadError
from unrolled.format.rows_digest import RowsDigest
from unrolled.reading.arrays import numbers, truths
from unrolled.reading.part_file import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.format.file_info import FailedRow
    from unrolled.job.payload import Payload
    from unrolled.store.store import Store


def digest_with(store: Store, name: str, failed: Sequence[FailedRow], kept: Payload) -> str:
    """The digest of all rows of a shard.

    Args:
        store: where its part is.
        name: the part's name.
        failed: the rows that the part lacks, by number.
        kept: those rows, in that order.

    Raises:
        PayloadError: `kept` has other rows than `failed`.
        FileFormatError: the part is damaged.
    """
    ids = kept.ids.to_pylist()
    if ids != [row.id for row in failed]:
        raise PayloadError(f"holds {len(ids)} rows, and they are not the {len(failed)} that the part calls failed")
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
