"""Shards: a cut's rows, counted and hashed."""

import io
import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.enqueue.shard import make_shard
from producer.rows import BadRow, Row
from unrolled.format.rows_digest import rows_digest
from unrolled.job import payload

GOOD = st.tuples(st.text(max_size=6), st.lists(st.integers(0, 100_000), max_size=5))
CUTS = st.lists(GOOD | st.none(), min_size=1, max_size=10)


def cut_of(rows):
    """Rows for pairs of id and tokens, bad ones for None."""
    return [
        BadRow("in.txt", 100 + place, None, "no field 'text'")
        if row is None
        else Row("in.txt", 100 + place, row[0], np.array(row[1], np.int32))
        for place, row in enumerate(rows)
    ]


@settings(deadline=None)
@given(CUTS, st.integers(0, 10**9))
def test_shard(rows, index):
    """A shard holds its good rows, counts all, and its id is their content's."""
    shard = make_shard(index, cut_of(rows))
    good = [row for row in rows if row is not None]
    found = payload.read(io.BytesIO(shard.blob), len(shard.blob))
    assert found.ids.to_pylist() == [row_id for row_id, _ in good]
    assert found.tokens.values.tolist() == [token for _, tokens in good for token in tokens]
    assert str(shard.id) == f"{index:06d}-{payload.content_hash(shard.blob)}"
    assert shard.size == sum(len(tokens) for _, tokens in good)
    assert (shard.entry.rows, shard.entry.quarantined) == (len(good), len(rows) - len(good))
    assert shard.entry.tokens == sum(token != 0 for _, tokens in good for token in tokens)
    assert (shard.entry.file, shard.entry.position) == ("in.txt", 100)
    assert shard.entry.digest == rows_digest(found.ids.to_pylist(), found.tokens)
    bad = [json.loads(line) for line in shard.bad_rows.splitlines()]
    assert [line["position"] for line in bad] == [100 + i for i, row in enumerate(rows) if row is None]
    assert all(line["reason"] == "no field 'text'" for line in bad)
    assert make_shard(index, cut_of(rows)) == shard
