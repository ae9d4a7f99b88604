"""Vectors in the user's own program."""

import itertools
import multiprocessing
import os
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import chain

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.encoder_model import CONFIG
from support.kernels import THREADS
from support.reference import begun, layer_states, random_weights
from support.reference import column as expected_column
from support.shell import unrolled as command
from support.shell import write_rows
from support.skips import long, unless

import unrolled
from unrolled.errors import ModelError, RequestError, RowError, install_command
from unrolled.model.config import ModelConfig
from unrolled.model.directory import open_model, save_model
from unrolled.model.layer import LayerConfig
from unrolled.model.padding import Padding
from worker.encoder.rows import arrow_of
from worker.engines.fused.library import why_unavailable

ROWS = [[1, 2, 3], [], [0, 4, 0, 9], [7]]
REAL = [[1, 2, 3], [], [4, 9], [7]]
POOLINGS = ["mean", "max", "last", "first"]


@pytest.fixture(scope="module")
def encoder(directory):
    return unrolled.load(directory, threads=THREADS)


def states(directory, row, layer=-1):
    """NumPy's states of a row."""
    return layer_states(CONFIG, open_model(directory).weights(), row)[layer]


def same(found, wanted):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


VECTORS = [np.array(row, np.float32).reshape(-1, 2) for row in ([[1, 2], [0, 0], [3, 4]], [], [[0.5, -1]])]


def test_rows_of_vectors(tmp_path):
    """A model that reads vectors takes arrays, lists and Arrow; what it masks gets no vector."""
    config = ModelConfig(0, 9, None, (LayerConfig(4),), vector_dim=2, mask_value=0.0)
    weights = random_weights(config, seed=1)
    save_model(tmp_path / "sensor", config, weights)
    encoder = unrolled.load(tmp_path / "sensor", threads=THREADS)
    wanted = encoder.encode(VECTORS)
    for row, found in zip(VECTORS, wanted, strict=True):
        same(found, layer_states(config, weights, row[row.any(axis=1)])[-1])
    lists = [row.tolist() for row in VECTORS]
    columns = [pa.array(lists, pa.list_(pa.list_(kind))) for kind in (pa.float32(), pa.float64())]
    columns.append(pa.chunked_array([pa.array(lists, pa.large_list(pa.list_(pa.float32(), 2)))]))
    for rows in (lists, iter(VECTORS), [list(map(tuple, row)) for row in lists], pl.Series(lists), *columns):
        found = encoder.encode(rows)
        assert [one.tobytes() for one in found] == [one.tobytes() for one in wanted]
    for one in (VECTORS[0], lists[0], list(VECTORS[0])):
        assert encoder.encode(one).tobytes() == wanted[0].tobytes()
    same(encoder.encode(np.stack([VECTORS[0]] * 2), pooling="last"), np.stack([wanted[0][-1]] * 2))
    table = pa.table({"frames": columns[0]})
    made = unrolled.Embedder(tmp_path / "sensor", "frames", pooling="max", threads=THREADS)(table)
    same(np.array(made["embedding"].to_pylist()[0], np.float32), wanted[0].max(axis=0))
    for bad, reason in (
        ([VECTORS[0], [[1, 2, 3]]], r"row 1: vector 0 \(from 0\) has 3 numbers"),
        ([[[1, float("nan")]]], "row 0: number 1 of vector 0"),
        (["text"], "row 0: its vectors are 'text'"),
    ):
        with pytest.raises(RowError, match=reason):
            encoder.encode(bad)
    empty = np.array([])
    for rows in ([VECTORS[0], empty], [empty, VECTORS[0]]):
        for found in (encoder.encode(rows), [row for batch in encoder.encode_batches(rows) for row in batch]):
            assert [len(one) for one in found] == [2 * len(row) // 3 for row in rows]
    assert [len(one) for one in encoder.encode([empty, empty])] == [0, 0]
    for bad in ("text", pa.array([[1, 2]]), 7):
        with pytest.raises(TypeError, match=r"allowed: an array \(steps, width\)"):
            encoder.encode(bad)
    with pytest.raises(ValueError, match="have no token ids"):
        encoder.tokenize(VECTORS)


def test_a_vector_for_each_token(encoder, directory):
    """Each row's array has a vector for each real token, in the caller's order."""
    found = encoder.encode(ROWS)
    assert [array.shape for array in found] == [(3, 5), (0, 5), (2, 5), (1, 5)]
    for array, row in zip(found, REAL, strict=True):
        same(array, states(directory, row))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_vector_for_each_row(encoder, directory, pooling):
    """One matrix; a row without a token has no vector."""
    found = encoder.encode(ROWS, pooling=pooling)
    assert np.isnan(found[1]).all()
    for number in (0, 2, 3):
        same(found[number], expected_column(states(directory, REAL[number]), pooling))
    in_arrow = encoder.encode(ROWS, pooling=pooling, output="arrow")
    assert in_arrow.is_null().to_pylist() == [False, True, False, False]
    assert in_arrow.type == pa.list_(pa.float32(), 5)


def test_layers(encoder, directory):
    """One layer gives a result, several give one for each number."""
    same(encoder.encode([[1, 2]], layers=0)[0], states(directory, [1, 2], 0))
    every = encoder.encode([[1, 2]], layers="all")
    assert list(every) == [0, 1]
    for number, (array,) in every.items():
        same(array, states(directory, [1, 2], number))
    assert list(encoder.encode([[1]], layers=[1])) == [1]


def test_one_row_gives_one_result(encoder):
    """A text or a row of ids alone isn't a list with one row."""
    (of_text,) = encoder.encode(["a b"])
    np.testing.assert_array_equal(encoder.encode("a b"), of_text)
    np.testing.assert_array_equal(encoder.encode([1, 2]), of_text)
    np.testing.assert_array_equal(encoder.encode(np.array([1, 2])), of_text)
    np.testing.assert_array_equal(encoder.encode(np.array("a b")), of_text)
    np.testing.assert_array_equal(encoder.encode(np.array("a b", object)), of_text)
    assert encoder.encode("a b", pooling="mean").shape == (5,)


KINDS = {
    "lists": ROWS,
    "tuples": tuple(map(tuple, ROWS)),
    "iterator": lambda: iter(ROWS),
    "arrays": [np.array(row, np.uint16) for row in ROWS],
    "arrow": pa.array(ROWS),
    "large": pa.array(ROWS, pa.large_list(pa.uint8())),
    "chunks": pa.chunked_array([ROWS[:1], ROWS[1:]]),
    "slice": pa.array([[5], *ROWS, [6]]).slice(1, 4),
    "polars": pl.Series(ROWS),
    "arrays in pandas": pd.Series(
        [np.array(row, kind) for row, kind in zip(ROWS, ("i2", "u4", "i8", "u1"), strict=True)]
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_any_kind(encoder, kind):
    """However the rows are given, the vectors are the same."""
    rows = KINDS[kind]() if kind == "iterator" else KINDS[kind]
    for found, wanted in zip(encoder.encode(rows), encoder.encode(ROWS), strict=True):
        np.testing.assert_array_equal(found, wanted)


TEXTS = ["a b", "zzz", "a b"]
TEXTS_OF_ANY_KIND = {
    "list": TEXTS,
    "arrow": pa.array(TEXTS),
    "chunks": pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
    "scalars": list(pa.array(TEXTS)),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "polars": pl.Series(TEXTS),
    "categories of polars": pl.Series(TEXTS, dtype=pl.Categorical),
    "enum of polars": pl.Series(TEXTS, dtype=pl.Enum(["zzz", "a b"])),
    "categories of pandas": pd.Series(TEXTS, dtype="category"),
    "numpy": np.array(TEXTS),
}


@pytest.mark.parametrize("kind", TEXTS_OF_ANY_KIND)
def test_texts_of_any_kind(encoder, kind):
    """So it is with texts, in batches too, and with texts and ids side by side."""
    given, wanted = TEXTS_OF_ANY_KIND[kind], encoder.encode(["a b", [3], (1, 2)])
    for found in (encoder.encode(given), [row for batch in encoder.encode_batches(given) for row in batch]):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_padded_rows(encoder):
    """A matrix of ids is padded rows: zeros get no vector."""
    found = encoder.encode(np.array([[1, 2, 0], [0, 0, 3]]))
    assert [array.shape for array in found] == [(2, 5), (1, 5)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1], [10]], r"row 1: token 10 at position 0 \(from 0\); allowed: 0 \(padding\) and 1..9"),
        (pa.array([[1], [10]]), "row 1: token 10"),
        (pa.array([[1], None]), "row 1: its tokens are null"),
        (pa.array(["a", None]), r"row 1 has no text \(null or NaN\); give '' for a row without text"),
        (["a", float("nan")], "row 1 has no text"),
        (pl.Series(["a", None]), "row 1 has no text"),
        (pd.Series(["a", None]), "row 1 has no text"),
        (pd.Series(["a", float("nan")], dtype=object), "row 1 has no text"),
        (pd.Series(["a", None], dtype="string"), "row 1 has no text"),
        (pa.array([None, None], pa.string()), "row 0 is null or NaN; give '' for a row without text, or"),
        ([None, float("nan")], "row 0 is null or NaN; give ''"),
        (["a", np.float32("nan")], r"row 1 has no text \(null or NaN\); give ''"),
        (["a", pd.NaT], r"row 1 has no text \(null or NaN\); give ''"),
        (["a", 2.5], "row 1: its tokens are 2.5"),
        (["é", "b é\ud800"], r"row 1: contains a lone surrogate at character 3 \(from 0\)"),
        ([[1], 2.5], "row 1: its tokens are 2.5"),
        ([[1], [True]], "row 1: token true at position 0"),
    ],
)
def test_a_bad_row_is_named(encoder, rows, message):
    """Nothing is computed if a row is bad; the error has its number."""
    with pytest.raises(RowError, match=message):
        encoder.encode(rows)


def test_text_without_a_tokenizer(tmp_path):
    """The error says what is missing."""
    save_model(tmp_path / "model", CONFIG, random_weights(CONFIG, seed=1))
    with pytest.raises(RowError, match="row 0: has text, but the model has no tokenizer"):
        unrolled.load(tmp_path / "model").encode(["a"])


def test_a_set_is_refused(encoder):
    """Its order isn't that of any result."""
    for rows in ({1, 2}, frozenset([(1, 2), (3,)])):
        with pytest.raises(TypeError, match="rows are a set, which has no order"):
            encoder.encode(rows)
        with pytest.raises(TypeError, match="rows are a set, which has no order"):
            next(encoder.encode_batches(rows))


def test_a_set_of_vectors_or_of_states_is_refused(tmp_path):
    """By a model that reads them, and in batches too."""
    config = ModelConfig(0, 9, None, (LayerConfig(4, "gru", given_state=True),), vector_dim=2)
    save_model(tmp_path / "sensor", config, random_weights(config, seed=1))
    sensor = unrolled.load(tmp_path / "sensor", threads=THREADS)
    row, state = ((1.0, 2.0),), (1.0, 2.0, 3.0, 4.0)
    for encode in (sensor.encode, lambda rows, **states: list(sensor.encode_batches(rows, **states))):
        assert len(encode([row], initial_states=[state])[0])
        with pytest.raises(TypeError, match="rows are a set, which has no order"):
            encode({row}, initial_states=[state])
        with pytest.raises(TypeError, match="initial_states are a set, which has no order"):
            encode([row], initial_states=frozenset([state]))


@pytest.mark.parametrize(
    "rows", [b"a b", {"text": "a"}, 3, None, pl.DataFrame({"text": ["a"]}), np.array(3), np.array(b"a b")]
)
def test_no_rows_at_all(encoder, rows):
    """What can't be rows is refused."""
    with pytest.raises(TypeError, match=r"allowed|give one of its columns"):
        encoder.encode(rows)


@pytest.mark.parametrize(
    "options",
    [
        {"pooling": "none"},
        {"layers": 2},
        {"layers": -1},
        {"layers": []},
        {"layers": "first"},
        {"layers": [True]},
        {"output": "list"},
    ],
)
def test_wrong_options(encoder, options):
    """The error lists what is allowed."""
    with pytest.raises(ValueError, match="allowed: "):
        encoder.encode(["a"], **options)


@pytest.mark.parametrize("options", [{"normalize": "no"}, {"progress": "yes"}, {"add_special_tokens": "False"}])
def test_switches_are_true_or_false(encoder, directory, options):
    """A text would count as true, whatever it says."""
    with pytest.raises(TypeError, match=r"allowed: .*True"):
        encoder.encode(["a"], **options)
    with pytest.raises(TypeError, match="emulate is 'no'; allowed: True or False"):
        unrolled.load(directory, emulate="no")
    assert len(encoder.encode(["a"], normalize=np.True_)) == 1


@pytest.mark.parametrize("options", [{"engine": "gpu"}, {"arithmetic": "int8"}, {"threads": 0}, {"threads": True}])
def test_wrong_arguments_of_load(directory, options):
    """So does that of `load`."""
    with pytest.raises(ValueError, match="allowed: "):
        unrolled.load(directory, **options)


@pytest.mark.parametrize(
    ("package", "text", "options"),
    [
        ("safetensors", "reading a model needs safetensors", {}),
        ("tokenizers", "a tokenizer needs tokenizers", {}),
        ("tqdm", "a progress bar needs tqdm", {"progress": True}),
        ("tensorflow", "output='tf' needs tensorflow", {"output": "tf"}),
    ],
)
def test_a_missing_package_is_named_with_its_extra(encoder, directory, monkeypatch, package, text, options):
    """The error says how to install it."""
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    extra = "tensorflow" if package == "tensorflow" else "encode"
    with pytest.raises(RequestError, match=re.escape(f"{text}, which is missing: {install_command(extra)}")):
        (encoder if options else unrolled.load(directory)).encode(["a"], **options)


def test_normalize(encoder):
    """Every vector gets length 1, but for rows without one."""
    found = encoder.encode(ROWS, pooling="mean", normalize=True)
    np.testing.assert_allclose(np.linalg.norm(found[[0, 2, 3]], axis=1), 1, rtol=1e-6)
    assert np.isnan(found[1]).all()
    for array in encoder.encode(ROWS, normalize=True):
        np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1, rtol=1e-6)


def test_arrow_lists(encoder):
    """Per token one list array of fixed-size lists, which is the array's own memory."""
    found = encoder.encode(ROWS, output="arrow")
    assert found.type == pa.list_(pa.list_(pa.float32(), 5))
    for row, wanted in zip(found.to_pylist(), encoder.encode(ROWS), strict=True):
        np.testing.assert_array_equal(np.array(row, np.float32).reshape(-1, 5), wanted)


def test_tensorflow(encoder):
    """A ragged tensor, or a matrix."""
    ragged = encoder.encode(ROWS, output="tf")
    assert ragged.row_lengths().numpy().tolist() == [3, 0, 2, 1]
    np.testing.assert_array_equal(ragged[2].numpy(), encoder.encode(ROWS)[2])
    assert encoder.encode(ROWS, pooling="max", output="tf").shape == (4, 5)
    assert encoder.encode("a b", output="tf").shape == (2, 5)


def test_batches(encoder):
    """An endless iterator is read only as far as the batches that are asked for."""
    read = []

    def endless():
        while True:
            read.append(1)
            yield [1 + len(read) % 9]

    batches = encoder.encode_batches(endless(), batch_rows=3, pooling="last")
    found = np.concatenate([next(batches), next(batches)])
    assert len(read) == 6
    np.testing.assert_array_equal(found, encoder.encode([[1 + n % 9] for n in range(1, 7)], pooling="last"))
    assert [len(batch) for batch in encoder.encode_batches(ROWS, batch_rows=3)] == [3, 1]
    with pytest.raises(ValueError, match="batch_rows is 0"):
        encoder.encode_batches(ROWS, batch_rows=0)
    with pytest.raises(ValueError, match="pooling is 'x'; allowed: None, mean"):
        encoder.encode_batches(ROWS, pooling="x")
    with pytest.raises(TypeError, match="rows are one text"):
        encoder.encode_batches("a text")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("the old", "one text"),
        (np.array("the old"), "one text"),
        ([5, 6], "one row of token ids or of vectors"),
        (np.array([5, 6]), "one row of token ids or of vectors"),
        ({"text": ["a"]}, "a dict"),
        (pa.table({"text": ["a"]}), "a Table"),
        (pl.DataFrame({"a": [1], "b": [2]}), "a DataFrame"),
        (pl.LazyFrame({"a": [1]}), "a LazyFrame"),
    ],
)
def test_batches_of_one_row_are_refused(encoder, given, found):
    """Characters, single ids and the names of columns aren't rows."""
    with pytest.raises(TypeError, match=f"rows are {found}; allowed: a list, an iterator or a column"):
        next(encoder.encode_batches(given))


@pytest.mark.parametrize("given", [np.ones((3, 2), np.float32), [[1.0, 2.0], [3.0, 4.0]], (np.ones(2) for _ in "ab")])
def test_batches_of_one_row_of_vectors_are_refused(tmp_path, given):
    """Its vectors aren't rows: they would begin with states of zero in each batch."""
    config = ModelConfig(0, 9, None, (LayerConfig(4),), vector_dim=2, mask_value=0.0)
    save_model(tmp_path / "model", config, random_weights(config, seed=1))
    with pytest.raises(TypeError, match="rows are one row of token ids or of vectors"):
        next(unrolled.load(tmp_path / "model").encode_batches(given))


@pytest.mark.skipif(find_spec("torch") is not None, reason="machine: PyTorch is installed")
def test_a_missing_library_is_named_before_anything_is_computed(encoder):
    """The results would be lost."""
    said = []
    with pytest.raises(RequestError, match="output='torch' needs PyTorch, which is missing: pip install torch"):
        encoder.encode([[1]], output="torch", progress=lambda *at: said.append(at))
    assert not said


def test_an_unknown_option_of_batches_is_named(encoder):
    """As the method that was called says it."""
    with pytest.raises(TypeError, match=r"encode_batches\(\) has no option 'poolings'; it has those of encode\(\)"):
        next(encoder.encode_batches([[1]], poolings="mean"))


def test_long_rows_make_small_batches(encoder, monkeypatch):
    """A batch ends when it has enough tokens, however few rows these are."""
    monkeypatch.setattr("worker.encoder.encoder._BATCH_SIZE", 4)
    assert [len(batch) for batch in encoder.encode_batches([[1, 2, 3], [4], [5, 6], [7]])] == [2, 2]


@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"layers": "all"}, {"output": "arrow"}])
@pytest.mark.parametrize("rows", [[[1, 2, 3], [], [4, 9], [7], [5] * 9, [6], [0, 8]], ["a b c", "", "c " * 9, "b a"]])
@pytest.mark.parametrize("vectors", [1, 4, 7, 100])
def test_batches_are_as_large_as_their_vectors_may_be(encoder, monkeypatch, options, rows, vectors):
    """In bytes, but for a single row; together they are what `encode` gives."""
    monkeypatch.setattr("worker.encoder.encoder._BATCH_BYTES", vectors * encoder.width * 4)

    def results(found):
        """The vectors of each row by layer: with a row for each token, or one."""
        layers = found if isinstance(found, dict) else {0: found}
        each = {layer: each.to_pylist() if isinstance(each, pa.Array) else each for layer, each in layers.items()}
        return [{layer: np.atleast_2d(np.array(of[row])) for layer, of in each.items()} for row in range(len(each[0]))]

    batches = [results(batch) for batch in encoder.encode_batches(rows, **options)]
    for batch in batches:
        assert len(batch) == 1 or sum(each.size for row in batch for each in row.values()) <= vectors * encoder.width
    whole = results(encoder.encode(rows, **options))
    for row, wanted in zip(chain.from_iterable(batches), whole, strict=True):
        for layer, each in wanted.items():
            np.testing.assert_array_equal(row[layer], each)
    assert len(batches) > 1 or vectors >= len(rows)


def test_pools_of_any_size_give_the_same(directory):
    """However many tokens are computed at once, and however many rows, a row has the same bits."""
    rows = [[1 + (i * j) % 9 for j in range(i % 7)] for i in range(50)]
    whole = unrolled.load(directory)
    pieces = unrolled.load(directory)
    object.__setattr__(pieces._options, "pool_tokens", 5)
    done = []
    for one, other in zip(whole.encode(rows), pieces.encode(rows, progress=lambda *at: done.append(at)), strict=True):
        np.testing.assert_array_equal(one, other)
    tokens = sum(map(len, rows))
    assert len(done) > 10
    assert done[-1] == (tokens, tokens)


def test_threads_share_an_encoder(encoder):
    """Many threads at once get what each would get alone."""
    rows = [[[1 + (i + j) % 9 for j in range(n)] for n in range(1, 20)] for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for found, given in zip(pool.map(encoder.encode, rows), rows, strict=True):
            for one, other in zip(found, encoder.encode(given), strict=True):
                np.testing.assert_array_equal(one, other)


@unless(why_unavailable() is None, "build: the fused engine survives a fork, TensorFlow does not")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("parallelism", [None, "true"])
def test_after_a_fork(encoder, monkeypatch, parallelism):
    """A child computes with an engine of its own, and tokenizes although the threads of its parent are gone."""
    if parallelism:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", parallelism)
    else:
        monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    texts = ["a é b"] * 400
    wanted = [encoder.encode(rows) for rows in (ROWS, texts)]
    fork = multiprocessing.get_context("fork")
    ours, childs = fork.Pipe()
    child = fork.Process(
        target=lambda: childs.send(([encoder.encode(rows) for rows in (ROWS, texts)], id(encoder._engine)))
    )
    child.start()
    childs.close()
    try:
        assert ours.poll(60), "the child hangs"
        found, engine = ours.recv()
    finally:
        child.kill()
        child.join()
        ours.close()
    assert engine != id(encoder._engine)
    assert os.environ.get("TOKENIZERS_PARALLELISM") == parallelism
    for one, other in zip(chain(*found), chain(*wanted), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_pickle_loads_the_model_again(encoder, tmp_path):
    """It is small, gives equal vectors, and is refused where the model changed."""
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 2000
    np.testing.assert_array_equal(pickle.loads(pickled).encode("a b"), encoder.encode("a b"))
    save_model(tmp_path / "model", CONFIG, random_weights(CONFIG, seed=1))
    moved = pickle.dumps(unrolled.load(tmp_path / "model"))
    other = tmp_path / "other"
    save_model(other, CONFIG, random_weights(CONFIG, seed=2))
    (other / "model.safetensors").replace(tmp_path / "model" / "model.safetensors")
    with pytest.raises(ModelError, match="the model changed"):
        pickle.loads(moved)


def test_a_relative_path_is_that_of_the_time_of_loading(directory, monkeypatch, tmp_path):
    """A child after a fork and a pickle load the model again, and the program may be elsewhere by then."""
    monkeypatch.chdir(directory.parent)
    encoder = unrolled.load(directory.name)
    assert repr(encoder).startswith(f"<Encoder of {directory.name!r}: ")
    wanted = encoder.encode("a b")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoder)).encode("a b"), wanted)
    if encoder.engine == "fused":
        monkeypatch.setattr(encoder, "_process", 0)  # as in a child
        np.testing.assert_array_equal(encoder.encode("a b"), wanted)


def test_it_says_what_it_is(encoder, directory):
    """Model, engine, arithmetic and layers, for notebooks."""
    text = repr(encoder)
    assert str(directory) in text
    assert {"fused": "fused engine", "tensorflow": "TensorFlow 2"}[encoder.engine] in text
    assert encoder.width == 5
    assert encoder.arithmetic == "float32"


@given(rows=st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8))
def test_any_rows(encoder, rows):
    """Lengths and order are those of the rows, whatever they are."""
    found = encoder.encode([np.array(row, np.int64) for row in rows])
    assert [len(array) for array in found] == [np.count_nonzero(row) for row in rows]


def test_the_same_bytes_as_a_job(encoder, directory, tmp_path):
    """A job with the same engine and arithmetic stores exactly these vectors."""
    rows = {f"row-{i}": [1 + (i * j) % 9 for j in range(i % 11)] for i in range(60)}
    write_rows(tmp_path / "rows.jsonl", rows)
    done = command("run", "rows.jsonl", "--model", directory, "--out", "out", "--pooling", "none,mean",
                   "--shard-tokens", "50", "--engine", encoder.engine, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    tokens, means = encoder.encode(list(rows.values())), encoder.encode(list(rows.values()), pooling="mean")
    stored = {row.id: row for row in unrolled.open(tmp_path / "out")}
    for number, name in enumerate(rows):
        assert stored[name].outputs.tobytes() == tokens[number].tobytes()
        if rows[name]:
            assert stored[name]["mean"].tobytes() == means[number].tobytes()


def test_tokens_of_rows(encoder):
    """The ids that `encode` computes, without padding."""
    assert [ids.tolist() for ids in encoder.tokenize(ROWS)] == REAL
    assert [ids.tolist() for ids in encoder.tokenize(["a zzz b", ""])] == [[1, 3, 2], []]
    assert encoder.tokenize([]) == []


def test_a_model_that_pads_rows(tmp_path):
    """Padding is computed, but has no vector; a row that is too long is refused before anything is computed."""
    config = ModelConfig(9, 5, 3, (LayerConfig(4, direction="bidirectional"),), Padding(5, "before"))
    model = save_model(tmp_path / "model", config, random_weights(config, seed=1))
    encoder = unrolled.load(tmp_path / "model", threads=THREADS)
    for found, row in zip(encoder.encode(ROWS), REAL, strict=True):
        same(found, layer_states(config, model.weights(), row)[-1].reshape(len(row), 8))
    mean = encoder.encode([7, 8], pooling="mean")
    same(mean, layer_states(config, model.weights(), [7, 8])[-1].mean(axis=0))
    with pytest.raises(RowError, match=r"row 1: the row has 6 tokens, and the model reads at most 5"):
        encoder.encode([[1], [1, 2, 3, 4, 5, 6]])


NO_VALUES = [
    (pa.nulls(0), 0),
    (pa.array([], pa.list_(pa.null())), 0),
    (pa.array([[]]), 1),
    (pa.array([[], []], pa.large_list(pa.null())), 2),
    (pa.array([[]], pa.list_(pa.list_(pa.null()))), 1),
    (pl.Series([[], []]), 2),
]


@pytest.mark.parametrize(("column", "rows"), NO_VALUES, ids=str)
def test_columns_without_a_value(encoder, column, rows, tmp_path):
    """Arrow doesn't know their type; they are rows without steps, or no rows, as an empty partition of a table has."""
    config = ModelConfig(0, 9, None, (LayerConfig(4, given_state=True),), vector_dim=2)
    save_model(tmp_path / "sensor", config, random_weights(config, seed=1))
    sensor = unrolled.load(tmp_path / "sensor", threads=THREADS)
    states = np.zeros((rows, sensor.initial_state_width)) if rows else pa.nulls(0)
    assert [len(one) for one in sensor.encode(column, initial_states=states)] == [0] * rows
    assert [len(one) for one in encoder.encode(column)] == [0] * rows
    embed = unrolled.Embedder(tmp_path / "sensor", "v", initial_states="s", threads=THREADS)
    table = pa.table({"v": pa.nulls(0), "s": pa.nulls(0)})
    assert embed(table).column("embedding").type == pa.list_(pa.float32(), 4)
    with pytest.raises(RowError, match="row 0: its vectors are null"):
        sensor.encode(pa.nulls(2), initial_states=np.zeros((2, sensor.initial_state_width)))
    with pytest.raises(RowError, match="row 0: its initial state is null"):
        sensor.encode([[[1, 2]]], initial_states=pa.nulls(1))


def test_rows_that_bring_initial_states(tmp_path):
    """Arrays, lists, iterators and Arrow's lists; of one row alone its numbers; batches take those of their rows."""
    config = ModelConfig(9, 5, 3, (LayerConfig(2, given_state=True), LayerConfig(3, "gru", given_state=True)))
    model = save_model(tmp_path / "model", config, random_weights(config, seed=1))
    encoder = unrolled.load(tmp_path / "model", threads=THREADS)
    states = np.random.default_rng(0).normal(0, 0.5, (len(ROWS), 7)).astype(np.float32)
    weights = model.weights()
    wanted = [
        layer_states(config, begun(config, weights, state), row)[-1].reshape(len(row), 3)
        for state, row in zip(states, REAL, strict=True)
    ]
    arrow = pa.FixedSizeListArray.from_arrays(states.ravel(), 7)
    for one_kind in (states, states.tolist(), iter(states), list(states), arrow, pa.chunked_array([arrow])):
        for found, one in zip(encoder.encode(ROWS, initial_states=one_kind), wanted, strict=True):
            same(found, one)
    row = next(row for row in ROWS if len(row) > 2)
    for one in (states[0], states[0].tolist(), tuple(states[0]), [states[0]], arrow[:1]):
        same(encoder.encode(row, initial_states=one), encoder.encode([row], initial_states=states[:1])[0])
    batches = encoder.encode_batches(iter(ROWS), batch_rows=2, initial_states=iter(states))
    for found, one in zip((each for batch in batches for each in batch), wanted, strict=True):
        same(found, one)
    for more in ([*states, states[0]], itertools.repeat(states[0])):
        batches = encoder.encode_batches(ROWS, initial_states=more)
        assert len(next(batches)) == len(ROWS)
        with pytest.raises(ValueError, match="there are more initial states than rows; give as many"):
            next(batches)
    table = pa.table({"ids": pa.array(REAL, pa.list_(pa.int32())), "begin": arrow})
    made = unrolled.Embedder(tmp_path / "model", "ids", pooling="last", initial_states="begin")(table)
    last = encoder.encode(REAL, pooling="last", initial_states=states, output="arrow")
    assert made.column("embedding").combine_chunks().equals(last)


@pytest.mark.parametrize(
    ("states", "kind", "words"),
    [
        (None, ValueError, "the model reads initial states; give 2 numbers for each row"),
        ([[1, 2]], ValueError, "1 initial state for 2 rows"),
        ([[1, 2], [1]], RowError, "row 1: its initial state has 1 number; the model reads 2"),
        ([[1, 2], [1, float("nan")]], RowError, r"row 1: number 1 \(from 0\) of its initial state is nan"),
        ([[1, 2], [1e39, 0]], RowError, r"row 1: number 0 \(from 0\) of its initial state is 1e\+39"),
        ([[1, 2], [True, 0]], RowError, r"row 1: number 0 \(from 0\) of its initial state is true; allowed: a number"),
        ([[1, 2], [10**400, 0]], RowError, "row 1: an integer is too large"),
        ([[1, 2], None], RowError, "row 1: its initial state is null; allowed: a list of 2 numbers"),
        (np.zeros((2, 2, 1)), RowError, "row 0: number 0"),
        ("ab", TypeError, "initial_states are str"),
        (pa.array([1, 2]), TypeError, "initial_states are Arrow's int64"),
    ],
)
def test_initial_states_that_cannot_be_used(states, kind, words, tmp_path):
    """The text names the row, and nothing is computed."""
    config = ModelConfig(9, 5, 3, (LayerConfig(2, "gru", given_state=True),))
    save_model(tmp_path / "model", config, random_weights(config, seed=1))
    with pytest.raises(kind, match=words):
        unrolled.load(tmp_path / "model", threads=THREADS).encode([[1], [2]], initial_states=states)


def test_initial_states_for_a_model_that_reads_none(encoder):
    """They would be ignored in silence."""
    with pytest.raises(ValueError, match="the model reads none; leave it out"):
        encoder.encode([[1]], initial_states=[[1.0]])
    with pytest.raises(ValueError, match="the model reads none"):
        list(encoder.encode_batches([[1]], initial_states=[[1.0]]))


@long("two columns of 2 GiB")
def test_columns_of_more_than_two_gib():
    """Arrow's arrays of texts and of lists count to 2^31, and a column has several of them."""
    chunk = pa.array(["x" * (2**30 + 1)])
    assert [len(text.as_py()) for text in arrow_of(pa.chunked_array([chunk, chunk]))] == [2**30 + 1] * 2
    zeros = pa.array(np.zeros(2**30 + 1, np.uint8))
    lists = pa.ListArray.from_arrays([0, len(zeros)], zeros)
    assert arrow_of(pa.chunked_array([lists, lists])).value_lengths().to_pylist() == [2**30 + 1] * 2
