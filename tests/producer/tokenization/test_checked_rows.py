"""Vectors and initial states from every format that can hold them: what is good, and the reason why a row is bad."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.enqueue.shard import make_shard
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import BadRow
from producer.tokenization.checked_rows import checked_rows
from unrolled.errors import OptionError, RequestError
from unrolled.job.payload import decode
from unrolled.model.config import ModelConfig
from unrolled.model.layer import LayerConfig

VECTORS = SourceOptions(kind="vectors", vectors_field="frames")
GOOD = {
    "a": [[0.1, -2.0], [1, 2]],
    "none": [],
    "masked": [[3.0, 0.5], [0.0, -0.0], [4.0, 0.0]],
    "small": [[1e-300, 3.4028234e38]],
}
#: JSON values of the field, with the beginning of the reason.
BAD = {
    "null": "its vectors are null",
    '"text"': "its vectors are 'text'",
    "[1, 2]": r"vector 0 \(from 0\) is 1; allowed: a list of 2 numbers",
    "[[1, 2], null]": r"vector 1 \(from 0\) is null",
    "[[1, 2], [1]]": r"vector 1 \(from 0\) has 1 number; the model reads vectors of 2",
    "[[1, 2], []]": r"vector 1 \(from 0\) has 0 numbers; the model reads vectors of 2",
    "[[1, 2, 3]]": r"vector 0 \(from 0\) has 3 numbers",
    "[[1, true]]": r"number 1 of vector 0 \(from 0\) is true; allowed: a number",
    '[[1, 2], [3, "4"]]': r"number 1 of vector 1 \(from 0\) is '4'",
    "[[1, 2], [3, [4]]]": r"number 1 of vector 1 \(from 0\) is \[4\]",
    "[[1, 1e39]]": r"number 1 of vector 0 \(from 0\) is 1e\+39; allowed: finite numbers of float32",
    "[[1, 1e400]]": r"number 1 of vector 0 \(from 0\) is inf",
    f"[[1, {10**400}]]": "an integer is too large",
}


def read(path, mask_value=0.0):
    """All rows of a file."""
    batches = read_batches(check_inputs([str(path)], VECTORS), VECTORS)
    config = ModelConfig(0, 10, None, (LayerConfig(3),), vector_dim=2, mask_value=mask_value)
    return [row for batch in checked_rows(batches, config, None) for row in batch]


def assert_good(row, vectors):
    wanted = np.array(vectors, np.float64).reshape(-1, 2).astype(np.float32)
    assert row.vectors.dtype == np.float32
    assert row.vectors.tobytes() == wanted.tobytes()
    np.testing.assert_array_equal(row.tokens, (wanted != 0).any(axis=1))


def test_json_lines(tmp_path):
    """A bad row costs itself alone."""
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"id": name, "frames": vectors}) for name, vectors in GOOD.items()]
    path.write_text("\n".join([*lines, *(f'{{"frames": {value}}}' for value in BAD), '{"vectors": [[1, 2]]}']))
    rows = read(path)
    for row, (name, vectors) in zip(rows, GOOD.items(), strict=False):
        assert row.id == name
        assert_good(row, vectors)
    for row, reason in zip(rows[len(GOOD) :], [*BAD.values(), "has no 'frames'; fields found: 'vectors'"], strict=True):
        assert isinstance(row, BadRow)
        assert re.match(reason, row.reason), row.reason


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.list_(pa.float32())),
        pa.large_list(pa.list_(pa.float32(), 2)),
        pa.list_(pa.large_list(pa.float64())),
        pa.list_(pa.list_(pa.float16(), 2)),
    ],
    ids=str,
)
def test_tables(kind, tmp_path):
    """Lists of lists of floats of any kind; nulls, other widths and numbers that are not finite cost their row."""
    small = [[0.5, 1.0]] if kind.value_type.value_type == pa.float16() else GOOD["small"]
    good = [[[0.25, -2.0], [1.0, 2.0]], [], GOOD["masked"], small]
    bad = [None, [None], [[None, 1.0]], [[math.nan, 0.0]], [[1.0, math.inf]]]
    reasons = ["is null", "is null", "is null", "nan", "inf"]
    if not pa.types.is_fixed_size_list(kind.value_type):
        bad, reasons = [*bad, [[1.0, 2.0], [1.0]]], [*reasons, "has 1 number;"]
    for values, number in ((good, 0), ([*good, *bad], len(bad))):
        table = pa.table({"frames": pa.array(values, kind)})
        paths = [tmp_path / f"{number}.arrow"]
        with pa.ipc.new_file(paths[0], table.schema) as writer:
            writer.write_table(table)
        if kind.value_type.value_type != pa.float16():
            paths.append(tmp_path / f"{number}.parquet")
            pq.write_table(table, paths[1])
        for path in paths:
            rows = read(path)
            for row, vectors in zip(rows, good, strict=False):
                assert_good(row, vectors)
            found = [row.reason for row in rows[len(good) :]]
            assert all(part in reason for part, reason in zip(reasons, found, strict=False)), found
            assert len(found) == number


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.list_(pa.string())), pa.float32()], ids=str)
def test_columns_of_other_types(kind, tmp_path):
    """They are refused before a row is read."""
    pq.write_table(pa.table({"frames": pa.nulls(1, kind)}), tmp_path / "rows.parquet")
    with pytest.raises(RequestError, match="allowed: a list of lists of numbers"):
        read(tmp_path / "rows.parquet")


@pytest.mark.parametrize("name", ["rows.txt", "rows.csv", "rows.tsv"])
def test_formats_without_lists(name, tmp_path):
    """Text and CSV are refused with what to give instead."""
    (tmp_path / name).write_text("frames\n1 2\n")
    with pytest.raises(RequestError, match="can't hold vectors; give JSON lines, Parquet or Arrow"):
        read(tmp_path / name)


STATES = SourceOptions(initial_state_field="begin")
#: JSON values of the field with the initial states, with the reason; None for a field that is absent.
BAD_STATES = {
    None: "has no 'begin' for its initial state; fields found: 'id', 'tokens'",
    "null": "its initial state is null; allowed: a list of 3 numbers",
    '"text"': "its initial state is 'text'",
    "[1, 2]": "its initial state has 2 numbers; the model reads 3",
    "[[1, 2, 3]]": "its initial state has 1 number; the model reads 3",
    "[1, true, 3]": r"number 1 \(from 0\) of its initial state is true; allowed: a number",
    "[1, [2], 3]": r"number 1 \(from 0\) of its initial state is \[2\]",
    "[1, 2, 1e39]": r"number 2 \(from 0\) of its initial state is 1e\+39; allowed: finite numbers of float32",
    f"[1, 2, {10**400}]": "an integer is too large",
}
GOOD_STATE = [0.5, -0.0, 3.4028234e38]


def read_states(path, options=STATES):
    batches = read_batches(check_inputs([str(path)], options), options)
    config = ModelConfig(9, 10, 2, (LayerConfig(3, "gru", given_state=True),))
    return [row for batch in checked_rows(batches, config, None) for row in batch]


def test_initial_states_in_json_lines(tmp_path):
    """A bad state costs its row alone, and a row that is bad without it keeps its own reason."""
    path = tmp_path / "rows.jsonl"
    fields = ["" if value is None else f', "begin": {value}' for value in (json.dumps(GOOD_STATE), *BAD_STATES)]
    lines = [f'{{"id": "{number}", "tokens": [1, 2]{field}}}' for number, field in enumerate(fields)]
    path.write_text("\n".join([*lines, '{"id": "x", "tokens": [99], "begin": [1, 2, 3]}', "no JSON"]))
    good, *bad = read_states(path)
    assert good.state.dtype == np.float32
    assert good.state.tobytes() == np.array(GOOD_STATE, np.float32).tobytes()
    assert good.tokens.tolist() == [1, 2]
    for number, (row, reason) in enumerate(zip(bad, [*BAD_STATES.values(), "token 99", "not JSON"], strict=True), 1):
        assert isinstance(row, BadRow)
        assert re.search(reason, row.reason), row.reason
        assert row.id == (str(number) if number <= len(BAD_STATES) else "x" if row.id else None)


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.large_list(pa.float64())], ids=str
)
def test_initial_states_in_tables(kind, tmp_path):
    """Lists of any kind beside ids, in any order of columns; a null or a number that isn't finite costs its row."""
    bad = [None, [1.0, None, 2.0], [1.0, math.nan, 2.0]]
    table = pa.table(
        {
            "other": [0] * 4,
            "begin": pa.array([GOOD_STATE, *bad], kind),
            "tokens": [[1], [2], [3], [4]],
            "id": list("abcd"),
        }
    )
    paths = [tmp_path / "rows.arrow", tmp_path / "rows.parquet"]
    with pa.ipc.new_file(paths[0], table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, paths[1])
    for path in paths:
        good, *others = read_states(path)
        assert (good.id, good.tokens.tolist()) == ("a", [1])
        assert good.state.tobytes() == np.array(GOOD_STATE, np.float32).tobytes()
        assert [row.id for row in others] == ["b", "c", "d"]
        for row, words in zip(others, ("state is null", "state is null", "state is nan"), strict=True):
            assert words in row.reason
        for field, words in (("none", "has no column 'none' for the initial states"), ("other", "a list of numbers")):
            with pytest.raises(RequestError, match=words):
                read_states(path, SourceOptions(initial_state_field=field))


def test_formats_without_initial_states(tmp_path):
    """Text and CSV are refused with what to give instead."""
    (tmp_path / "rows.csv").write_text("tokens,begin\n1,2\n")
    with pytest.raises(RequestError, match="can't hold the initial states that the model reads; give JSON lines"):
        read_states(tmp_path / "rows.csv")


def test_a_field_has_one_meaning():
    """The field of initial states is no field of tokens, text or ids."""
    for names in ({"initial_state_field": "tokens"}, {"initial_state_field": "k", "id_field": "k"}):
        with pytest.raises(OptionError, match="names another field of a row too"):
            SourceOptions(**names)


def test_a_shard_has_the_states_of_its_rows(tmp_path):
    """In their order, without those of bad rows; equal rows make equal shards."""
    path = tmp_path / "rows.jsonl"
    rows = [{"id": str(k), "tokens": [k % 3], "begin": [k, 1, None if k == 2 else 2]} for k in range(5)]
    path.write_text("\n".join(map(json.dumps, rows)))
    cut = read_states(path)
    made = make_shard(0, "0123456789abcdef", cut)
    found = decode(made.rows).tokens
    np.testing.assert_array_equal(found.states, [[k, 1, 2] for k in (0, 1, 3, 4)])
    assert found.values.tolist() == [0, 1, 0, 1]
    cut[0].state[0] = 7
    assert make_shard(0, "0123456789abcdef", cut).entry.shard != made.entry.shard
