"""Shards: a cut's rows, counted, hashed and made durable."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.enqueue.shard import make_shard, spool
from producer.rows import BadRow, Row
from unrolled.errors import TransientError
from unrolled.format.rows_digest import rows_digest
from unrolled.job import payload
from unrolled.job.directory import create_job
from unrolled.job.job import Job

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
    bad = [json.loads(line) for line in shard.quarantine.splitlines()]
    assert [line["position"] for line in bad] == [100 + i for i, row in enumerate(rows) if row is None]
    assert all(line["reason"] == "no field 'text'" for line in bad)
    assert make_shard(index, cut_of(rows)) == shard


def test_spool(tmp_path):
    """A shard's rows and its bad rows are there when the call returns; twice is the same as once."""
    directory = create_job(tmp_path, Job("ab" * 32, ("in.txt",), {}))
    shard = make_shard(3, cut_of([("a", [1, 2]), None]))
    for _ in range(2):
        spool(directory, shard)
        assert directory.pending(shard.id).read_bytes() == shard.blob
        assert directory.quarantine(shard.id).read_bytes() == shard.quarantine
    clean = make_shard(4, cut_of([("a", [1, 2])]))
    spool(directory, clean)
    assert directory.waiting() == {shard.id, clean.id}
    assert directory.quarantined() == {shard.id}


def test_spool_refused(tmp_path):
    """What the file system refuses is a passing trouble; the bad rows come first, so that none is lost."""
    directory = create_job(tmp_path, Job("ab" * 32, ("in.txt",), {}))
    (tmp_path / "_pending").rmdir()
    shard = make_shard(0, cut_of([("a", [1]), None]))
    with pytest.raises(TransientError, match="cannot write"):
        spool(directory, shard)
    assert directory.quarantined() == {shard.id}
    assert directory.waiting() == set()
