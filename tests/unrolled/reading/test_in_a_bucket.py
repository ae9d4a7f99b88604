"""A job in a bucket gives the tables, rows and examples that the same files on a disk give."""

import pickle

import duckdb
import numpy as np
import pytest
from support.bucket_server import Answer, bucket_server
from support.jobs import finished_job

import unrolled
from unrolled import Examples

URL = "s3://bucket/jobs/out"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with bucket_server(tmp_path_factory.mktemp("buckets")) as found, pytest.MonkeyPatch.context() as patch:
        for name, value in found.environment().items():
            patch.setenv(name, value)
        finished_job(URL, shards=6, options={"pooling": ["none", "mean"]})
        yield found


@pytest.fixture
def pair(server):
    """The job in the bucket, and its parts on the disk."""
    server.faults = {}
    server.requests.clear()
    return unrolled.open(URL), unrolled.open(sorted((server.directory / "bucket/jobs/out").glob("*.parquet")))


def test_tables(pair):
    """Of Arrow, pandas, Polars and DuckDB, with a stored and a computed column."""
    remote, local = pair
    assert remote.complete
    columns = ["id", "mean", "max"]
    assert remote.to_arrow() == local.to_arrow()
    assert remote.to_arrow(columns) == local.to_arrow(columns)
    assert remote.to_polars(columns).equals(local.to_polars(columns))
    np.testing.assert_array_equal(np.stack(remote.to_pandas(columns)["max"]), np.stack(local.to_pandas(columns)["max"]))
    with duckdb.connect() as connection:
        found = remote.to_duckdb(connection, columns, name="remote").order("id").fetchall()
        assert found == local.to_duckdb(connection, columns, name="local").order("id").fetchall()


def test_rows_and_neighbours(pair):
    """By id, by number, and those that are near."""
    remote, local = pair
    for row in local:
        np.testing.assert_array_equal(remote[row.id].outputs, row.outputs)
    assert remote[-1].id == local[-1].id
    assert remote.neighbours(local[0].id, 5) == local.neighbours(local[0].id, 5)


@pytest.mark.parametrize("column", ["outputs", "mean", "last"])
def test_examples(pair, column):
    """Shuffled, in batches; a process that gets a copy, as a loader's workers do, opens the bucket itself."""
    remote, local = (Examples(dataset=dataset, column=column, seed=1) for dataset in pair)
    for examples in (remote, pickle.loads(pickle.dumps(remote))):
        for found, wanted in zip(examples.batches(5), local.batches(5), strict=True):
            assert found.ids == wanted.ids
            np.testing.assert_array_equal(found.vectors, wanted.vectors)


def test_a_server_that_goes_wrong(pair, server):
    """Half an answer, an overload and a lost answer cost time only."""
    remote, local = pair
    server.faults = {"GET": [Answer.HALF_ANSWER, None, Answer.SLOW_DOWN, Answer.LOST_ANSWER]}
    assert remote.to_arrow() == local.to_arrow()
    assert not server.faults["GET"]
