"""A shard's one outcome: its part is created if there is none, and the part that is there is the one that counts."""

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
    """What a store shows of a shard; neither where nothing can be seen, which is no proof that nothing is there.

    Attributes:
        rows: the shard's rows, where there is no part.
        failed: the numbers of the rows that its part calls failed, where there is one.
    """

    rows: bytes | None
    failed: Sequence[int] | None


def look(objects: Objects, shard: ShardId, failed_rows: FailedRows) -> Found:
    """Look for a shard's part, else for its rows.

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
    """Create a shard's part, then do what is left to do for the part that is there.

    No lease is looked at: nothing rests on one.

    Args:
        objects: of the job.
        shard: which one.
        part: content of the part.
        failed: the numbers of the rows that it calls failed.
        rows: the shard's rows, where they are at hand.
        failed_rows: reads a part's.

    Returns:
        Whether this part is the outcome; else another attempt's was first, and this one is dropped.

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


def bury(objects: Objects, life: Life, reason: str) -> None:
    """Record why a life of a shard is given up; its rows stay for `unrolled retry`."""
    objects.create(dead_object(life), (json.dumps({"life": str(life), "reason": reason}) + "\n").encode())
