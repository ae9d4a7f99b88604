"""Texts for a page: from token ids, and from tables of every kind."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.report.states.texts import Words, around, check_table, read_table, shown, window
from unrolled.errors import RequestError


def test_what_is_shown_is_one_line_without_tricks():
    """Controls and turners of direction are spelled out, and what is long is cut."""
    assert shown("a\nb\tc") == "a b c"
    assert shown("\u202eabc\x1b[2J\x00") == "\\u202eabc\\u001b[2J\\u0000"
    assert shown("x" * 300, 10) == "xxxxxxxxx…"
    joined = "\u0645\u06cc\u200c\u062e \N{WOMAN}\u200d\N{MICROSCOPE}"  # joiners belong to the words
    assert shown(joined) == joined
    assert shown("\ud800").encode() == b"\\ud800"


def test_a_token_is_shown_among_its_neighbours():
    """Padding doesn't count, at the beginning and at the end of a row neither."""
    words = Words(None)
    row = [0, *range(1, 30), 0, 30]
    for position in (0, 5, 20, 29):
        text = around(words, window(row, position), position)
        assert f"[{position + 1}]" in text
        assert " 0" not in text
    assert around(words, window(row, 0), 0) == "[1] 2 3 4 5"
    assert around(words, window(row, 29), 29) == "22 23 24 25 26 27 28 29 [30]"


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.table({name: [row[name] for row in rows] for name in rows[0]}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        cut = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join([cut.join(rows[0]), *(cut.join(map(str, row.values())) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.jsonl"])
def test_a_table_of_any_kind(tmp_path, name):
    """Columns by name, rows by id; the first of several, and nothing for an id that isn't there."""
    rows = [{"key": number, "text": f"text {number}", "topic": "abc"[number % 3]} for number in range(50)]
    rows.append({"key": 7, "text": "another", "topic": "z"})
    path = write(tmp_path / name, rows)
    found = read_table(path, np.array(["7", "no", "0"], np.object_), "key", check_table(path, "key", None, "topic"))
    assert {field: values.tolist() for field, values in found.columns.items()} == {
        "text": ["text 7", None, "text 0"],
        "topic": ["b", None, "a"],
    }
    assert (found.found, found.of, found.first_id) == (2, 3, "0")


def test_what_is_no_table_is_an_error(tmp_path):
    """With the file, and what can be read."""
    for name in ("x.parquet", "x.jsonl"):
        (tmp_path / name).write_bytes(b"{\x00\xff")
        with pytest.raises(RequestError, match=f"{name}.*Parquet, CSV"):
            check_table(tmp_path / name, "id", None, None)
    path = write(tmp_path / "x.csv", [{"name": "a"}])
    with pytest.raises(RequestError, match=r"has no column 'id'.*--id-field"):
        check_table(path, "id", None, None)


def test_a_column_that_a_table_lacks_is_an_error(tmp_path):
    """With those that it has, and the option; "text" alone may be missing, if there are labels."""
    path = write(tmp_path / "x.csv", [{"id": "a", "topic": "b"}])
    assert check_table(path, "id", None, "topic") == ["topic"]
    assert check_table(path, "id", "topic", "topic") == ["topic"]
    for named, said in (
        (("id", "no", "topic"), "'no'; it has id, topic: .*--text-field"),
        (("id", None, "no"), "'no'; it has id, topic: .*--label-field"),
        (("id", None, None), "'text'; it has id, topic: .*--text-field, or .*--label-field"),
    ):
        with pytest.raises(RequestError, match=f"has no column {said}"):
            check_table(path, *named)
