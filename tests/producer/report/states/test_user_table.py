"""A table of the user's, of every kind."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.report.states.user_table import check_table, read_table
from unrolled.errors import RequestError


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
    """Columns by name, rows by id; the first text of several, and nothing for an id that isn't there."""
    rows = [{"key": number, "text": f"text {number}", "topic": "abc"[number % 3]} for number in range(50)]
    rows.append({"key": 7, "text": "another", "topic": "b"})
    path = write(tmp_path / name, rows)
    found = read_table(
        path, np.array(["7", "no", "0"], np.object_), "key", check_table(path, "key", None, "topic"), "topic"
    )
    assert {field: values.to_pylist() for field, values in found.columns.items()} == {
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
    (tmp_path / "semi.csv").write_text("id;text\na;x, y\nb;z\n")
    with pytest.raises(RequestError, match=r"semi\.csv: its first line has semicolons; separate the columns by commas"):
        check_table(tmp_path / "semi.csv", "id", None, None)
    (tmp_path / "semi.csv").write_text("id,label; note\na,x\nb,y,z\n")
    with pytest.raises(RequestError, match=r"semi\.csv: can't be read as a table"):
        check_table(tmp_path / "semi.csv", "id", "label; note", None)
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


TYPED = [
    ("t.parquet", [1, None, 2], pa.int64()),
    ("t.csv", ["01", "", "2"], pa.string()),
    ("t.csv", ["-1", "", "2"], pa.int64()),
    ("t.tsv", ["0.25", "", "2"], pa.float64()),
    ("t.csv", ["NA", "", "nan"], pa.string()),
    ("t.csv", [str(2**64), "", "2"], pa.string()),
    ("t.csv", ["2024-01-01", "", "2024-01-02"], pa.string()),
    ("t.jsonl", ["2024-01-01", None, "2024-01-02"], pa.string()),
    ("t.jsonl", ["7", None, "8"], pa.string()),
    ("t.jsonl", [7, None, 8], pa.int64()),
    ("t.parquet", [7.5, None, float("nan")], pa.float64()),
]


@pytest.mark.parametrize(("name", "labels", "kind"), TYPED)
def test_labels_keep_their_type(tmp_path, name, labels, kind):
    """Texts stay as they are written, and only what is written as a number is one; ids may look like times."""
    ids = ["2024-01-01", "2024-01-02", "2024-01-03"]
    path = write(tmp_path / name, [{"id": key, "label": label} for key, label in zip(ids, labels, strict=True)])
    found = read_table(path, np.array(ids, np.object_), "id", ["label"], "label")
    assert found.found == 3
    column = found.columns["label"]
    assert column.type == kind
    expected = pa.array([None if label in ("", None) else label for label in labels])
    assert column.equals(expected.cast(kind)) or [repr(v) for v in column.to_pylist()] == [repr(v) for v in labels]


def test_categories_are_texts(tmp_path):
    """A categorical column of Polars or pandas."""
    labels = pa.array(["a", None, "b"]).dictionary_encode()
    pq.write_table(pa.table({"id": ["x", "y", "z"], "label": labels}), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", np.array(["z", "y"], np.object_), "id", ["label"], "label")
    assert found.columns["label"].equals(pa.array(["b", None]))


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_two_labels_for_one_id_are_an_error(tmp_path, name):
    """With the id and both; the same label twice, and none beside one, are no contradiction."""
    rows = [{"id": "a", "label": "x"}, {"id": "b", "label": "y"}, {"id": "a", "label": "x"}]
    ids = np.array(["a", "b"], np.object_)
    path = write(tmp_path / name, rows)
    assert read_table(path, ids, "id", ["label"], "label").columns["label"].to_pylist() == ["x", "y"]
    path = write(tmp_path / name, [*rows, {"id": "b", "label": "z"}])
    with pytest.raises(RequestError, match=r"the id 'b' has two labels, 'y' and 'z'; leave one row"):
        read_table(path, ids, "id", ["label"], "label")
    assert read_table(path, ids[:1], "id", ["label"], "label").columns["label"].to_pylist() == ["x"]


def test_a_row_without_a_label_does_not_hide_another(tmp_path):
    """The first label that isn't null counts; a number that is NaN twice is one label."""
    nan = float("nan")
    table = pa.table({"id": ["a", "a", "b", "b"], "label": [None, 1.0, nan, nan]})
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", np.array(["a", "b"], np.object_), "id", ["label"], "label")
    assert [repr(value) for value in found.columns["label"].to_pylist()] == ["1.0", "nan"]


def test_rows_in_json_may_lack_columns(tmp_path):
    """The first megabyte doesn't say which columns there are, nor of what type: labels and ids of both kinds count."""
    text = "x" * 2_000_000
    rows = [{"id": "a", "text": text, "note": 1}, {"id": 2, "text": "", "label": None}, {"id": "c", "label": "z"}]
    path = write(tmp_path / "t.jsonl", [*rows, {"id": "d", "label": 7}, {"id": "e", "label": ["p", 1]}])
    assert check_table(path, "id", None, "label") == ["text", "label"]
    found = read_table(path, np.array(["2", "c", "d", "e", "a"], np.object_), "id", ["text", "label"], "label")
    assert found.found == 5
    assert found.columns["label"].to_pylist() == [None, "z", "7", '["p", 1]', None]
    assert found.columns["text"].to_pylist() == ["", None, None, None, text]
    with pytest.raises(RequestError, match="has no column 'topic'; it has id, text, note, label: "):
        check_table(path, "id", None, "topic")


@pytest.mark.parametrize(
    ("line", "said"), [("[1]", "is an array of JSON"), ("{", "not JSON"), ('{"a": 1, "a": 2}', "twice")]
)
def test_a_line_that_is_no_row_is_named(tmp_path, line, said):
    """It isn't left out in silence."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "a", "text": "x"}\n\n' + line)
    assert check_table(path, "id", None, None) == ["text"]
    with pytest.raises(RequestError, match=f"line 3: .*{said}"):
        read_table(path, np.array(["a"], np.object_), "id", ["text"])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2**63, 1], [str(2**63), "1"]),
        (["half \ud83d", "b"], ["half ?", "b"]),
        ([{"a": 1}, "b"], ['{"a": 1}', "b"]),
        ([True, 1], ["true", "1"]),
        ([1, 2.5], [1.0, 2.5]),
    ],
)
def test_labels_of_json_that_arrow_has_no_type_for_are_texts(tmp_path, labels, expected):
    """Each as JSON writes it."""
    path = write(tmp_path / "t.jsonl", [{"id": key, "label": label} for key, label in zip("ab", labels, strict=True)])
    found = read_table(path, np.array(["a", "b"], np.object_), "id", ["label"], "label")
    assert found.columns["label"].to_pylist() == expected


def test_a_table_in_json_may_begin_with_a_byte_order_mark(tmp_path):
    """As an input may."""
    (tmp_path / "t.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a", "text": "x"}\n')
    assert check_table(tmp_path / "t.jsonl", "id", None, None) == ["text"]


def test_a_column_without_a_value_is_one_of_texts(tmp_path):
    """It has no type of its own."""
    path = write(tmp_path / "t.jsonl", [{"id": "a", "label": None}])
    assert read_table(path, np.array(["a"], np.object_), "id", ["label"], "label").columns["label"].type == pa.string()
