"""A shard's one outcome: its part is created if it doesn't exist, and only the part that exists counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from unrolled.errors import TransientError
from unrolled.job.names import dead_object, part_object, rows_object
from unrolled.protocol.finishing import finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.job.names import Life
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.finishing import FailedRows
    from unrolled.protocol.objects import Objects
    from unrolled.store.store import Content


class Found(NamedTuple):
    """The visible objects of a shard. If neither can be seen, that doesn't prove that both are missing.

    Attributes:
        rows: the shard's rows; None if it has a part, or if they can't be seen.
        failed: the numbers of the rows that its part names as failed; None if no part can be seen.
    """

    rows: bytes | None
    failed: Sequence[int] | None


def look(objects: Objects, shard: ShardId, failed_rows: FailedRows) -> Found:
    """Look for a shard's part, and if there is none for its rows.

    Raises:
        FileFormatError: the part is damaged.
    """
    if (failed := failed_rows(objects, shard)) is not None:
        return Found(None, failed)
    if (rows := objects.read(rows_object(shard))) is not None:
        return Found(rows, None)
    return Found(None, failed_rows(objects, shard))  # published between the two looks


def publish(
    objects: Objects, shard: ShardId, part: Content, failed: Sequence[int], rows: bytes | None, failed_rows: FailedRows
) -> bool:
    """Create a shard's part, then take the last steps for the part that exists.

    Leases aren't checked, because no promise depends on them.

    Args:
        objects: the job's objects.
        shard: the shard.
        part: the content of the part.
        failed: the numbers of the rows that the part names as failed.
        rows: the shard's rows, if the caller has them in memory.
        failed_rows: reads the failed rows of a part.

    Returns:
        Whether this part is the outcome. If not, another attempt's part was first, and this part is dropped.

    Raises:
        FileFormatError: the part that was first is damaged.
        PayloadError: the shard's rows are damaged.
    """

    def settle() -> tuple[bool, Sequence[int]]:
        created = objects.create(part_object(shard), part)
        winner = failed if created else failed_rows(objects, shard)
        if winner is None:  # deleted since, by a discard, or not visible yet
            raise TransientError(f"{objects.store}/{part_object(shard)} exists, and can't be seen yet")
        return created, winner

    created, winner = objects.steadily(f"see the part of {shard}", settle)
    finish(objects, shard, winner, rows)
    return created


def record_death(objects: Objects, life: Life, reason: str) -> None:
    """Record why a life of a shard was given up; its rows stay for `unrolled retry`."""
    objects.create(dead_object(life), (json.dumps({"life": str(life), "reason": reason}) + "\n").encode())
