"""A published file, read whole and held against itself."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import plain, stored

from unrolled.errors import FileFormatError
from unrolled.format.file_info import FileInfo
from unrolled.format.positions import Positions
from unrolled.format.rows_digest import rows_digest
from unrolled.format.schema import arrow_schema
from unrolled.format.seal import Sealing
from unrolled.job.shard_id import ShardId
from unrolled.reading.inspection import PartContents, inspect_part
from unrolled.store.place import open_store
from unrolled.tokenization.ragged import Ragged
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
        sealing = Sealing(file)
        shard_file.encode(sealing, INFO, IDS, TOKENS, [OUTPUTS], *plain(2, with_tokens=True))
        sealing.finish()
    return path


def write(path, columns, of=None, **metadata):
    """A file that the writer would never make: any columns, under the metadata of a sound one, and sealed."""
    schema = arrow_schema(*(of or plain(2, with_tokens="tokens" in columns)))
    table = pa.table(columns, schema=schema)
    unsealed = io.BytesIO()
    with pq.ParquetWriter(unsealed, schema) as file:
        file.write_table(table, row_group_size=2)
        file.add_key_value_metadata(INFO.encode() | metadata)
    content = unsealed.getvalue()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    with path.open("wb") as file:
        sealing = Sealing(file)
        for portion in (content[:footer], content[footer:]):
            sealing.write(portion)
        sealing.finish()


def inspect(path):
    return inspect_part(open_store(path.parent), path.name)


def test_a_sound_file_is_counted(part):
    """Counts and digest are those of the rows that were cut, on any processor."""
    expected = PartContents(INFO, *plain(2, with_tokens=True), 5, 5, rows_digest(IDS, TOKENS))
    assert inspect(part) == expected


def test_row_groups_do_not_change_the_outcome(part, tmp_path):
    """The same rows in groups of two."""
    write(tmp_path / "grouped.parquet", COLUMNS)
    assert inspect(tmp_path / "grouped.parquet") == inspect(part)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"length": [2, 0, 2, 0, 2]}, r"row 2 \('c'\) is of length 2, its mask of 1"),
        ({"mask": [*COLUMNS["mask"][:4], [True]]}, r"row 4 \('ä'\) is of length 2, its mask of 1"),
        (
            {"outputs": [*COLUMNS["outputs"][:3], [[1, 1]], []]},
            r"row 3 \('d'\) is of length 0, its outputs of 1",
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
        inspect(path)


WORDS, LAST = Positions("word-ends", blanks=(1,), direction="forward"), Positions("last", 1)
CHOSEN = {
    "outputs": [[[0, 1]], [], [[4, 5]], [], []],
    "positions": [[2], [], [0], [], []],
}


def write_chosen(path, rule, columns):
    with_tokens = "tokens" in columns
    write(
        path,
        columns,
        plain(2, positions=rule, with_tokens=with_tokens),
        **{"unrolled.positions": json.dumps(rule.to_json())},
    )


@pytest.mark.parametrize("stored", [COLUMNS, {name: one for name, one in COLUMNS.items() if name != "tokens"}])
def test_sound_positions_are_counted(tmp_path, stored):
    """Those of words can be checked against the rule only if the tokens are stored."""
    path = tmp_path / "part.parquet"
    write_chosen(path, WORDS, stored | CHOSEN)
    assert inspect(path).spec.positions == WORDS
    write_chosen(
        path, LAST, stored | {"outputs": [[[0, 1]], [], [[4, 5]], [], [[6, 7]]], "positions": [[2], [], [0], [], [1]]}
    )
    assert inspect(path).spec.positions == LAST


@pytest.mark.parametrize("change", [
    {"positions": [[2], [], [], [], []]},
    {"outputs": [[[0, 1]], [], [], [], [[4, 5]]]},
    {"positions": [[3], [], [0], [], []]},
    {"positions": [[-1], [], [0], [], []]},
    {"positions": [[1], [], [0], [], []]},
    {"positions": [[2, 2], [], [0], [], []], "outputs": [[[0, 1], [0, 1]], [], [[4, 5]], [], []]},
    {"positions": [[2, 0], [], [0], [], []], "outputs": [[[0, 1], [0, 1]], [], [[4, 5]], [], []]},
])  # fmt: skip
def test_positions_that_do_not_fit_are_refused(tmp_path, change):
    """Beyond the row, at padding, twice, or of another number than the vectors."""
    path = tmp_path / "part.parquet"
    untold = {name: one for name, one in COLUMNS.items() if name != "tokens"}
    write_chosen(path, WORDS, untold | CHOSEN | change)
    with pytest.raises(FileFormatError, match="its positions are not word-ends"):
        inspect(path)


def test_positions_of_another_rule_are_refused(tmp_path):
    """Rules that depend on lengths alone are always checked, that of words if the tokens are stored."""
    path = tmp_path / "part.parquet"
    other = {"outputs": [[[0, 1]], [], [[4, 5]], [], []], "positions": [[0], [], [0], [], []]}
    for rule, tokens in ((WORDS, {"tokens": COLUMNS["tokens"]}), (LAST, {})):
        untold = {name: one for name, one in COLUMNS.items() if name != "tokens"}
        write_chosen(path, rule, untold | other | tokens)
        with pytest.raises(FileFormatError, match=f"its positions are not {rule}"):
            inspect(path)


def test_a_file_without_its_seal_is_refused(tmp_path):
    """Its rows fit together, and still it isn't the file that was published."""
    path = tmp_path / "part.parquet"
    with path.open("wb") as file:
        shard_file.encode(file, INFO, IDS, TOKENS, [OUTPUTS], *plain(2, with_tokens=True))
    with pytest.raises(FileFormatError, match=r"part\.parquet: not the bytes that were published"):
        inspect(path)


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
        inspect(path)


def test_an_id_that_is_no_text(tmp_path):
    """Parquet does not check that strings are UTF-8; this does."""
    path = tmp_path / "part.parquet"
    ids = pa.array([b"a", b"b", b"\xff", b"d", b"e"]).view(pa.string())
    write(path, COLUMNS | {"id": ids})
    with pytest.raises(FileFormatError, match=r"part\.parquet: damaged"):
        inspect(path)


def test_a_missing_file(tmp_path):
    """It was deleted since somebody listed it; the text names it."""
    with pytest.raises(FileFormatError, match=r"gone\.parquet: no longer exists"):
        inspect(tmp_path / "gone.parquet")


@settings(deadline=None, max_examples=300)  # opening a file takes its time
@given(data=st.data())
def test_damage_is_an_error_of_ours(tmp_path_factory, data):
    """Whatever bits flip, wherever a file ends: an error that names the file, and contents where nothing changed."""
    path = tmp_path_factory.mktemp("out") / "part.parquet"
    write(path, COLUMNS)
    sound = path.read_bytes()
    content = bytearray(sound)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3), label="places"):
        content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)), label="bytes kept")])
    try:
        contents = inspect(path)
    except FileFormatError as error:
        assert str(path) in str(error)  # noqa: PT017 - two flips of one bit are none
    else:
        assert path.read_bytes() == sound
        assert (contents.rows, contents.tokens, contents.digest) == (5, 5, rows_digest(IDS, TOKENS))
        table = pq.read_table(path)
        assert table["outputs"].to_pylist() == COLUMNS["outputs"]


SPREAD = stored(1, 1, layers=(0, 1), pooling=("none", "mean"), precision="float16")
SPREAD_ROWS = {name: COLUMNS[name] for name in ("id", "length", "mask")} | {
    "outputs_0": [[[0], [1]], [], [[2]], [], [[3], [4]]],
    "outputs_1": [[[0], [1]], [], [[2]], [], [[3], [4]]],
    "mean_0": [[0], None, [2], None, [4]],
    "mean_1": [[0], None, [2], None, [4]],
}


def test_every_column_of_vectors_is_looked_at(tmp_path):
    """Each layer's vectors fit the lengths; files without a vector for each token are counted by lengths and masks."""
    path = tmp_path / "part.parquet"
    write(path, SPREAD_ROWS, SPREAD)
    contents = inspect(path)
    assert (contents.spec, contents.columns) == SPREAD
    write(path, SPREAD_ROWS | {"outputs_1": [[[0], [1]], [], [[2], [2]], [], [[4]]]}, SPREAD)
    with pytest.raises(FileFormatError, match=r"row 2 \('c'\) is of length 1, its outputs_1 of 2"):
        inspect(path)
    pooled = stored(1, 1, layers=(0, 1), pooling=("mean",), precision="float16")
    rows = {name: values for name, values in SPREAD_ROWS.items() if not name.startswith("outputs")}
    write(path, rows, pooled)
    contents = inspect(path)
    assert (contents.spec, contents.columns) == pooled
    assert (contents.tokens, contents.digest) == (5, rows_digest(IDS, TOKENS))
    for means, row in (([[1], None, None, None, [3]], r"2 \('c'\) is of length 1, its mean_1 is missing"),
                       ([[1], [9], [2], None, [3]], r"1 \('b'\) is of length 0, its mean_1 is there")):  # fmt: skip
        write(path, rows | {"mean_1": means}, pooled)
        with pytest.raises(FileFormatError, match=f"row {row}"):
            inspect(path)
    write(path, rows | {"length": [2, 0, 1, 0, 1]}, pooled)
    with pytest.raises(FileFormatError, match=r"row 4 \('ä'\) is of length 1, its mask of 2"):
        inspect(path)
