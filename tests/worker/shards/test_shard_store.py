"""Publishing what became of a shard."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.columns import per_token, plain, stored
from support.counting_engine import CountingEngine, Plan
from support.processes import UNITS, make_rows, open_site

from unrolled.patience import Patience
from worker.errors import AwayError
from worker.runtime.metrics import Metrics
from worker.shards.shard_store import ShardStore


@pytest.fixture
def shard(tmp_path, broker_url):
    """What publishes, a job's directory, a shard's id, its rows and its outputs."""
    with open_site(tmp_path, broker_url) as site:
        directory = site.enqueue(make_rows(4), rows_per_shard=4)
        engine = CountingEngine(Plan(str(tmp_path / "journal")))
        store = ShardStore(engine, 60_000, Metrics(), Patience(print))
        (name,) = directory.waiting()
        rows = store.read(directory, name)
        outputs = np.empty((rows.real.values.size, UNITS), np.float32)
        engine.compute([rows.real], [[outputs]], per_token(UNITS))
        yield store, directory, name, rows, outputs


def test_a_part_says_where_it_comes_from(shard):
    """Rows, outputs and metadata are the shard's, and publishing again leaves the same bytes."""
    store, directory, name, rows, outputs = shard
    store.publish(directory, name, rows, [outputs], {}, *plain(UNITS))
    path = directory.part(name)
    table = pq.read_table(path)
    assert table["id"].to_pylist() == [f"rows#{i}" for i in range(4)]
    assert table["length"].to_pylist() == rows.real.lengths.tolist()
    np.testing.assert_array_equal(np.concatenate([np.array(row) for row in table["outputs"].to_pylist()]), outputs)
    metadata = pq.read_metadata(path).metadata
    assert metadata[b"unrolled.shard"] == str(name).encode()
    assert metadata[b"unrolled.model_fingerprint"] == directory.job.fingerprint.encode()
    before = path.read_bytes()
    store.publish(directory, name, rows, [outputs], {}, *plain(UNITS))
    assert path.read_bytes() == before
    assert [entry.name for entry in directory.path.glob(".*")] == []


def test_failed_rows_are_listed_and_left_out(shard):
    """The file holds the others with their own outputs; the list has id, reason and tokens."""
    store, directory, name, rows, outputs = shard
    store.publish(directory, name, rows, [outputs], {1: "too hard", 3: "too odd"}, *plain(UNITS))
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
    store, directory, name, rows, outputs = shard
    spec, columns = stored(UNITS, pooling=("none", "mean"), precision="float16")
    means = np.arange(4 * UNITS, dtype=np.float32).reshape(4, UNITS)
    store.publish(directory, name, rows, [outputs, means], {1: "too hard"}, spec, columns)
    table = pq.read_table(directory.part(name))
    assert table["id"].to_pylist() == ["rows#0", "rows#2", "rows#3"]
    assert table["mean"].to_pylist() == means[[0, 2, 3]].tolist()
    assert [len(row) for row in table["outputs"].to_pylist()] == rows.real.lengths[[0, 2, 3]].tolist()


def test_a_shard_whose_rows_all_failed_has_an_empty_file(shard):
    """It is published, so that nothing of it waits any more."""
    store, directory, name, rows, outputs = shard
    store.publish(directory, name, rows, [outputs], dict.fromkeys(range(4), "x"), *plain(UNITS))
    assert pq.read_table(directory.part(name)).num_rows == 0


def test_the_list_of_an_earlier_attempt_goes(shard):
    """Where a row failed once and is computed the next time, it isn't in the part and in quarantine at once."""
    store, directory, name, rows, outputs = shard
    store.publish(directory, name, rows, [outputs], {1: "out of memory"}, *plain(UNITS))
    assert directory.failing() == {name}
    for _ in range(2):
        store.publish(directory, name, rows, [outputs], {}, *plain(UNITS))
        assert list((directory.path / "_quarantine").iterdir()) == []
        assert pq.read_table(directory.part(name)).num_rows == 4


def test_nothing_is_read_of_a_published_shard(shard):
    """Whether its rows are still there or not."""
    store, directory, name, rows, outputs = shard
    store.publish(directory, name, rows, [outputs], {}, *plain(UNITS))
    assert store.read(directory, name) is None
    store.discard(directory, name)
    assert store.read(directory, name) is None
    assert store.header(directory, name) == (0, 0)


def test_a_directory_that_is_gone_is_not_waited_for(shard):
    """It may come back, but it holds nothing up meanwhile."""
    store, directory, name, rows, outputs = shard
    directory.path.rename(directory.path.with_name("elsewhere"))
    with pytest.raises(AwayError, match="mount or restore"):
        store.publish(directory, name, rows, [outputs], {}, *plain(UNITS))
    with pytest.raises(AwayError, match="mount or restore"):
        store.read(directory, name)
