"""Shards: a cut's rows, counted and hashed."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.enqueue.shard import make_shard
from producer.sources.rows import BadRow, Row
from unrolled.format.rows_digest import rows_digest
from unrolled.job import payload
from unrolled.protocol.spooling import entry_of

JOB = "0" * 16
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
    shard = make_shard(index, JOB, cut_of(rows))
    good = [row for row in rows if row is not None]
    found = payload.decode(shard.rows)
    assert found.ids.to_pylist() == [row_id for row_id, _ in good]
    assert found.tokens.values.tolist() == [token for _, tokens in good for token in tokens]
    assert str(shard.entry.shard) == f"{index:06d}-{payload.content_hash(shard.rows)}"
    assert shard.entry.size == sum(len(tokens) for _, tokens in good)
    assert (shard.entry.rows, shard.entry.quarantined) == (len(good), len(rows) - len(good))
    assert shard.entry.tokens == sum(token != 0 for _, tokens in good for token in tokens)
    assert (shard.entry.file, shard.entry.position) == ("in.txt", 100)
    assert shard.entry.digest == rows_digest(found.ids.to_pylist(), found.tokens)
    bad = [json.loads(line) for line in shard.quarantine.splitlines()]
    assert [line["position"] for line in bad] == [100 + i for i, row in enumerate(rows) if row is None]
    assert all(line["reason"] == "no field 'text'" for line in bad)
    assert entry_of(shard.rows) == shard.entry
    assert make_shard(index, JOB, cut_of(rows)) == shard


def test_everything_in_a_shard_is_in_its_name():
    """Rows, ids, bad rows, their reasons, the place and the job: another job's rows can't hit its name."""
    rows = [("a", [1, 2]), None]
    other_reason = [*cut_of(rows)[:1], BadRow("in.txt", 101, None, "empty")]
    made = [
        make_shard(0, JOB, cut_of(rows)),
        make_shard(1, JOB, cut_of(rows)),
        make_shard(0, "f" * 16, cut_of(rows)),
        make_shard(0, JOB, cut_of([("b", [1, 2]), None])),
        make_shard(0, JOB, cut_of([("a", [1, 3]), None])),
        make_shard(0, JOB, cut_of([("a", [1, 2])])),
        make_shard(0, JOB, other_reason),
    ]
    assert len({shard.entry.shard.hash for shard in made}) == len(made)
