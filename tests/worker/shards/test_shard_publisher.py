"""Publishing what became of a shard."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.columns import per_token, plain, stored
from support.counting_engine import CountingEngine, Plan
from support.processes import UNITS, make_rows, open_site

from unrolled.errors import TransientError
from worker.shards.shard_publisher import publish_part, publish_quarantine
from worker.shards.shard_reader import read_rows


@pytest.fixture
def shard(tmp_path, broker_url):
    """A job's directory, a shard's id, its rows and its outputs."""
    with open_site(tmp_path, broker_url) as site:
        directory = site.enqueue(make_rows(4), rows_per_shard=4)
        (name,) = directory.waiting()
        rows = read_rows(directory.pending(name), name.hash, 60_000)
        engine = CountingEngine(Plan(str(tmp_path / "journal")))
        outputs = np.empty((rows.real.values.size, UNITS), np.float32)
        engine.compute([rows.real], [[outputs]], per_token(UNITS))
        yield directory, name, rows, outputs, engine


def test_a_part_says_where_it_comes_from(shard):
    """Rows, outputs and metadata are the shard's, and publishing again leaves the same bytes."""
    directory, name, rows, outputs, engine = shard
    publish_part(directory, name, rows, [outputs], *plain(UNITS), engine)
    path = directory.part(name)
    table = pq.read_table(path)
    assert table["id"].to_pylist() == [f"rows#{i}" for i in range(4)]
    assert table["length"].to_pylist() == rows.real.lengths.tolist()
    np.testing.assert_array_equal(np.concatenate([np.array(row) for row in table["outputs"].to_pylist()]), outputs)
    metadata = pq.read_metadata(path).metadata
    assert metadata[b"unrolled.shard"] == str(name).encode()
    assert metadata[b"unrolled.model_fingerprint"] == directory.job.fingerprint.encode()
    before = path.read_bytes()
    publish_part(directory, name, rows, [outputs], *plain(UNITS), engine)
    assert path.read_bytes() == before
    assert [entry.name for entry in directory.path.glob(".*")] == []


def test_failed_rows_are_listed_and_left_out(shard):
    """The file holds the others with their own outputs; the list has id, reason and tokens."""
    directory, name, rows, outputs, engine = shard
    good = rows.without({1: "too hard", 3: "too odd"})
    publish_quarantine(directory, name, good.failed)
    publish_part(directory, name, good, [outputs], *plain(UNITS), engine)
    table = pq.read_table(directory.part(name))
    assert table["id"].to_pylist() == ["rows#0", "rows#2"]
    first, third = (rows.real.offsets[i : i + 2] for i in (0, 2))
    np.testing.assert_array_equal(table["outputs"].to_pylist()[0], outputs[slice(*first)])
    np.testing.assert_array_equal(table["outputs"].to_pylist()[1], outputs[slice(*third)])
    lines = [json.loads(line) for line in directory.quarantine(name, engine=True).read_text().splitlines()]
    assert [(line["id"], line["reason"]) for line in lines] == [("rows#1", "too hard"), ("rows#3", "too odd")]
    assert lines[0]["tokens"] == rows.tokens.take(1, 2).values.tolist()


def test_pooled_vectors_of_failed_rows_are_left_out(shard):
    """Each good row keeps its own."""
    directory, name, rows, outputs, engine = shard
    spec, columns = stored(UNITS, pooling=("none", "mean"), precision="float16")
    means = np.arange(4 * UNITS, dtype=np.float32).reshape(4, UNITS)
    publish_part(directory, name, rows.without({1: "too hard"}), [outputs, means], spec, columns, engine)
    table = pq.read_table(directory.part(name))
    assert table["id"].to_pylist() == ["rows#0", "rows#2", "rows#3"]
    assert table["mean"].to_pylist() == means[[0, 2, 3]].tolist()
    assert [len(row) for row in table["outputs"].to_pylist()] == rows.real.lengths[[0, 2, 3]].tolist()


def test_a_shard_whose_rows_all_failed_has_an_empty_file(shard):
    """It is published all the same: nothing of it waits any more."""
    directory, name, rows, outputs, engine = shard
    publish_part(directory, name, rows.without(dict.fromkeys(range(4), "x")), [outputs], *plain(UNITS), engine)
    assert pq.read_table(directory.part(name)).num_rows == 0


def test_the_list_of_an_earlier_attempt_goes(shard):
    """Where a row failed once and is computed the next time, it isn't in the file and in quarantine at once."""
    directory, name, rows, *_ = shard
    publish_quarantine(directory, name, rows.without({1: "out of memory"}).failed)
    publish_quarantine(directory, name, rows.failed)
    assert list((directory.path / "_quarantine").iterdir()) == []
    publish_quarantine(directory, name, [])


def test_a_missing_directory_is_told(shard):
    """It may come back."""
    directory, name, rows, outputs, engine = shard
    directory.path.rename(directory.path.with_name("elsewhere"))
    with pytest.raises(TransientError, match="bring the directory back"):
        publish_part(directory, name, rows, [outputs], *plain(UNITS), engine)
    assert pa.array(rows.ids).null_count == 0
