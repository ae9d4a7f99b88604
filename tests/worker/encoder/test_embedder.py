"""The function of Arrow tables that other engines call."""

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from support import skips
from support.kernels import KERNELS, THREADS

import unrolled
from unrolled.errors import RowError

TEXTS = ["a b", "", "zzz a", "b"]
TABLE = pa.table({"n": [1, 2, 3, 4], "text": TEXTS})


@pytest.fixture(scope="module")
def wanted(directory):
    return unrolled.load(directory).encode(TEXTS, pooling="mean", output="arrow")


def test_tables_and_batches(directory, wanted):
    """The result is the kind of table that was given, with one column more."""
    embed = unrolled.Embedder(directory)
    found = embed(TABLE)
    assert found.column_names == ["n", "text", "embedding"]
    assert found.column("embedding").combine_chunks() == wanted
    (batch,) = TABLE.to_batches()
    assert isinstance(embed(batch), pa.RecordBatch)
    assert embed(batch).column("embedding") == wanted
    assert embed(TABLE.slice(0, 0)).num_rows == 0


def test_frames(directory, wanted):
    """Frames of Polars and pandas, and DuckDB's results, are taken as they are."""
    embed = unrolled.Embedder(directory)
    with duckdb.connect() as connection:
        rows = TABLE  # noqa: F841 - DuckDB finds it by its name
        relation = connection.sql("select * from rows")
        for frame in (pl.DataFrame(TABLE.to_pydict()), pd.DataFrame(TABLE.to_pydict()), relation.arrow()):
            assert embed(frame).column("embedding").combine_chunks() == wanted


def test_arguments(directory):
    """Names, pooling, layer, length and kind of list."""
    table = pa.table({"ids": [[1, 2], [3]]})
    embed = unrolled.Embedder(
        directory, "ids", pooling=None, into="v", layer=0, fixed_size=False, normalize=True, threads=THREADS
    )
    column = embed(table).column("v")
    assert column.type == pa.list_(pa.list_(pa.float32()))
    assert [len(row) for row in column.to_pylist()] == [2, 1]
    np.testing.assert_allclose(np.linalg.norm(column.to_pylist()[0], axis=1), 1, rtol=1e-6)
    plain = unrolled.Embedder(directory, "ids", fixed_size=False)(table).column("embedding")
    assert plain.type == pa.list_(pa.float32())
    assert "ids → v" in repr(embed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "gpu"}, "engine is 'gpu'; allowed: auto, fused, tensorflow"),
        ({"arithmetic": "int8"}, "arithmetic is 'int8'; allowed: float32"),
        ({"engine": "tensorflow", "arithmetic": "bfloat16"}, "take the engine 'fused' for bfloat16"),
        ({"threads": 0}, "threads is 0; allowed: a whole number from 1"),
        ({"pooling": "median"}, "pooling is 'median'; allowed: None, mean"),
        ({"layer": 2}, "layer is 2; allowed: None for the last, or a number from 0 to 1"),
        ({"layer": "last"}, "layer is 'last'; allowed: None for the last"),
        ({"layer": True}, "layer is True; allowed: "),
        ({"layer": [0, 1]}, r"layer is \[0, 1\]; allowed: "),
        ({"column": None}, "column is None; allowed: the name of a column"),
        ({"into": None}, "into is None; allowed: the name of a column"),
        ({"into": ""}, "into is ''; allowed: a name that isn't empty, and that no column of the table has"),
        ({"into": "text"}, "into is 'text'; allowed: a name that isn't empty, and that no column of the table has"),
        ({"initial_states": 5}, "initial_states is 5; allowed: the name of a column"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_made(directory, options, said):
    """Not by the first table, in another process and perhaps hours later."""
    with pytest.raises(ValueError, match=said):
        unrolled.Embedder(directory, **options)


def test_a_text_is_no_switch(directory):
    """A text such as "no" would count as true."""
    with pytest.raises(TypeError, match="fixed_size is 'no'; allowed: True or False"):
        unrolled.Embedder(directory, fixed_size="no")


def test_a_model_that_is_elsewhere(directory, tmp_path):
    """The machine where it is made may not have the model; a layer that no model has is refused there too."""
    embed = unrolled.Embedder(tmp_path / "later", layer=np.int64(1), threads=THREADS and np.int64(THREADS))
    for layer in (-1, 64):
        with pytest.raises(ValueError, match=rf"layer is {layer}; allowed: None for the last, or a number from 0$"):
            unrolled.Embedder(tmp_path / "later", layer=layer)
    shutil.copytree(directory, tmp_path / "later")
    assert embed(TABLE).column("embedding").combine_chunks().type.list_size == 5


def test_a_relative_path_is_that_of_the_time_of_making(directory, wanted, monkeypatch, tmp_path):
    """Here and in another process; a process whose directory alone has the model takes it from there."""
    monkeypatch.chdir(directory.parent)
    embed = unrolled.Embedder("model")
    assert repr(embed) == "<Embedder of 'model': text → embedding>"
    pickled = pickle.dumps(embed)
    monkeypatch.chdir(tmp_path)
    for each in (embed, pickle.loads(pickled)):
        assert each(TABLE).column("embedding").combine_chunks() == wanted
    shutil.copytree(directory, tmp_path / "copied")
    away = unrolled.Embedder("copied")
    (tmp_path / "task").mkdir()
    (tmp_path / "copied").rename(tmp_path / "task" / "copied")
    monkeypatch.chdir(tmp_path / "task")
    assert away(TABLE).column("embedding").combine_chunks() == wanted


def test_it_is_small_when_pickled(directory, wanted):
    """The model isn't in the pickle, also after it was loaded."""
    embed = unrolled.Embedder(directory)
    embed(TABLE)
    pickled = pickle.dumps(embed)
    assert len(pickled) < 1000
    assert pickle.loads(pickled)(TABLE).column("embedding").combine_chunks() == wanted


@skips.unless(KERNELS, "TensorFlow takes no other number of threads once it has computed")
def test_it_takes_the_threads_that_it_is_granted(directory, monkeypatch):
    """Ray and others say in OMP_NUM_THREADS how many; an argument has precedence."""
    monkeypatch.setenv("RAYON_NUM_THREADS", "")
    monkeypatch.delenv("RAYON_NUM_THREADS")
    assert "1 thread," in repr(unrolled.Embedder(directory, threads=1)._loaded())
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    unrolled.Embedder(directory)._loaded()
    assert "RAYON_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "3 threads" in repr(unrolled.Embedder(directory)._loaded())
    assert os.environ["RAYON_NUM_THREADS"] == "3"  # of the tokenizer
    assert "1 thread," in repr(unrolled.Embedder(directory, threads=1)._loaded())
    monkeypatch.setenv("OMP_NUM_THREADS", str(2**64))
    assert "1024 threads" in repr(unrolled.Embedder(directory)._loaded())


def test_one_model_for_all_threads(directory, wanted):
    """Threads that call it at once load it once."""
    embed = unrolled.Embedder(directory)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(embed, [TABLE] * 16):
            assert found.column("embedding").combine_chunks() == wanted
        assert len(set(map(id, pool.map(lambda _: embed._loaded(), range(8))))) == 1


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (pa.table({"body": ["a"]}), KeyError, "no column 'text'; the table has body"),
        (pa.table({"text": ["a"], "embedding": [1]}), ValueError, "has a column 'embedding' already"),
        (
            pa.table([["a"], ["b"]], names=["text", "text"]),
            ValueError,
            "has 2 columns 'text'; give each a name of its own",
        ),
        (pa.table({"text": ["a", None]}), RowError, "row 1 has no text"),
        (pa.table({"text": [1.5]}), RowError, "row 0: "),
        (["a", "b"], TypeError, "can't add vectors to list; allowed: a table or a record batch of pyarrow, or what"),
        ("text", TypeError, "can't add vectors to str; "),
    ],
)
def test_tables_that_do_not_fit(directory, table, error, message):
    """The error says which column, or which row."""
    with pytest.raises(error, match=message):
        unrolled.Embedder(directory)(table)
