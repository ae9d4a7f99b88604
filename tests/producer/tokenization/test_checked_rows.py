"""Rows of vectors from every format that can hold them: what is good, and the reason why a row is bad."""

import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import BadRow
from producer.tokenization.checked_rows import checked_rows
from unrolled.errors import RequestError
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
