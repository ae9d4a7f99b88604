"""Reading what a job published."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import plain, stored
from support.jobs import decide, finished_job, make_job, publish_shard, record_death, waiting
from support.ragged_rows import info_of, ragged

import unrolled
from producer.enqueue.shard import make_shard
from producer.sources.rows import BadRow
from unrolled.errors import FileFormatError, UnrolledError
from unrolled.format.positions import Positions
from unrolled.job import names
from unrolled.job.segment import Segment
from unrolled.job.shard_id import part_name
from unrolled.protocol.spooling import spool
from unrolled.store.publish import publish
from worker.parquet import shard_file

UNITS = 3
ROWS = [[1, 0, 2], [], [0, 0], [3, 1, 2, 0], [5], [0, 1], [2, 2], [4]]

token_lists = st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=12)


def publish_rows(directory, lists, *, index=0, units=UNITS, fingerprint="ab" * 32, first=0, computed=None, **options):
    """Publish rows as a shard of their own; outputs differ from vector to vector and have both signs."""
    tokens = ragged(lists)
    real = int((tokens.values != 0).sum())
    outputs = np.random.default_rng(index).uniform(-1, 1, (real, units)).astype(np.float32)
    info = replace(info_of(tokens, index=index, fingerprint=fingerprint), **computed or {})
    ids = [f"row#{first + number}" for number in range(len(lists))]
    path = publish(
        directory,
        part_name(info.shard),
        lambda file: shard_file.encode(file, info, ids, tokens, [outputs], *plain(units, **options)),
    )
    return path, outputs


def vectors_of(lists, outputs):
    """Each row's own part of the flat outputs."""
    ends = np.cumsum([sum(token != 0 for token in row) for row in lists])
    return np.split(outputs, ends[:-1])


@pytest.fixture
def out(tmp_path):
    """A job's directory with two files, and with what else is in one."""
    publish_rows(tmp_path, ROWS, index=0, first=0)
    publish_rows(tmp_path, ROWS, index=1, first=len(ROWS))
    (tmp_path / "_unrolled").mkdir()
    (tmp_path / "_unrolled" / "job.json").write_text("{}")
    (tmp_path / "_unrolled" / "part-000002-0123456789ab.parquet").write_text("half")
    for hidden in (".parquet", "_dead.parquet"):
        (tmp_path / hidden).mkdir()
    (tmp_path / ".part-x.parquet").write_text("half")
    return tmp_path


def test_rows_with_chosen_positions_come_back(tmp_path):
    """A row knows where its vectors belong; a padded batch has them there, and a mean is that of the stored ones."""
    rule = Positions("last", 2)
    _, outputs = publish_rows(tmp_path, ROWS, positions=rule, computed={"positions": rule})
    dataset = unrolled.open(tmp_path)
    assert dataset.positions == "last:2"
    expected = [
        [place for place, token in enumerate(tokens) if token][-2:] for tokens in ROWS
    ]  # fmt: skip
    for row, tokens, places, vectors in zip(dataset, ROWS, expected, vectors_of(ROWS, outputs), strict=True):
        assert row.length == sum(token != 0 for token in tokens)
        assert row.positions.tolist() == places
        assert np.array_equal(row.outputs, vectors[-2:] if len(vectors) else vectors)
    (batch,) = dataset.batches()
    padded, masks = unrolled.to_padded(batch)
    assert [np.flatnonzero(mask).tolist() for mask in masks] == expected
    assert np.array_equal(padded[masks], batch.values)
    means = dict(zip(*dataset.pooled("mean"), strict=True))
    assert np.allclose(means["row#3"], vectors_of(ROWS, outputs)[3][-2:].mean(axis=0))
    assert dataset.neighbours("row#3")[0].id != "row#3"


def test_parts_with_other_positions_do_not_mix(tmp_path):
    """Nor do those with all vectors."""
    rules = (Positions("last", 2), Positions("last", 1), None)
    for index, rule in enumerate(rules):
        publish_rows(tmp_path, ROWS, index=index, positions=rule, computed={"positions": rule})
    paths = sorted(tmp_path.glob("*.parquet"))
    for pair in itertools.combinations(paths, 2):
        with pytest.raises(FileFormatError, match="of columns outputs of 3 float32"):
            unrolled.open(pair)


@settings(deadline=None)  # a shared disk takes its time
@given(lists=token_lists, with_tokens=st.booleans(), group_bytes=st.sampled_from([1, 300, 1 << 20]))
def test_rows_come_back(tmp_path_factory, lists, with_tokens, group_bytes):
    """Every row as it was written, however the file is cut into row groups."""
    directory = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_file, "ROW_GROUP_BYTES", group_bytes)
        _, outputs = publish_rows(directory, lists, with_tokens=with_tokens)
    dataset = unrolled.open(directory)
    assert len(dataset) == len(lists)
    for row, tokens, vectors in zip(dataset, lists, vectors_of(lists, outputs), strict=True):
        assert row.length == len(vectors)
        np.testing.assert_array_equal(row.mask, np.array(tokens, int) != 0)
        np.testing.assert_array_equal(row.outputs, vectors)
        assert row.tokens is None if not with_tokens else row.tokens.tolist() == tokens


def test_a_directory_is_read_in_the_order_of_shards(tmp_path):
    """Seven digits are after six, and only *.parquet is looked at."""
    for place, index in enumerate([7, 999_999, 1_000_000]):
        publish_rows(tmp_path, [[1]], index=index, first=place)
    assert [row.id for row in unrolled.open(tmp_path)] == ["row#0", "row#1", "row#2"]


def test_a_directory_may_be_called_as_a_part_is(out, tmp_path):
    """`--out vectors.parquet` makes a directory of that name, and `run` says to open it."""
    place = tmp_path / "vectors.parquet"
    shutil.copytree(out, place)
    assert [row.id for row in unrolled.open(place)] == [row.id for row in unrolled.open(out)]


@pytest.mark.parametrize("name", ["out", "./out/../out", "out/{part}", Path("out"), ["out"]])
def test_a_relative_path_is_that_of_the_time_of_opening(tmp_path, monkeypatch, name):
    """The program may change its directory afterwards, even to one with another job of this name."""
    for directory in (tmp_path / "out", tmp_path / "elsewhere" / "out"):
        directory.mkdir(parents=True)
    path, _ = publish_rows(tmp_path / "out", ROWS)
    monkeypatch.chdir(tmp_path)
    dataset = unrolled.open(name.format(part=path.name) if isinstance(name, str) else name)
    examples = unrolled.Examples(dataset)
    publish_rows(tmp_path / "elsewhere" / "out", [[1]], fingerprint="cd" * 32)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [row.id for row in dataset] == [f"row#{number}" for number in range(len(ROWS))]
    assert len(dataset["row#3"].outputs) == 3
    assert len(list(examples)) == 6
    assert dataset.complete is None
    assert all(Path(file).samefile(path) for file in dataset.files)


def test_a_job_at_a_relative_path_stays_complete(tmp_path, monkeypatch):
    """`complete` looks at the job's directory, which is where it was."""
    out = finished_job(tmp_path / "out").place
    monkeypatch.chdir(tmp_path)
    dataset = unrolled.open(Path(out).name)
    monkeypatch.chdir("/")
    assert dataset.complete is True


def test_what_a_dataset_tells(out):
    """Counts, width and model are read from the footers."""
    dataset = unrolled.open(str(out))
    assert (len(dataset), dataset.tokens, dataset.units) == (16, 20, UNITS)
    assert (dataset.model_fingerprint, dataset.engine, dataset.arithmetic) == ("ab" * 32, "fused", "float32")
    assert dataset.files == sorted(map(str, out.glob("part-*")))
    assert repr(dataset) == "<Dataset: 16 rows, 20 tokens, 3 units in 2 files>"
    batch = next(dataset.batches(max_rows=1))
    (row,) = batch.rows()
    assert repr(row) == f"<row {row.id!r} of length {row.length}, with outputs ({row.length}, 3)>"
    assert repr(batch) == f"<1 row, {row.length} tokens, with outputs ({row.length}, 3)>"
    assert [row.id for row in dataset] == [f"row#{number}" for number in range(16)]


def test_files_are_read_in_the_order_given(out):
    """A list of files, or one file, is taken as it is."""
    first, second = sorted(out.glob("part-*"))
    assert [row.id for row in unrolled.open([second, first])][:1] == ["row#8"]
    assert len(unrolled.open(second)) == 8


@settings(deadline=None)  # a shared disk takes its time
@given(
    lists=token_lists,
    max_rows=st.none() | st.integers(1, 5),
    max_tokens=st.none() | st.integers(1, 9),
    group_bytes=st.sampled_from([200, 1 << 20]),
)
def test_batches_keep_within_their_limits(tmp_path_factory, lists, max_rows, max_tokens, group_bytes):
    """No row is lost between batches, only a long row breaks the limit, and the arrays fit together."""
    directory = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_file, "ROW_GROUP_BYTES", group_bytes)
        _, outputs = publish_rows(directory, lists, with_tokens=True)
    batches = list(unrolled.open(directory).batches(max_rows=max_rows, max_tokens=max_tokens))
    assert list(itertools.chain.from_iterable(batch.ids for batch in batches)) == [
        f"row#{number}" for number in range(len(lists))
    ]
    np.testing.assert_array_equal(np.concatenate([batch.values for batch in batches]), outputs)
    for batch in batches:
        assert max_rows is None or len(batch) <= max_rows
        assert max_tokens is None or len(batch.values) <= max_tokens or len(batch) == 1
        assert batch.offsets[0] == batch.mask_offsets[0] == 0
        np.testing.assert_array_equal(np.diff(batch.offsets), batch.lengths)
        np.testing.assert_array_equal(batch.tokens != 0, batch.mask_values)
        assert batch.offsets[-1] == len(batch.values) == batch.mask_values.sum()


def test_batches_are_as_large_as_allowed(out):
    """Limits are met, not only kept."""
    dataset = unrolled.open(out)
    assert [len(batch) for batch in dataset.batches()] == [8, 8]
    assert [len(batch) for batch in dataset.batches(max_rows=3)] == [3, 3, 2, 3, 3, 2]
    # The rows' lengths are 2, 0, 0, 3, 1, 1, 2, 1 in each file.
    assert [len(batch) for batch in dataset.batches(max_tokens=5)] == [4, 4, 4, 4]
    assert [len(batch) for batch in dataset.batches(max_tokens=2)] == [3, 1, 2, 1, 1, 3, 1, 2, 1, 1]


def test_batches_share_memory(out):
    """Batches of one row group are views of one block, read-only since Arrow owns it."""
    batches = list(unrolled.open(out).batches(max_rows=4))
    first, second = batches[:2]
    step = second.values.ctypes.data - first.values.ctypes.data
    assert step == first.values.nbytes
    assert not first.values.flags.owndata
    assert not first.values.flags.writeable
    row = next(first.rows())
    assert np.shares_memory(row.outputs, first.values)


@pytest.mark.parametrize("pooling", [["none"], ["mean"]])
def test_no_array_can_be_written(tmp_path, pooling):
    """Neither a view of what was decoded, nor what was made of it."""
    finished_job(tmp_path, empty=[1], options={"pooling": pooling, "with_tokens": True})
    for batch in unrolled.open(tmp_path).batches():
        row = next(batch.rows())
        arrays = [
            batch.lengths,
            batch.offsets,
            batch.mask_values,
            batch.mask_offsets,
            batch.tokens,
            row.mask,
            row.tokens,
        ]
        arrays += [*batch.vectors.values(), *row.vectors.values()]
        assert not any(array.flags.writeable for array in arrays)


@pytest.mark.parametrize("limits", [{"max_rows": 0}, {"max_tokens": -1}])
def test_impossible_limits_are_refused_at_once(out, limits):
    """Before the first batch is asked for."""
    with pytest.raises(ValueError, match="at least 1"):
        unrolled.open(out).batches(**limits)


@pytest.mark.parametrize("limit", [1.5, True, "3"])
def test_a_number_of_rows_is_whole(out, limit):
    """What is no number of rows is named."""
    with pytest.raises(TypeError, match=rf"^max_rows is {limit!r}; give a whole number$"):
        unrolled.open(out).batches(max_rows=limit)


def test_padded_pair(tmp_path):
    """Vectors are at the set bits of the mask, zeros elsewhere; the longest row, with its padding, sets the steps."""
    _, outputs = publish_rows(tmp_path, ROWS)
    padded, masks = unrolled.to_padded(next(unrolled.open(tmp_path).batches()))
    assert padded.shape == (8, 4, UNITS)
    assert padded.dtype == np.float32
    assert masks.dtype == np.bool_
    expected = np.zeros((8, 4), bool)
    for row, tokens in enumerate(ROWS):
        expected[row, : len(tokens)] = np.array(tokens, int) != 0
    np.testing.assert_array_equal(masks, expected)
    np.testing.assert_array_equal(padded[masks], outputs)
    assert not padded[~masks].any()


@settings(deadline=None)  # a shared disk takes its time
@given(lists=token_lists, how=st.sampled_from(["mean", "max", "last", "first"]))
def test_pooled_vectors(tmp_path_factory, lists, how):
    """The definition row by row; rows without real tokens have none, which is NaN."""
    directory = tmp_path_factory.mktemp("out")
    _, outputs = publish_rows(directory, lists)
    ids, vectors = unrolled.open(directory).pooled(how)
    assert ids == [f"row#{number}" for number in range(len(lists))]
    assert vectors.shape == (len(lists), UNITS)
    assert vectors.dtype == np.float32
    define = {
        "mean": lambda part: part.mean(axis=0, dtype=np.float64).astype(np.float32),
        "max": lambda part: part.max(axis=0),
        "last": lambda part: part[-1],
        "first": lambda part: part[0],
    }[how]
    for pooled, part in zip(vectors, vectors_of(lists, outputs), strict=True):
        expected = define(part) if len(part) else np.full(UNITS, np.nan, np.float32)
        np.testing.assert_allclose(pooled, expected, rtol=0, atol=1e-7)


def test_a_row_is_pooled_alike_in_any_company(out):
    """Its vector depends on the row alone, to the last bit."""
    _, together = unrolled.open(out).pooled("mean")
    alone = np.concatenate([unrolled.pooled(b, "mean") for b in unrolled.open(out).batches(max_rows=1)])
    np.testing.assert_array_equal(together, alone)


POOLED = stored(2, pooling=("mean", "max"), precision="float16")
ZEROS = stored(2, pooling=("none", "last"), empty_rows="zeros")
LAYERS = stored(2, UNITS, layers=(0, 1), pooling=("none", "mean"))


def publish_columns(directory, lists, spec, columns):
    """Publish rows with these columns of vectors; gives the arrays, whose numbers float16 holds exactly.

    A row without tokens has no pooled vector, unless zeros are stored.
    """
    tokens = ragged(lists)
    real = int((tokens.values != 0).sum())
    arrays = [
        np.random.default_rng(number)
        .integers(-99, 99, (real if column.per_token else len(lists), column.width))
        .astype(np.float32)
        for number, column in enumerate(columns)
    ]
    is_empty = np.array([not any(row) for row in lists], bool)
    for column, array in zip(columns, arrays, strict=True):
        if not column.per_token:
            array[is_empty] = 0
    info = info_of(tokens)
    ids = [f"row#{number}" for number in range(len(lists))]
    publish(
        directory, part_name(info.shard), lambda file: shard_file.encode(file, info, ids, tokens, arrays, spec, columns)
    )
    for column, array in zip(columns, arrays, strict=True):
        if not column.per_token and spec.empty_rows == "null":
            array[is_empty] = np.nan
    return dict(zip(spec.names(), arrays, strict=True))


@settings(deadline=None)  # a shared disk takes its time
@given(
    lists=token_lists,
    chosen=st.sampled_from([POOLED, LAYERS, ZEROS]),
    max_rows=st.none() | st.integers(1, 5),
    group_bytes=st.sampled_from([1, 300, 1 << 20]),
)
def test_every_column_comes_back(tmp_path_factory, lists, chosen, max_rows, group_bytes):
    """By name, of a row and of a batch, in the precision that is stored, whatever the row groups."""
    directory = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_file, "ROW_GROUP_BYTES", group_bytes)
        arrays = publish_columns(directory, lists, *chosen)
    dataset = unrolled.open(directory)
    spec, columns = chosen
    assert (dataset.columns, dataset.precision) == (columns, spec.precision)
    batches = list(dataset.batches(max_rows=max_rows))
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.concatenate([batch[name] for batch in batches]), array)
        assert all(batch[name].dtype == np.dtype(spec.precision) for batch in batches)
        split = vectors_of(lists, array) if name.startswith("outputs") else list(array)
        for row, expected in zip(dataset, split, strict=True):
            np.testing.assert_array_equal(row[name], expected)
    for batch in batches:
        np.testing.assert_array_equal(np.diff(batch.offsets), batch.lengths)
    for row, tokens in zip(dataset, lists, strict=True):
        assert row.mask.tolist() == [token != 0 for token in tokens]
        assert row.length == sum(row.mask)


def test_a_missing_column_is_reported(tmp_path):
    """With those that are; `outputs` is no other word for a pooled vector or for one of several layers."""
    publish_columns(tmp_path, ROWS, *POOLED)
    batch = next(unrolled.open(tmp_path).batches())
    row = next(batch.rows())
    for ask in (lambda: row["last"], lambda: batch["last"]):
        with pytest.raises(KeyError, match="no column 'last' of vectors; this job stored mean, max"):
            ask()
    for ask, name in ((lambda: row["mask"], "mask"), (lambda: batch["mask"], "mask_values")):
        with pytest.raises(KeyError, match=rf"mask has no vectors: take \.{name}; this job stored mean, max"):
            ask()
    for ask in (lambda: row.outputs, lambda: batch.values):
        with pytest.raises(AttributeError, match=r"no column 'outputs'.*stored mean, max: take row\['mean'\]"):
            ask()
    with pytest.raises(KeyError, match="no column 'outputs'"):
        unrolled.to_padded(batch)
    with pytest.raises(ValueError, match=r"'mean' has one vector for each row; .*batch\['mean'\]"):
        unrolled.to_padded(batch, "mean")
    for other in (unrolled.open(tmp_path), row, None):
        for call in (unrolled.to_padded, lambda other: unrolled.pooled(other, "mean")):
            with pytest.raises(TypeError, match=rf"this is a {type(other).__name__}; allowed: a batch, which "):
                call(other)


def test_a_stored_pooling_is_taken_as_it_is(tmp_path):
    """In float32; what isn't stored is made of the tokens' vectors, where those are."""
    arrays = publish_columns(tmp_path, ROWS, *POOLED)
    dataset = unrolled.open(tmp_path)
    _, vectors = dataset.pooled("max")
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, arrays["max"])
    said = "no column 'last', and no 'outputs' to compute it from; this job stored mean, max: .*--pooling last"
    with pytest.raises(KeyError, match=said):
        dataset.pooled("last")


def test_a_model_is_no_job(tmp_path):
    """The error says what it is."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(FileFormatError, match="it is a model; give the output directory of a job"):
        unrolled.open(tmp_path)


def test_layers_are_pooled_and_padded_by_their_number(tmp_path):
    """The stored pooling of a layer, or one made of its tokens' vectors."""
    arrays = publish_columns(tmp_path, ROWS, *LAYERS)
    dataset = unrolled.open(tmp_path)
    np.testing.assert_array_equal(dataset.pooled("mean", layer=0)[1], arrays["mean_0"])
    _, firsts = dataset.pooled("first", layer=1)
    assert firsts.shape == (len(ROWS), UNITS)
    np.testing.assert_array_equal(firsts[[0, 3]], arrays["outputs_1"][[0, 2]])
    with pytest.raises(KeyError, match=r"no column 'mean_2', and no 'outputs_2' .*: give layer=0 or layer=1"):
        dataset.pooled("mean", layer=2)
    with pytest.raises(KeyError, match=r"no column 'mean', .*: give layer=0 or layer=1"):
        dataset.pooled("mean")
    padded, masks = unrolled.to_padded(next(dataset.batches()), "outputs_1")
    np.testing.assert_array_equal(padded[masks], arrays["outputs_1"])


@pytest.mark.parametrize(
    ("options", "asked", "works"),
    [
        ({"layers": (0, 1), "pooling": ("mean",)}, {"how": "mean"}, "layer=0 or layer=1"),
        ({"layers": (0, 1), "pooling": ("none",)}, {"how": "last", "layer": 2}, "layer=0 or layer=1"),
        ({"layers": (1,), "pooling": ("mean", "max")}, {"how": "last"}, "how='mean', layer=1 or how='max', layer=1"),
        ({"pooling": ("mean", "max")}, {"how": "last"}, "how='mean' or how='max'"),
        ({"pooling": ("mean",)}, {"how": "mean", "layer": 0}, "layer=None"),
        ({"pooling": ("none",)}, {"how": "max", "layer": 1}, "layer=None"),
    ],
)
def test_what_an_error_advises_works_when_it_is_typed(tmp_path, options, asked, works):
    """Another layer where it helps, or else what the job has."""
    publish_columns(tmp_path, ROWS, *stored(UNITS, UNITS, **options))
    dataset = unrolled.open(tmp_path)
    with pytest.raises(KeyError) as refused:
        dataset.pooled(**asked)
    assert refused.value.args[0].partition(": give ")[2].partition("; or make a job")[0] == works
    for advice in works.split(" or "):
        assert dataset.pooled(**{**asked, **eval(f"dict({advice})")})[1].shape == (len(ROWS), UNITS)


def test_files_of_one_directory_agree_in_their_columns(tmp_path):
    """Layers, pooling, precision and tokens: another choice is another job."""
    publish_columns(tmp_path, ROWS, *POOLED)
    publish_rows(tmp_path, ROWS, index=1)
    with pytest.raises(FileFormatError, match=r"mean of 2, max of 2 float16,.*part-000001.*outputs of 3 float32"):
        unrolled.open(tmp_path)


def test_unknown_pooling_is_refused(out):
    """The text names the four."""
    with pytest.raises(ValueError, match="mean, max, last, first"):
        unrolled.open(out).pooled("median")


@pytest.mark.parametrize("make", [str, Path, lambda path: [path]])
@pytest.mark.parametrize("name", ["vector", "part.parquet", "rows.csv"])
def test_a_misspelt_path_is_named(tmp_path, name, make):
    """It is no directory that has to come back, and the error has no other one behind it."""
    if name == "rows.csv":
        (tmp_path / name).touch()
    found = "is a file" if name == "rows.csv" else "does not exist"
    path = tmp_path / name
    with pytest.raises(FileFormatError, match=re.escape(f"{path}: {found}; name the output directory")) as error:
        unrolled.open(make(path))
    assert (error.value.__cause__, error.value.__context__) == (None, None)


def test_the_home_directory_is_a_shell_s(tmp_path, monkeypatch):
    """Python opens `~` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    said = f"~/vectors: does not exist; its ~ isn't the home directory here: give {tmp_path}/vectors"
    for read in (unrolled.open, unrolled.load):
        with pytest.raises(UnrolledError, match=re.escape(said)):
            read("~/vectors")


def test_jobs_without_a_row(tmp_path):
    """Of an empty input nothing shows how wide its vectors are; of bad rows alone, the parts do."""
    finished_job(tmp_path / "empty", 0)
    with pytest.raises(FileFormatError, match="the job is complete, and its input had no row"):
        unrolled.open(tmp_path / "empty")
    make_job(tmp_path / "waiting")
    several = (
        f"{tmp_path}/empty: the job is complete, and its input had no row; .*; "
        f"{tmp_path}/waiting: none is published yet, or all were removed; `unrolled status` shows how far the job is$"
    )
    with pytest.raises(FileFormatError, match=several):
        unrolled.open([tmp_path / "empty", tmp_path / "waiting"])
    (tmp_path / "other").mkdir()
    with pytest.raises(
        FileFormatError, match=f"; {tmp_path}/other: give the output directory of a job that has begun$"
    ):
        unrolled.open([tmp_path / "empty", tmp_path / "other"])
    with pytest.raises(FileFormatError, match=r"^the source is empty; give the path or URL of a job or a part"):
        unrolled.open([])
    with pytest.raises(FileFormatError, match=r"^the source is an empty text; .* or \. for this directory$"):
        unrolled.open("")
    job = make_job(tmp_path / "bad", 0, ended=False)
    one = make_shard(0, job.job.id, [BadRow("rows.txt", row, None, "not UTF-8") for row in range(3)])
    spool(job.objects, one)
    decide(job, Segment("end", (one.entry,)))
    publish_shard(job, one.entry.shard)
    dataset = unrolled.open(tmp_path / "bad")
    assert (len(dataset), dataset.to_arrow().num_rows, list(dataset)) == (0, 0, [])
    assert dataset.to_arrow().schema.field("outputs").type.value_type.list_size > 0


@pytest.mark.parametrize("pattern", ["job-?", "job-*", "job-[ab]", "**/job-?", "job-*/*.parquet", ["job-b*", "job-a*"]])
def test_a_pattern_is_all_that_it_matches(tmp_path, monkeypatch, pattern):
    """Directories of several jobs, or parts, in the order of their names."""
    for name in ("job-b", "job-a"):
        finished_job(tmp_path / name, inputs=(f"{name}.txt",))
    (tmp_path / "other").mkdir()
    for name in ("job-c", "job-0", "job-a/notes.txt"):  # files that are no parts
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    dataset = unrolled.open(pattern)
    in_order = ["job-b", "job-a"] if isinstance(pattern, list) else ["job-a", "job-b"]
    wanted = [file for name in in_order for file in unrolled.open(name).files]
    assert [os.path.normpath(file) for file in dataset.files] == wanted
    assert dataset.complete is (None if "parquet" in pattern else True)


def test_a_pattern_finds_jobs_of_any_name_and_not_their_records(tmp_path):
    """A job in `_b` isn't left out in silence, and `jobs/**` goes through what is inside the jobs."""
    for name in ("a", "_b"):
        finished_job(tmp_path / "jobs" / name, inputs=(f"{name}.txt",), shards=1)
    assert len(unrolled.open(f"{tmp_path}/jobs/*").files) == 2
    assert len(unrolled.open(f"{tmp_path}/jobs/**/*.parquet").files) == 2
    assert len(unrolled.open(f"{tmp_path}/jobs/**").files) == 2


@pytest.mark.parametrize("source", [None, 3, b"out", ["out", None], [b"out"]])
def test_what_is_no_path(source):
    """Bytes would be a sequence of numbers."""
    with pytest.raises(TypeError, match=r"^the source has .*; give the path or URL of a job or a part, or several$"):
        unrolled.open(source)


@pytest.mark.parametrize("parts", ["out", [], ["out"], None])
def test_what_no_dataset_is_made_of(parts):
    """The class is no way to open a job, and says which one is."""
    with pytest.raises(TypeError, match=r"a Dataset is of parts, not .*; a job is opened by unrolled.open"):
        unrolled.Dataset(parts)


def test_a_part_that_is_named_twice(out):
    """Its rows would be there twice. It isn't to be left out, but named once."""
    for twice in ([out, f"{out}/."], [out, *out.glob("part-*.parquet")]):
        with pytest.raises(FileFormatError, match=r"part-.*parquet is named twice: name it, or its directory, once$"):
            unrolled.open(twice)


def test_a_name_may_look_like_a_pattern(tmp_path, out):
    """What exists is opened, whatever its name is."""
    shutil.copytree(out, tmp_path / "out[1]*")
    assert len(unrolled.open(tmp_path / "out[1]*")) == len(unrolled.open(out))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("none-*", r"none-\*: no path matches this pattern; give the output directories of jobs, or their \.parquet"),
        ("*.csv", r"a\.csv: is a file; name the output directory of a job, or its \.parquet files"),
        ("s3://bucket/jobs/2024-*", r"patterns of URLs aren't expanded; .*: unrolled\.open\(\[URL, …\]\)"),
        ("s3://bucket/jobs/part-?.parquet", "patterns of URLs aren't expanded"),
    ],
)
def test_a_pattern_that_can_not_be_opened(tmp_path, monkeypatch, pattern, said):
    """The error says what to give."""
    (tmp_path / "a.csv").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileFormatError, match=said):
        unrolled.open(pattern)


def test_mixed_models_are_refused(out):
    """Both files and both fingerprints are named."""
    publish_rows(out, ROWS, index=2, fingerprint="cd" * 32)
    with pytest.raises(FileFormatError, match="ab" * 32 + r".*part-000002.*" + "cd" * 32):
        unrolled.open(out)


@pytest.mark.parametrize(
    ("different", "text"),
    [
        ({"arithmetic": "bfloat16"}, r"arithmetic float32, .*part-000002.* of arithmetic bfloat16"),
        ({"engine": "tensorflow"}, r"engine fused, .*part-000002.* of engine tensorflow"),
    ],
)
def test_mixed_ways_of_computing_are_refused(out, different, text):
    """Vectors that were rounded in different ways don't mix, though the model is one."""
    publish_rows(out, ROWS, index=2, computed=different)
    with pytest.raises(FileFormatError, match=text):
        unrolled.open(out)


def test_mixed_widths_are_refused(out):
    """Vectors of different widths are never in one array."""
    publish_rows(out, ROWS, index=2, units=5)
    with pytest.raises(FileFormatError, match=r"outputs of 3 float32.*part-000002.*outputs of 5"):
        unrolled.open(out)


def test_the_same_shard_twice_is_refused(out):
    """A copy beside its original would make every row of it count twice."""
    original = next(out.glob("part-000001*"))
    shutil.copy(original, out / "part-copy.parquet")
    with pytest.raises(FileFormatError, match="both contain shard 000001-0123456789ab"):
        unrolled.open(out)


def test_another_format_version_is_refused(out):
    """The text names the file, its version and ours."""
    path = out / "part-000002-0123456789ab.parquet"
    shutil.copy(next(out.glob("part-000001*")), path)
    with pq.ParquetFile(path) as file:
        table = file.read()
    with pq.ParquetWriter(path, table.schema) as rewriter:
        rewriter.write_table(table)
        rewriter.add_key_value_metadata({b"unrolled.format_version": b"9"})
    with pytest.raises(FileFormatError, match=r"part-000002.*version 9.*reads version 2"):
        unrolled.open(out)


def test_files_of_others_are_refused(out):
    """A Parquet file that this product did not write is named."""
    pq.write_table(pa.table({"id": ["a"]}), out / "theirs.parquet")
    with pytest.raises(FileFormatError, match=r"theirs\.parquet.*not written by unrolled"):
        unrolled.open(out)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_no_parquet_file_is_refused(tmp_path, content):
    """Never with Arrow's own error."""
    (tmp_path / "part.parquet").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"part\.parquet: damaged, or not a Parquet file"):
        unrolled.open(tmp_path)


def test_damage_behind_the_footer_shows_while_reading(out):
    """Opening reads footers alone; an error names the file with a broken page when its rows are asked for."""
    path, outputs = publish_rows(out, [[1] * 30], index=2)
    data = bytearray(path.read_bytes())
    data[data.index(outputs.tobytes())] ^= 1
    path.write_bytes(data)
    dataset = unrolled.open(out)
    assert len(dataset) == 17
    with pytest.raises(FileFormatError, match=r"part-000002.*damaged"):
        list(dataset)


def test_an_empty_directory(tmp_path):
    """The error says what to give instead."""
    with pytest.raises(FileFormatError, match="give the output directory"):
        unrolled.open(tmp_path)


def test_importing_the_package_loads_nothing_heavy():
    """The command line imports it and must start at once."""
    code = (
        "import sys, unrolled, unrolled.format.file_info, unrolled.store.publish;"
        "print([name for name in ('numpy', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_public_name_is_there():
    """What `__all__` promises can be had, and nothing else."""
    for name in unrolled.__all__:
        assert getattr(unrolled, name)
    with pytest.raises(AttributeError, match="no attribute 'closed'"):
        _ = unrolled.closed


def test_a_part_of_another_job_is_refused(tmp_path):
    """It would be read along unseen; named one by one, parts of several jobs are read."""
    one, other = finished_job(tmp_path / "one"), finished_job(tmp_path / "other", inputs=("b.txt",))
    (tmp_path / "parts").mkdir()
    for job in (other, one):
        for path in Path(job.place).glob("*.parquet"):
            shutil.copy(path, tmp_path / "parts")
    stranger = min(Path(other.place).glob("*.parquet"))
    shutil.copy(stranger, one.place)
    with pytest.raises(FileFormatError, match=rf"{stranger.name} is of another job than the job in that directory"):
        unrolled.open(one.place)
    with pytest.raises(FileFormatError, match=r"is of another job than .*part-"):
        unrolled.open(tmp_path / "parts")
    assert len(unrolled.open(sorted((tmp_path / "parts").iterdir()))) == len(unrolled.open(other.place)) * 2


def test_parts_of_another_input_with_the_same_names(tmp_path):
    """Nothing in them says so, but the job's log doesn't name them."""
    ours, theirs = finished_job(tmp_path / "ours"), make_job(tmp_path / "theirs", shards=5)
    for shard in waiting(theirs):
        publish_shard(theirs, shard)
    assert unrolled.open(ours.place).complete is True
    stray = max((tmp_path / "theirs").glob("*.parquet"))
    shutil.copy(stray, tmp_path / "ours")
    assert unrolled.open(ours.place).complete is False


def test_whether_a_job_is_complete(tmp_path):
    """It is when the input was read to its end and every shard is published; parts alone can't say."""
    job = make_job(tmp_path, ended=False)
    first, second, third = waiting(job)
    publish_shard(job, first)
    early = unrolled.open(tmp_path)
    assert early.complete is False
    publish_shard(job, second)
    decide(job, Segment("end"))
    record_death(job, third)
    assert unrolled.open(tmp_path).complete is False
    publish_shard(job, third)
    assert unrolled.open(tmp_path).complete is True
    assert early.complete is False, "it doesn't have the later parts"
    assert unrolled.open(sorted(tmp_path.glob("*.parquet"))).complete is None
    (tmp_path / names.JOB).write_text("{}")
    assert unrolled.open(tmp_path).complete is None
    shutil.rmtree(tmp_path / names.FOLDER)
    assert unrolled.open(tmp_path).complete is None
