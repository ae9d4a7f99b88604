"""A job's rows as tables of other libraries."""

import sys

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from support.jobs import finished_job

import unrolled


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three parts, which store each token's vector and the mean."""
    out = tmp_path_factory.mktemp("out")
    finished_job(out, empty=[1], options={"pooling": ["none", "mean"]})
    return unrolled.open(out)


def test_all_stored_columns(dataset):
    """Arrow, pandas and Polars give the rows in order, with all columns."""
    ids = [row.id for row in dataset]
    for table in (dataset.to_arrow(), pa.table(dataset), dataset.record_batches().read_all()):
        assert table.column_names == ["id", "length", "mask", "outputs", "mean"]
        assert table["id"].to_pylist() == ids
    assert dataset.to_pandas()["id"].tolist() == ids
    assert dataset.to_polars()["id"].to_list() == ids
    assert pl.DataFrame(dataset)["id"].to_list() == ids


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_a_package_that_one_method_needs(dataset, monkeypatch, name):
    """Where it isn't installed, the text says which method needs it and how to install it."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError) as caught:
        getattr(dataset, f"to_{name}")()
    assert str(caught.value) == f"to_{name} needs {name}, which isn't installed: pip install {name}"


@pytest.mark.parametrize("name", ["mean", "max", "last", "first"])
def test_pooled_columns_are_matrices(dataset, name):
    """A pooled column, stored or computed, is one matrix, and nothing has to be reshaped."""
    _, expected = dataset.pooled(name)
    np.testing.assert_array_equal(dataset.to_polars(["id", name])[name].to_numpy(), expected)
    some = np.delete(expected, 4, axis=0)
    assert np.isnan(expected[4]).all()
    np.testing.assert_array_equal(np.stack(dataset.to_pandas([name])[name].dropna()), some)
    with duckdb.connect() as connection:
        table = dataset.to_duckdb(connection, ["id", name])
        assert table.types[1] == "FLOAT[3]"
        found = table.filter(f"{name} IS NOT NULL")
        np.testing.assert_array_equal(np.array(found.fetchnumpy()[name].tolist()), some)


def test_duckdb_needs_a_connection(dataset):
    """The columns come first everywhere else."""
    with pytest.raises(TypeError, match=r"the first argument is \['id'\]; give a connection, such as duckdb.connect"):
        dataset.to_duckdb(["id"])


def test_a_computed_column_has_the_type_of_a_stored_one(dataset):
    """Tables of jobs that store it and of jobs that don't can be joined."""
    table = dataset.to_arrow(["id", "mean", "max"])
    assert table.schema.field("max").type == table.schema.field("mean").type
    assert table.schema.field("max").nullable == table.schema.field("mean").nullable
    assert table["max"].combine_chunks().type == table.schema.field("max").type


@pytest.mark.parametrize("name", ["mean", "max"])
def test_a_row_without_a_token(dataset, name):
    """It has no pooled vector, stored or computed: null in tables, and nothing but the vector is null."""
    for columns in (None, ["id", name]):
        table = dataset.to_arrow(columns)
        column = name if name in table.column_names else "mean"
        assert [row["id"] for row in table.to_pylist() if row[column] is None] == ["rows.txt#4"]
        assert all(table[other].null_count == 0 for other in table.column_names if other != column)
    assert dataset.to_polars([name])[name].null_count() == 1
    assert dataset.to_pandas([name])[name].isna().sum() == 1
    with duckdb.connect() as connection:
        table = dataset.to_duckdb(connection, ["id", name])
        near = f"array_cosine_similarity({name}, [1, 2, 3]::FLOAT[3])"
        ids = table.project(f"id, {near} AS near").order("near DESC").fetchall()
        assert ids[-1] == ("rows.txt#4", None)


def test_columns_in_the_order_that_was_asked_for(dataset):
    """The table has only these, and only these are read."""
    for columns in (["max", "id"], ("max", "id"), iter(["max", "id"]), np.array(["max", "id"])):
        assert dataset.to_arrow(columns).column_names == ["max", "id"]
    with pytest.raises(ValueError, match="columns are none; this job stored id, length, mask, outputs, mean"):
        dataset.to_arrow([])
    with pytest.raises(ValueError, match="columns has 'id' twice; name each column once"):
        dataset.to_arrow(["id", "mean", "id"])
    with pytest.raises(TypeError, match=r"columns is 'id'; give a list of names, such as \['id'\]"):
        dataset.to_pandas("id")
    with pytest.raises(KeyError, match="no column 'text'; this job stored id, length, mask, outputs, mean"):
        dataset.to_arrow(["text"])
    with pytest.raises(KeyError, match="no column 'mean_1'"):
        dataset.record_batches(["mean_1"])


def test_duckdb_keeps_a_table(dataset, tmp_path):
    """Under any name, in place of one that was there."""
    with duckdb.connect(tmp_path / "rows.duckdb") as connection:
        for _ in range(2):
            table = dataset.to_duckdb(connection, ["id", "length"], name='the "vectors"')
            assert table.count("*").fetchall() == [(len(dataset),)]
    with duckdb.connect(tmp_path / "rows.duckdb") as connection:
        assert connection.sql('SELECT count(*) FROM "the ""vectors"""').fetchall() == [(len(dataset),)]


def test_duckdb_keeps_what_the_user_has_registered(dataset):
    """A connection has its own names; none is taken, and none is left behind."""
    with duckdb.connect() as connection:
        connection.register("unrolled_rows", pa.table({"mine": [5]}))
        for _ in range(2):
            dataset.to_duckdb(connection, ["id"], name="vectors")
        assert connection.sql("FROM unrolled_rows").fetchall() == [(5,)]
        assert sorted(connection.sql("SHOW TABLES").fetchall()) == [("unrolled_rows",), ("vectors",)]


@pytest.mark.parametrize("pooling", [["none", "mean"], ["mean"]])
def test_duckdb_reads_float16(tmp_path, pooling):
    """As float32, with the same values."""
    finished_job(tmp_path, empty=[1], options={"pooling": pooling, "precision": "float16"})
    dataset = unrolled.open(tmp_path)
    with duckdb.connect() as connection:
        names = [column.name for column in dataset.columns]
        found = dataset.to_duckdb(connection)
        assert {type_ for name, type_ in zip(found.columns, map(str, found.types), strict=True) if name in names} <= {
            "FLOAT[3]",
            "FLOAT[3][]",
        }
        for name in names:
            values = [row[0] for row in found.project(name).fetchall()]
            assert [value and np.float16(value).tolist() for value in values] == dataset.to_arrow([name])[
                name
            ].to_pylist()


@pytest.mark.parametrize("kind", ["VIEW", "TEMP VIEW", "TABLE"])
def test_duckdb_replaces_a_view(dataset, kind):
    """As it replaces a table, and within a transaction; one of another schema stays."""
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA other; CREATE VIEW other.vectors AS SELECT 7")
        connection.execute(f'CREATE {kind} "Vectors" AS SELECT 1 AS a; BEGIN')
        assert dataset.to_duckdb(connection, ["id"]).count("*").fetchall() == [(len(dataset),)]
        connection.execute("COMMIT")
        assert connection.sql("SELECT count(*) FROM vectors").fetchall() == [(len(dataset),)]
        assert connection.sql("SELECT * FROM other.vectors").fetchall() == [(7,)]


def test_a_row_group_at_a_time(dataset):
    """Batches are the files' row groups: memory doesn't grow with the job."""
    assert len(list(dataset.record_batches(["id"]))) >= len(dataset.files)
