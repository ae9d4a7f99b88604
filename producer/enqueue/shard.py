"""Making a shard of a cut: payload, id, manifest entry and list of bad rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from producer.rows import BadRow, Row
from unrolled.format.rows_digest import rows_digest
from unrolled.job import payload
from unrolled.job.manifest import Entry
from unrolled.job.shard_id import ShardId
from unrolled.ragged import Ragged

if TYPE_CHECKING:
    from producer.enqueue.cutter import Cut


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of consecutive input rows on its way to the queue.

    Attributes:
        entry: the shard's line in the manifest.
        blob: the shard's payload.
        size: token ids in the payload, padding included.
        bad_rows: lines of JSON, one for each bad row.
    """

    entry: Entry
    blob: bytes
    size: int
    bad_rows: bytes

    @property
    def id(self) -> ShardId:
        """The shard's id."""
        return self.entry.shard


def make_shard(index: int, cut: Cut) -> Shard:
    """The shard of a cut. The same rows always give the same shard.

    Args:
        index: position of the shard in its job, from 0.
        cut: at least one row.
    """
    rows = [row for row in cut if isinstance(row, Row)]
    bad = [row for row in cut if isinstance(row, BadRow)]
    ids = [row.id for row in rows]
    bad_rows = b"".join(map(_line, bad))
    tokens = _ragged(rows)
    blob = payload.encode(payload.Payload(payload.strings(ids), tokens))
    entry = Entry(
        shard=ShardId(index, payload.content_hash(blob)),
        rows=len(rows),
        tokens=int(np.count_nonzero(tokens.values)),
        quarantined=len(bad),
        digest=rows_digest(ids, tokens),
        file=cut[0].file,
        position=cut[0].position,
    )
    return Shard(entry, blob, tokens.values.size, bad_rows)


def _ragged(rows: list[Row]) -> Ragged:
    values = np.concatenate([row.tokens for row in rows]) if rows else np.zeros(0, np.int32)
    return Ragged.from_lengths(values, [row.tokens.size for row in rows])


def _line(row: BadRow) -> bytes:
    content = {"file": row.file, "position": row.position, "id": row.id, "reason": row.reason}
    return json.dumps(content).encode() + b"\n"
