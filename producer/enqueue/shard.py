"""Making a shard of a cut: its rows, its id, its entry in the log and its list of bad rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from producer.sources.rows import BadRow, Row
from unrolled.job.bad_rows import encode_bad_rows
from unrolled.protocol.spooling import Place, make_rows
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.vectors import VectorRow, numbered

if TYPE_CHECKING:
    from producer.enqueue.cutter import Cut
    from unrolled.protocol.spooling import Spooled


def make_shard(index: int, job: str, cut: Cut, growth: int = 0) -> Spooled:
    """The shard of a cut; equal rows always give equal shards.

    Args:
        index: the shard's number in its job, from 0.
        job: the job's id.
        cut: at least one row.
        growth: how many times rows had been appended to the input before the cut. It is part of the shard's name and in
            its objects, so that rows which no segment names are known to be superfluous once their growth has ended.
    """
    rows = [row for row in cut if isinstance(row, Row)]
    place = Place(index, cut[0].file, cut[0].position, growth)
    bad = encode_bad_rows(job, index, [_listed(row, growth) for row in cut if isinstance(row, BadRow)])
    return make_rows(job, place, [row.id for row in rows], _tokens(rows), bad)


def _tokens(rows: list[Row]) -> Ragged:
    states = [row.state for row in rows if row.state is not None]
    return _contents(rows)._replace(states=np.stack(states) if states else None)


def _contents(rows: list[Row]) -> Ragged:
    vectors = [VectorRow(row.vectors, row.tokens != 0) for row in rows if row.vectors is not None]
    if vectors:
        return numbered(vectors, vectors[0].vectors.shape[1])
    lengths = np.fromiter((row.tokens.size for row in rows), np.int64, len(rows))
    values = np.concatenate([row.tokens for row in rows]) if rows else np.zeros(0, np.int32)
    return Ragged.from_lengths(values, lengths)


def _listed(row: BadRow, growth: int) -> dict[str, Any]:
    content = {"file": row.file, "position": row.position, "id": row.id, "reason": row.reason}
    return content | {"growth": growth} if growth else content
