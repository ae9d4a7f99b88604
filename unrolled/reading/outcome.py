"""The outcome of a shard, from the footer of its part alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from unrolled.errors import FileFormatError
from unrolled.format.file_info import FileInfo
from unrolled.job.names import part_object
from unrolled.reading.part_file import explained

if TYPE_CHECKING:
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.objects import Objects


def read_outcome(objects: Objects, shard: ShardId) -> FileInfo | None:
    """The metadata of a shard's part; None where there is no part to be seen.

    Raises:
        FileFormatError: the part is damaged, or is another shard's.
        TransientError: it can't be read now.
    """
    name = part_object(shard)

    def attempt() -> FileInfo | None:
        file = objects.store.open(name)
        if file is None:
            return None
        with file, explained(objects.store, name):
            info = FileInfo.decode(pq.read_metadata(file).metadata)
            if info.shard != shard:
                raise FileFormatError(
                    f"holds shard {info.shard}; it was renamed or copied: restore the part of {shard}"
                )
            return info

    return objects.steadily(f"read from {objects.store}", attempt)


def failed_ids(objects: Objects, shard: ShardId) -> list[str] | None:
    """The ids of the rows that a shard's part calls failed; None where there is no part to be seen.

    Raises:
        FileFormatError: the part is damaged.
    """
    info = read_outcome(objects, shard)
    return None if info is None else [failed.id for failed in info.failed]


def failed_rows(objects: Objects, shard: ShardId) -> list[int] | None:
    """The numbers of the rows that a shard's part calls failed; None where there is no part to be seen.

    Raises:
        FileFormatError: the part is damaged.
    """
    info = read_outcome(objects, shard)
    return None if info is None else [failed.row for failed in info.failed]
