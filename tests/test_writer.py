"""A computed shard becomes the bytes of a Parquet file."""

import errno
import io
import os
import resource

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import PayloadError, TransientError
from unrolled.publishing import publish
from unrolled.ragged import Ragged
from unrolled.schema import Columns, FileInfo, ShardId, arrow_schema
from worker import writer

token_lists = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=12)


def ragged(lists):
    lengths = [len(tokens) for tokens in lists]
    values = np.array([token for tokens in lists for token in tokens], np.int32)
    return Ragged(values, np.cumsum([0, *lengths], dtype=np.int64))


def shard(lists, units=3):
    """The arguments of `encode` for rows of token ids, with outputs that tell their token apart."""
    tokens = ragged(lists)
    real = int((tokens.values != 0).sum())
    outputs = np.arange(real * units, dtype=np.float32).reshape(real, units) / 8
    info = FileInfo("ab" * 32, "fused", "float32", "job", ShardId(0, "0123456789ab"), len(lists), real)
    return info, [f"row#{number}" for number in range(len(lists))], tokens, outputs


def encoded(arguments, **options):
    file = io.BytesIO()
    writer.encode(file, *arguments, **options)
    return file.getvalue()


@settings(deadline=None)  # a shared disk takes its time
@given(token_lists, st.integers(1, 5), st.booleans())
def test_what_is_written_is_read(lists, units, with_tokens):
    """All columns come back, wherever the zeros are and whichever rows are empty."""
    info, ids, tokens, outputs = shard(lists, units)
    data = encoded((info, ids, tokens, outputs), with_tokens=with_tokens)
    table = pq.read_table(io.BytesIO(data))
    assert table.schema == arrow_schema(Columns(units, with_tokens))
    assert table["id"].to_pylist() == ids
    assert table["mask"].to_pylist() == [[token != 0 for token in row] for row in lists]
    assert table["length"].to_pylist() == [sum(token != 0 for token in row) for row in lists]
    vectors = iter(outputs.tolist())
    expected = [[next(vectors) for token in row if token] for row in lists]
    assert table["outputs"].to_pylist() == expected
    if with_tokens:
        assert table["tokens"].to_pylist() == lists
    assert FileInfo.decode(pq.read_metadata(io.BytesIO(data)).metadata) == info


@settings(deadline=None)  # a shared disk takes its time
@given(token_lists)
def test_same_rows_same_bytes(lists):
    """A second attempt rewrites the file bit for bit."""
    assert encoded(shard(lists)) == encoded(shard(lists))


def test_row_groups_are_bounded(monkeypatch):
    """A group is filled as far as it goes; a heavier row has one to itself; rows without tokens count too."""
    monkeypatch.setattr(writer, "ROW_GROUP_BYTES", 1000)
    lists = [[1] * 20, [1] * 20, [1] * 500, [], [1], *([[]] * 40)]
    file = pq.ParquetFile(io.BytesIO(encoded(shard(lists))))
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    # 64 bytes a row, 5 or 6 for its id, 5 a token and 12 a vector: 409, 409, 8569, 69, 86, then 69 or 70.
    assert rows == [2, 1, 14, 14, 14]
    assert file.read()["length"].to_pylist() == [len(row) for row in lists]


def test_outputs_are_stored_as_they_are():
    """Vectors lie in the file in one piece, and bounds are kept for what people search by."""
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
    """A footer does not grow with the ids."""
    info, _, tokens, outputs = shard([[1], [2]])
    data = encoded((info, ["a", "b" * 257], tokens, outputs))
    assert not pq.read_metadata(io.BytesIO(data)).row_group(0).column(0).is_stats_set


def test_a_flipped_bit_in_the_vectors_shows():
    """Pages carry checksums, so rot on a disk is no silent change of a state."""
    info, ids, tokens, outputs = shard([[1] * 50] * 4, units=16)
    data = bytearray(encoded((info, ids, tokens, outputs)))
    data[data.index(outputs.tobytes()) + 5] ^= 1
    with pytest.raises(OSError, match="integrity"):
        pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()


def test_a_row_longer_than_many_pages():
    """A row may be as long as it likes: it is cut into pages and comes back whole."""
    info, ids, tokens, outputs = shard([[1], [1] * 400_000, [0, 1]], units=3)
    data = encoded((info, ids, tokens, outputs))
    read = pq.read_table(io.BytesIO(data))["outputs"].combine_chunks()
    np.testing.assert_array_equal(read.flatten().flatten().to_numpy().reshape(-1, 3), outputs)
    assert read.value_lengths().to_pylist() == [1, 400_000, 1]


@pytest.mark.parametrize(
    ("position", "value", "text"),
    [
        (1, ["a", "b"], "2 ids for 3 rows"),
        (3, np.zeros((5, 3), np.float32), "5 vectors for 4 real tokens"),
        (3, np.zeros((4, 3), np.float64), "float64"),
        (3, np.zeros((3, 4), np.float32).T, "strides"),
        (1, ["a", "b\ud800", "c"], "no Unicode text"),
    ],
)
def test_contradictions_are_refused(position, value, text):
    """Nothing that readers would trip over is written."""
    arguments = list(shard([[1, 0, 2], [], [3, 1]]))
    arguments[position] = value
    with pytest.raises(PayloadError, match=text):
        encoded(arguments)


def test_a_full_disk_is_told_as_such(tmp_path):
    """The system's own refusal comes through Arrow, and nothing half is left."""
    arguments = shard([[1] * 1000] * 10, units=64)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, limits[1]))
    try:
        with pytest.raises(TransientError, match=os.strerror(errno.EFBIG)):
            publish(tmp_path, "part", lambda file: writer.encode(file, *arguments))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
