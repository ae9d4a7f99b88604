"""The snippets of docs/reading.md, run as they are printed."""

import re
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from support.jobs import finished_job

import unrolled

PROSE = (Path(__file__).parents[3] / "docs" / "reading.md").read_text(encoding="utf-8")
SNIPPETS = dict(
    re.findall(r"^#+ (?:With )?(\w+)(?: vectors)?\n[^#]*?^```python\n(.*?)^```", PROSE, re.MULTILINE | re.DOTALL)
)


@pytest.fixture
def out(tmp_path, monkeypatch):
    """The golden files, where the snippets look for them, among what else is in a job's directory."""
    shutil.copytree(Path(__file__).parents[2] / "golden", tmp_path / "OUT")
    surround(tmp_path / "OUT")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "OUT"


def surround(out):
    """What else is in a job's directory."""
    (out / "_unrolled" / "rows").mkdir(parents=True, exist_ok=True)
    (out / "_unrolled" / "rows" / "000002-0123456789ab.rows").write_bytes(b"half")
    for name in ("job.json", "broker"):
        (out / "_unrolled" / name).write_text("{}\n")


def test_the_page_shows_all_readers():
    """The snippets are found, so that the tests below test something."""
    assert set(SNIPPETS) == {"unrolled", "pyarrow", "DuckDB", "Polars", "pandas", "Pooled"}


@pytest.mark.parametrize("reader", ["pyarrow", "DuckDB", "Polars", "pandas"])
def test_reader(out, reader):
    """Each gives one row's (length, units) matrix as this product's own reader does."""
    names = {}
    exec(SNIPPETS[reader], names)
    expected = next(row for row in unrolled.open(out) if row.id == "docs.txt#1")
    assert names["matrix"].dtype == np.float32
    np.testing.assert_array_equal(names["matrix"], expected.outputs)
    assert names["matrix"].shape == (3, 4)


def test_the_bare_directory_is_read(out):
    """No option is needed, whatever else a job has in its directory."""
    expected = [row.id for row in unrolled.open(out)]
    assert pd.read_parquet(out)["id"].tolist() == expected
    assert ds.dataset(out).to_table(columns=["id"])["id"].to_pylist() == expected
    assert pq.read_table(out, columns=["id"])["id"].to_pylist() == expected
    assert pl.read_parquet(f"{out}/*.parquet", columns=["id"])["id"].to_list() == expected
    by_duckdb = duckdb.sql(f"SELECT id FROM '{out}/*.parquet'").fetchall()
    assert sorted(row[0] for row in by_duckdb) == sorted(expected)


def test_datasets_takes_the_bare_directory(out, tmp_path):
    """The library of Hugging Face needs no option either."""
    datasets = pytest.importorskip("datasets", reason="machine: `datasets` isn't installed")
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert sorted(found["id"]) == sorted(row.id for row in unrolled.open(out))


@pytest.mark.usefixtures("out")
def test_own_reader(capsys):
    """What the page shows of this product's reader runs and gives what its comments say."""
    names = {}
    exec(SNIPPETS["unrolled"], names)
    assert capsys.readouterr().out.startswith("7 rows of 4 units by model abab")
    assert names["outputs"].shape[::2] == (len(names["batch"]), 4)
    assert names["masks"].dtype == bool
    assert names["vectors"].shape == (7, 4)
    assert names["row"].id == "docs.txt#1"
    assert [each.id for each in names["near"]] == [each.id for each in names["dataset"].neighbours("docs.txt#1", 3)]
    np.testing.assert_array_equal(names["frame"]["mean"].to_numpy(), names["vectors"])


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_pooled_vectors_are_read_by_all(tmp_path, monkeypatch, precision):
    """The page's snippet: one matrix by each reader, in either precision."""
    finished_job(tmp_path / "OUT", empty=[1], options={"pooling": ["mean"], "precision": precision})
    surround(tmp_path / "OUT")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(SNIPPETS["Pooled"], names)
    ids, expected = unrolled.open("OUT").pooled("mean")
    assert np.isnan(expected).any(axis=1).nonzero()[0].tolist() == [4]
    expected = np.delete(expected, 4, axis=0)
    assert expected.shape == (len(ids) - 1, 3)
    for reader in ("pyarrow", "duckdb", "polars", "pandas"):
        np.testing.assert_array_equal(names[f"by_{reader}"], expected)


SIMILARITY = "array_cosine_similarity(mean::FLOAT[3], [1, 0, 0]::FLOAT[3])"


def test_a_row_without_a_token_has_no_vector_in_any_reader(tmp_path):
    """Null is what each library leaves out by itself, or on one word."""
    finished_job(tmp_path, empty=[1], options={"pooling": ["mean"]})
    files, without = f"{tmp_path}/*.parquet", "rows.txt#4"
    nearest_last = duckdb.sql(f"SELECT id, {SIMILARITY} AS near FROM '{files}' ORDER BY near DESC").fetchall()[-1]
    assert nearest_last == (without, None)
    mean = duckdb.sql(f"SELECT avg({SIMILARITY}), count(mean), count(*) FROM '{files}'").fetchall()[0]
    assert np.isfinite(mean[0])
    assert mean[1:] == (11, 12)
    by_polars = pl.read_parquet(files)
    assert by_polars.filter(pl.col("mean").is_null())["id"].to_list() == [without]
    assert len(by_polars.drop_nulls("mean")) == 11
    assert np.isnan(by_polars["mean"].to_numpy()).any(axis=1).sum() == 1
    by_pandas = pd.read_parquet(tmp_path)
    assert by_pandas[by_pandas["mean"].isna()]["id"].tolist() == [without]
    assert len(by_pandas.dropna()) == 11
    by_arrow = ds.dataset(tmp_path).to_table(filter=ds.field("mean").is_valid())
    assert without not in by_arrow["id"].to_pylist()
    assert by_arrow.num_rows == 11


def test_zeros_and_nan_would_come_first_in_duckdb(tmp_path):
    """Why a row without a token is null: its similarity would be NaN, which DuckDB sorts before all numbers."""
    finished_job(tmp_path, empty=[1], options={"pooling": ["mean"], "empty_rows": "zeros"})
    found = duckdb.sql(f"SELECT id, {SIMILARITY} AS near FROM '{tmp_path}/*.parquet' ORDER BY near DESC").fetchall()
    assert found[0][0] == "rows.txt#4"
    assert np.isnan(found[0][1])
