"""A published file, read whole and held against itself."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import plain, stored

from unrolled.errors import FileFormatError, TransientError
from unrolled.format.file_info import FileInfo
from unrolled.format.rows_digest import rows_digest
from unrolled.format.schema import arrow_schema
from unrolled.job.shard_id import ShardId
from unrolled.ragged import Ragged
from unrolled.reading.inspection import PartContents, inspect_part
from worker.parquet import shard_file

TOKENS = Ragged(np.array([1, 0, 2, 3, 0, 0, 1, 1], np.int32), np.array([0, 3, 3, 4, 6, 8]))
IDS = ["a", "b", "c", "d", "ä"]
INFO = FileInfo("ab" * 32, "fused", "float32", "job", ShardId(0, "0123456789ab"), rows=5, tokens=5)
OUTPUTS = np.arange(10, dtype=np.float32).reshape(5, 2)
COLUMNS = {
    "id": IDS,
    "length": [2, 0, 1, 0, 2],
    "mask": [[True, False, True], [], [True], [False, False], [True, True]],
    "outputs": [[[0, 1], [2, 3]], [], [[4, 5]], [], [[6, 7], [8, 9]]],
    "tokens": [[1, 0, 2], [], [3], [0, 0], [1, 1]],
}


@pytest.fixture
def part(tmp_path):
    """A sound file."""
    path = tmp_path / "part.parquet"
    with path.open("wb") as file:
        shard_file.encode(file, INFO, IDS, TOKENS, [OUTPUTS], *plain(2, with_tokens=True))
    return path


def write(path, columns, of=None, **metadata):
    """A file that the writer would never make: any columns, under the metadata of a sound one."""
    schema = arrow_schema(*(of or plain(2, with_tokens="tokens" in columns)))
    table = pa.table(columns, schema=schema)
    with pq.ParquetWriter(path, schema) as file:
        file.write_table(table, row_group_size=2)
        file.add_key_value_metadata(INFO.encode() | metadata)


def test_a_sound_file_is_counted(part):
    """Counts and digest are those of the rows that were cut, whoever computed them."""
    expected = PartContents(INFO, *plain(2, with_tokens=True), 5, 5, rows_digest(IDS, TOKENS))
    assert inspect_part(part) == expected


def test_row_groups_do_not_change_the_outcome(part, tmp_path):
    """The same rows in groups of two."""
    write(tmp_path / "grouped.parquet", COLUMNS)
    assert inspect_part(tmp_path / "grouped.parquet") == inspect_part(part)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"length": [2, 0, 2, 0, 2]}, r"row 2 \('c'\) has length 2, its mask has 1"),
        ({"mask": [*COLUMNS["mask"][:4], [True]]}, r"row 4 \('ä'\) has length 2, its mask has 1"),
        (
            {"outputs": [*COLUMNS["outputs"][:3], [[1, 1]], []]},
            r"row 3 \('d'\) has length 0, its outputs has 1",
        ),
        ({"tokens": [*COLUMNS["tokens"][:2], [0], [1, 0], [1, 1]]}, "not the sign of the tokens from row 2"),
        ({"tokens": [*COLUMNS["tokens"][:4], [1]]}, "not the sign of the tokens from row 4"),
    ],
)
def test_contradictions_are_named(tmp_path, change, text):
    """The text says which row and what about it."""
    path = tmp_path / "part.parquet"
    write(path, COLUMNS | change)
    with pytest.raises(FileFormatError, match=rf"part\.parquet.*{text}"):
        inspect_part(path)


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"unrolled.rows": "6"}, "5 rows, its metadata says 6"),
        ({"unrolled.tokens": "6"}, "5 real tokens, its metadata says 6"),
    ],
)
def test_counts_against_the_metadata(tmp_path, metadata, text):
    """A file that holds more or fewer than it says is refused."""
    path = tmp_path / "part.parquet"
    write(path, COLUMNS, **metadata)
    with pytest.raises(FileFormatError, match=text):
        inspect_part(path)


def test_an_id_that_is_no_text(tmp_path):
    """Parquet does not check that strings are UTF-8; this does."""
    path = tmp_path / "part.parquet"
    ids = pa.array([b"a", b"b", b"\xff", b"d", b"e"]).view(pa.string())
    write(path, COLUMNS | {"id": ids})
    with pytest.raises(FileFormatError, match=r"part\.parquet: damaged"):
        inspect_part(path)


def test_a_missing_file(tmp_path):
    """The system's own reason is told."""
    with pytest.raises(TransientError, match="No such file"):
        inspect_part(tmp_path / "gone.parquet")


@settings(deadline=None, max_examples=300)  # opening a file takes its time
@given(data=st.data())
def test_damage_is_an_error_of_ours(tmp_path_factory, data):
    """Whatever bits flip, wherever a file ends: the same contents, or an error that names the file."""
    path = tmp_path_factory.mktemp("out") / "part.parquet"
    with path.open("wb") as file:
        shard_file.encode(file, INFO, IDS, TOKENS, [OUTPUTS], *plain(2, with_tokens=True))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3), label="places"):
        content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)), label="bytes kept")])
    try:
        contents = inspect_part(path)
    except FileFormatError as error:
        assert str(path) in str(error)  # noqa: PT017 - most damage is told, some bits mean nothing
    else:
        assert (contents.rows, contents.tokens, contents.digest) == (5, 5, rows_digest(IDS, TOKENS))
        table = pq.read_table(path)
        assert table["outputs"].to_pylist() == COLUMNS["outputs"]


SPREAD = stored(1, 1, layers=(0, 1), pooling=("none", "mean"), precision="float16")
SPREAD_ROWS = {name: COLUMNS[name] for name in ("id", "length", "mask")} | {
    "outputs_0": [[[0], [1]], [], [[2]], [], [[3], [4]]],
    "outputs_1": [[[0], [1]], [], [[2]], [], [[3], [4]]],
    "mean_0": [[0], [1], [2], [3], [4]],
    "mean_1": [[0], [1], [2], [3], [4]],
}


def test_every_column_of_vectors_is_looked_at(tmp_path):
    """Each layer's vectors fit the lengths; files without a vector for each token are counted by lengths and masks."""
    path = tmp_path / "part.parquet"
    write(path, SPREAD_ROWS, SPREAD)
    contents = inspect_part(path)
    assert (contents.spec, contents.columns) == SPREAD
    write(path, SPREAD_ROWS | {"outputs_1": [[[0], [1]], [], [[2], [2]], [], [[4]]]}, SPREAD)
    with pytest.raises(FileFormatError, match=r"row 2 \('c'\) has length 1, its outputs_1 has 2"):
        inspect_part(path)
    pooled = stored(1, 1, layers=(0, 1), pooling=("mean",), precision="float16")
    rows = {name: values for name, values in SPREAD_ROWS.items() if not name.startswith("outputs")}
    write(path, rows, pooled)
    contents = inspect_part(path)
    assert (contents.spec, contents.columns) == pooled
    assert (contents.tokens, contents.digest) == (5, rows_digest(IDS, TOKENS))
    write(path, rows | {"length": [2, 0, 1, 0, 1]}, pooled)
    with pytest.raises(FileFormatError, match=r"row 4 \('ä'\) has length 1, its mask has 2"):
        inspect_part(path)
