"""Writing a computed shard as a Parquet file."""

import errno
import io
import json
import os
import resource
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import plain, stored
from support.ragged_rows import info_of, ragged

from unrolled.errors import PayloadError, TransientError
from unrolled.format.columns import column_name
from unrolled.format.file_info import LONGEST_REASON, FailedRow, FileInfo
from unrolled.format.positions import Positions
from unrolled.format.schema import arrow_schema
from unrolled.job.shard_id import ShardId
from unrolled.store.publish import publish
from worker.parquet import shard_file

token_lists = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=12)


def shard(lists, units=3):
    """The arguments of `encode` for rows of token ids, with a different vector for each token."""
    tokens = ragged(lists)
    real = int((tokens.values != 0).sum())
    outputs = np.arange(real * units, dtype=np.float32).reshape(real, units) / 8
    return info_of(tokens), [f"row#{number}" for number in range(len(lists))], tokens, outputs


def encoded(arguments, **options):
    file = io.BytesIO()
    *rows, outputs = arguments
    shard_file.encode(file, *rows, [outputs], *plain(3 if outputs.ndim < 2 else outputs.shape[1], **options))
    return file.getvalue()


@settings(deadline=None)  # a shared disk may be slow
@given(token_lists, st.integers(1, 5), st.booleans())
def test_what_is_written_is_read(lists, units, with_tokens):
    """All columns are read as written, wherever zeros are and whichever rows are empty."""
    info, ids, tokens, outputs = shard(lists, units)
    data = encoded((info, ids, tokens, outputs), with_tokens=with_tokens)
    table = pq.read_table(io.BytesIO(data))
    assert table.schema == arrow_schema(*plain(units, with_tokens=with_tokens))
    assert table["id"].to_pylist() == ids
    assert table["mask"].to_pylist() == [[token != 0 for token in row] for row in lists]
    assert table["length"].to_pylist() == [sum(token != 0 for token in row) for row in lists]
    vectors = iter(outputs.tolist())
    expected = [[next(vectors) for token in row if token] for row in lists]
    assert table["outputs"].to_pylist() == expected
    if with_tokens:
        assert table["tokens"].to_pylist() == lists
    assert FileInfo.decode(pq.read_metadata(io.BytesIO(data)).metadata) == info


RULES = (Positions("word-ends", blanks=(1,), direction="forward"), Positions("every", 2), Positions("last", 2))


@settings(deadline=None)  # a shared disk may be slow
@given(token_lists, st.sampled_from(RULES), st.booleans())
def test_only_the_chosen_vectors_are_written(lists, rule, with_tokens):
    """Beside each is the place of its token in the row as it came in; they have the bits of a job that stores all."""
    arguments = info, *_ = shard(lists)
    info = replace(info, positions=rule)
    data = encoded((info, *arguments[1:]), positions=rule, with_tokens=with_tokens)
    table = pq.read_table(io.BytesIO(data))
    assert table.schema == arrow_schema(*plain(3, positions=rule, with_tokens=with_tokens))
    every = pq.read_table(io.BytesIO(encoded(arguments)))
    real = [[place for place, token in enumerate(row) if token] for row in lists]
    chosen = iter(rule.chosen(ragged([[token for token in row if token] for row in lists])).tolist())
    kept = [[place for place in row if next(chosen)] for row in real]
    assert table["positions"].to_pylist() == kept
    vectors = [
        dict(zip(row, found, strict=True)) for row, found in zip(real, every["outputs"].to_pylist(), strict=True)
    ]
    assert table["outputs"].to_pylist() == [
        [row[place] for place in places] for row, places in zip(vectors, kept, strict=True)
    ]
    assert (table["length"], table["mask"]) == (every["length"], every["mask"])
    assert FileInfo.decode(pq.read_metadata(io.BytesIO(data)).metadata) == info


@settings(deadline=None)  # a shared disk may be slow
@given(token_lists)
def test_same_rows_same_bytes(lists):
    """A second attempt rewrites the file bit for bit."""
    assert encoded(shard(lists)) == encoded(shard(lists))


def test_a_part_says_which_rows_failed():
    """They are in its metadata alone: no other file can contradict it, and a footer is enough to learn of them."""
    info, ids, tokens, outputs = shard([[1, 2], [3]])
    failed = (FailedRow(1, "row#1", "too hard: é"), FailedRow(3, "row#3", "x" * (LONGEST_REASON + 9)))
    data = encoded((replace(info, failed=failed), ids, tokens, outputs))
    metadata = pq.read_metadata(io.BytesIO(data)).metadata
    cut = failed[1]._replace(reason="x" * LONGEST_REASON)
    assert FileInfo.decode(metadata).failed == (failed[0], cut)
    assert json.loads(metadata[b"unrolled.failed"]) == [[1, "row#1", "too hard: é"], list(cut)]


def test_nothing_of_a_library_is_in_the_bytes(monkeypatch):
    """Workers with other releases of numpy, pyarrow or this product write the same file."""
    before = encoded(shard([[1, 2], [3]]))
    for module in (np, pa):
        monkeypatch.setattr(module, "__version__", "0.0.1")
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.0.1")
    monkeypatch.setattr("unrolled.format.file_info.release", lambda: "0.0.1")
    assert encoded(shard([[1, 2], [3]])) == before
    metadata = pq.read_metadata(io.BytesIO(before))
    words = ("format_version", "model_fingerprint", "engine", "arithmetic", "job", "shard", "rows", "tokens", "failed")
    assert set(metadata.metadata) == {b"ARROW:schema", *(f"unrolled.{word}".encode() for word in words)}
    assert metadata.created_by == "unrolled format 2"


def test_row_groups_are_bounded(monkeypatch):
    """A row group has as many rows as fit; a larger row has one to itself; rows without tokens count too."""
    monkeypatch.setattr(shard_file, "ROW_GROUP_BYTES", 1000)
    lists = [[1] * 20, [1] * 20, [1] * 500, [], [1], *([[]] * 40)]
    file = pq.ParquetFile(io.BytesIO(encoded(shard(lists))))
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    # 64 bytes a row, 5 or 6 for its id, 5 a token and 12 a vector: 409, 409, 8569, 69, 86, then 69 or 70.
    assert rows == [2, 1, 14, 14, 14]
    assert file.read()["length"].to_pylist() == [len(row) for row in lists]


def test_outputs_are_stored_as_they_are():
    """Vectors are in the file in one piece, and the columns that people search by have bounds."""
    info, ids, tokens, outputs = shard([[1] * 50] * 4, units=16)
    data = encoded((info, ids, tokens, outputs))
    assert outputs.tobytes() in data
    group = pq.read_metadata(io.BytesIO(data)).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["outputs.list.element.list.element"].compression == "UNCOMPRESSED"
    assert [name for name, column in columns.items() if column.is_stats_set] == ["id", "length"]
    assert (columns["id"].statistics.min, columns["id"].statistics.max) == ("row#0", "row#3")
    assert (columns["length"].statistics.min, columns["length"].statistics.max) == (50, 50)


def test_bounds_of_long_ids_are_left_out():
    """The footer doesn't grow with the ids."""
    info, _, tokens, outputs = shard([[1], [2]])
    data = encoded((info, ["a", "b" * 257], tokens, outputs))
    assert not pq.read_metadata(io.BytesIO(data)).row_group(0).column(0).is_stats_set


def test_a_flipped_bit_in_the_vectors_shows():
    """Pages have checksums, so damage on a disk is noticed."""
    info, ids, tokens, outputs = shard([[1] * 50] * 4, units=16)
    data = bytearray(encoded((info, ids, tokens, outputs)))
    data[data.index(outputs.tobytes()) + 5] ^= 1
    with pytest.raises(OSError, match="integrity"):
        pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()


def test_a_row_longer_than_many_pages():
    """A row of any length is cut into pages and read as a whole."""
    info, ids, tokens, outputs = shard([[1], [1] * 400_000, [0, 1]], units=3)
    data = encoded((info, ids, tokens, outputs))
    read = pq.read_table(io.BytesIO(data))["outputs"].combine_chunks()
    np.testing.assert_array_equal(read.flatten().flatten().to_numpy().reshape(-1, 3), outputs)
    assert read.value_lengths().to_pylist() == [1, 400_000, 1]


@pytest.mark.parametrize(
    ("position", "value", "text"),
    [
        (1, ["a", "b"], "2 ids for 3 rows"),
        (3, np.zeros((5, 3), np.float32), r"outputs is \(5, 3\); \(4, 3\) is needed for 4 real tokens"),
        (3, np.zeros((4, 3), np.float64), "float64"),
        (3, np.zeros((3, 4), np.float32).T, "strides"),
        (1, ["a", "b\ud800", "c"], "not Unicode text"),
    ],
)
def test_contradictions_are_refused(position, value, text):
    """Arguments from which readers would get a wrong file are refused."""
    arguments = list(shard([[1, 0, 2], [], [3, 1]]))
    arguments[position] = value
    with pytest.raises(PayloadError, match=text):
        encoded(arguments)


def test_a_full_disk_is_reported_as_one(tmp_path):
    """The operating system's error is reported, and no partial file is left."""
    arguments = shard([[1] * 1000] * 10, units=64)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, limits[1]))
    try:
        with pytest.raises(TransientError, match=os.strerror(errno.EFBIG)):
            publish(tmp_path, "part", lambda file: shard_file.encode(file, *arguments[:3], [arguments[3]], *plain(64)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def file_of(chosen, arrays, rows=3):
    """The bytes of a file of rows with one token each."""
    tokens = ragged([[1]] * rows)
    info = FileInfo("ab" * 32, "fused", "float32", "job", ShardId(0, "0123456789ab"), rows, rows)
    file = io.BytesIO()
    shard_file.encode(file, info, [f"row#{number}" for number in range(rows)], tokens, arrays, *chosen)
    return file.getvalue()


@settings(deadline=None)  # a shared machine may be slow
@given(st.lists(st.floats(-32_000, 32_000, width=32), min_size=6, max_size=6), st.sampled_from(["none", "mean"]))
def test_float16_is_the_nearest(values, pooling):
    """Numbers are rounded once, ties to even, so the error is at most half a step."""
    array = np.array(values, np.float32).reshape(3, 2)
    chosen = stored(2, pooling=(pooling,), precision="float16")
    table = pq.read_table(io.BytesIO(file_of(chosen, [array])))
    assert table.schema == arrow_schema(*chosen)
    flat = table[column_name(pooling)].combine_chunks().flatten()
    found = (flat.flatten() if pooling == "none" else flat).to_numpy()
    assert found.dtype == np.float16
    assert (np.abs(found.astype(np.float64) - array.reshape(-1)) <= np.spacing(np.abs(found)).astype(float) / 2).all()


def test_what_float16_cannot_hold_is_refused():
    """A number that would become infinite is refused, and the text says what to do. Infinities are kept."""
    chosen = stored(1, pooling=("mean",), precision="float16")
    with pytest.raises(PayloadError, match=r"has the number 65520; float16 ends at 65504.*--precision float32"):
        file_of(chosen, [np.array([[1], [65_520], [2]], np.float32)])
    kept = np.array([[np.inf], [np.nan], [1e-30]], np.float32)
    found = pq.read_table(io.BytesIO(file_of(chosen, [kept])))["mean"].combine_chunks().flatten().to_numpy()
    np.testing.assert_array_equal(found, np.array([np.inf, np.nan, 0], np.float16))


def test_rounding_takes_a_page_of_memory(monkeypatch):
    """The shard is not copied."""
    monkeypatch.setattr(shard_file, "PAGE_BYTES", 1 << 16)
    rows, width = 4_000, 500
    chosen = stored(width, pooling=("mean",), precision="float16")
    array = np.zeros((rows, width), np.float32)

    class Nowhere(io.RawIOBase):
        def write(self, data):
            return len(data)

    tokens = ragged([[1]] * rows)
    info = FileInfo("ab" * 32, "fused", "float32", "job", ShardId(0, "0123456789ab"), rows, rows)
    ids = [str(row) for row in range(rows)]
    tracemalloc.start()
    try:
        shard_file.encode(Nowhere(), info, ids, tokens, [array], *chosen)
        assert tracemalloc.get_traced_memory()[1] < array.nbytes / 4
    finally:
        tracemalloc.stop()


def test_row_groups_of_pooled_vectors_are_bounded(monkeypatch):
    """With vectors twice as wide, a row group has half as many rows."""
    monkeypatch.setattr(shard_file, "ROW_GROUP_BYTES", 10_000)
    for width, rows in ((100, 21), (200, 11)):
        data = file_of(stored(width, pooling=("max",)), [np.zeros((50, width), np.float32)], rows=50)
        assert pq.read_metadata(io.BytesIO(data)).row_group(0).num_rows == rows


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 2), np.float32), r"mean is \(2, 2\); \(3, 2\) is needed for 3 rows"),
        (np.zeros((3, 3), np.float32), r"mean is \(3, 3\); \(3, 2\) is needed for 3 rows"),
        (np.zeros((3, 2), np.float16), "mean is float16"),
    ],
)
def test_pooled_vectors_that_contradict_the_rows_are_refused(array, text):
    """Pooled vectors must have the number, the width and the type of the column."""
    with pytest.raises(PayloadError, match=text):
        file_of(stored(2, pooling=("mean",)), [array])
