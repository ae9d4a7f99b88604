"""Rows from all formats and compressions, from files and from standard input."""

# `id` and `format` are the rows' own words.
# ruff: noqa: A001, A002

import csv
import gzip
import io
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.inputs import (
    COMPRESS,
    FORMATS,
    TEXTS,
    TOKENS,
    content_of,
    plain,
    rows_of,
    table_bytes,
    write,
)

from producer.sources.errors import SourceError
from producer.sources.formats.delimited import Records, Unreadable
from producer.sources.formats.lines import LongLine, split_lines
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import BadRow, SourceRow
from unrolled.errors import RequestError


@pytest.mark.parametrize("compression", list(COMPRESS))
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["text", "tokens"])
def test_round_trip(tmp_path, format, compression, kind):
    """Each format gives the rows that were written, in order, plain and compressed, with text and with ids."""
    ids = None if format == "txt" else [f"id {at}" for at in range(5)]
    texts, tokens = (TEXTS, None) if kind == "text" else (None, TOKENS)
    content = content_of(format, texts, tokens, ids)
    path = write(tmp_path / f"a.{format}{compression}", content, COMPRESS[compression])
    rows = rows_of(path, batch_rows=2, kind="tokens" if kind == "tokens" and format == "txt" else "auto")
    assert [plain(row) for row in rows] == list(
        zip(texts or [None] * 5, tokens or [None] * 5, ids or [None] * 5, strict=True)
    )
    assert {row.file for row in rows} == {str(path)}
    assert [row.position for row in rows] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("compression", list(COMPRESS))
@pytest.mark.parametrize("format", ["text", "jsonl", "csv", "parquet", "arrow"])
def test_standard_input(format, compression):
    """An option names the format of standard input; its compression is recognized."""
    content = COMPRESS[compression](content_of({"text": "txt"}.get(format, format), TEXTS, None, None))
    rows = rows_of("-", stdin=io.BufferedReader(io.BytesIO(content)), format=format)
    assert [(row.file, row.text) for row in rows] == [("-", text) for text in TEXTS]


@pytest.mark.parametrize("format", FORMATS)
def test_rows_may_be_of_any_size(tmp_path, format):
    """A limit above what an integer of a processor can be is one that no row reaches."""
    path = write(tmp_path / f"a.{format}", content_of(format, TEXTS, None, None))
    assert [row.text for row in rows_of(path, max_row_bytes=10**19)] == TEXTS


def test_members_one_after_another(tmp_path):
    """Files joined with `cat` are read to the end, with the zeros that gzip allows between them."""
    write(tmp_path / "a.txt.gz", gzip.compress(b"1\n2\n") + b"\0" * 600 + gzip.compress(b"3\n"))
    write(
        tmp_path / "b.txt.zst",
        zstandard.compress(b"4\n") + b"\x50\x2a\x4d\x18\x02\0\0\0xx" + zstandard.compress(b"5"),
    )
    assert [row.text for row in rows_of(tmp_path)] == ["1", "2", "3", "4", "5"]


def test_a_frame_without_a_checksum_may_have_given_wrong_rows(tmp_path):
    """Whatever shows the damage."""
    write(tmp_path / "a.txt.zst", zstandard.ZstdCompressor(write_checksum=False).compress(b"1\n2\n") + b"and some text")
    with pytest.raises(SourceError, match=r"is corrupt .*; 2 rows before that were read, some of which may be wrong"):
        rows_of(tmp_path)


def test_what_is_behind_a_checksum_says_nothing_of_what_is_before_it(tmp_path):
    write(tmp_path / "a.txt.gz", gzip.compress(b"1\n2\n") + b"and some text")
    with pytest.raises(SourceError, match=r"is corrupt .*; 2 rows before that were read\. Repair"):
        rows_of(tmp_path)


def test_bytes_are_counted(tmp_path):
    """The bytes read add up to the plan's size, so that progress can be shown."""
    for format in FORMATS:
        write(tmp_path / f"a.{format}", content_of(format, TEXTS, None, None))
    write(tmp_path / "b.txt.gz", gzip.compress(b"x\n" * 1000))
    options = SourceOptions()
    plan = check_inputs([str(tmp_path)], options)
    seen = []
    for _ in read_batches(plan, options, on_bytes=seen.append):
        pass
    assert sum(seen) == plan.size_bytes


def test_named_fields(tmp_path):
    """Fields have the names that the user gives; a named id must exist."""
    options = {"text_field": "body", "id_field": "key", "kind": "text"}
    lines = '{"body": "b", "key": 1, "tokens": [1]}\n{"body": "b"}\n{"body": "b", "key": null}\n{"text": "a", "key": 2}'
    lines += '\n{"body": "b", "key": ""}'
    good, *bad = rows_of(write(tmp_path / "a.jsonl", lines), **options)
    assert plain(good) == ("b", None, "1")
    assert [row.reason for row in bad] == [
        "has no id: 'key' is missing; fields found: 'body'",
        "has no id: 'key' is null",
        "has no 'body'; fields found: 'text', 'key'",
        "has no id: 'key' is empty",
    ]
    with pytest.raises(RequestError, match="has no column 'key' for the ids"):
        rows_of(write(tmp_path / "a.csv", "body,id\n"), **options)


@pytest.mark.parametrize("header", [True, False])
def test_an_empty_id_in_a_table(tmp_path, header):
    """It is none, as null is in other formats; a column that is named must have one."""
    lines = "text,id\n" * header + 'a,\nb,x\nc,""\nd, \n'
    options = {} if header else {"columns": "text,id"}
    path = write(tmp_path / "a.csv", lines)
    assert [plain(row) for row in rows_of(path, **options)] == [
        ("a", None, None), ("b", None, "x"), ("c", None, None), ("d", None, " ")
    ]  # fmt: skip
    bad = [row for row in rows_of(path, id_field="id", **options) if isinstance(row, BadRow)]
    assert [(row.position, row.reason) for row in bad] == [
        (0, "has no id: 'id' is empty"),
        (2, "has no id: 'id' is empty"),
    ]
    assert [row.id for row in rows_of(path, text_field="id", id_field="text", **options)] == ["a", "b", "c", "d"]


def test_empty_and_odd_lines(tmp_path):
    """Empty lines are rows; only a line feed ends a line; a carriage return before it and a BOM are dropped."""
    content = "\ufeffa\n\n b \r\n\r\r\nc\x0bd\u2028e\x85f\x00\nlast".encode()
    texts = ["a", "", " b ", "\r", "c\x0bd\u2028e\x85f\x00", "last"]
    assert [row.text for row in rows_of(write(tmp_path / "a.txt", content))] == texts
    assert rows_of(write(tmp_path / "empty.txt", b"")) == []


def test_empty_lines_of_json_are_no_rows(tmp_path):
    """As other readers have it; rows are counted without them, and a line of spaces is a bad row."""
    rows = rows_of(write(tmp_path / "a.jsonl", '\n{"text": "a"}\n\r\n\n{"text": "b"}\n  \n\n'))
    assert [(row.position, row.text) for row in rows if isinstance(row, SourceRow)] == [(0, "a"), (1, "b")]
    assert [(row.position, row.reason) for row in rows if isinstance(row, BadRow)] == [
        (2, "not JSON: the line is blank")
    ]


def test_spaced_tokens(tmp_path):
    """Ids as text are parsed strictly; everything but integers stays text, which the check of ids names."""
    lines = ["1  2\t-3", "", "4 x 1_0 1-2 +5", "1_0", "\u0661", "9" * 5000]  # an underscore, an Arabic 1
    rows = rows_of(write(tmp_path / "a.txt", "\n".join(lines)), kind="tokens")
    assert [row.tokens for row in rows] == [
        [1, 2, -3], [], [4, "x", "1_0", "1-2", "+5"], ["1_0"], ["\u0661"], ["9" * 5000]
    ]  # fmt: skip


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=20), st.text("a\r\n\ufeff", max_size=9).map(str.encode))),
    st.integers(1, 30),
    st.booleans(),
)
def test_lines_are_those_of_the_whole(chunks, limit, keep_returns):
    """For any division into chunks, the lines are those of the whole content."""
    content = b"".join(chunks)
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    parts = list(split_lines(chunks, limit, keep_returns=keep_returns))
    found = [line for part in parts for line in part]
    assert len(parts) in (len(chunks), len(chunks) + 1)
    assert len(found) == len(lines)
    for line, expected in zip(found, lines, strict=True):
        bare = expected.removesuffix(b"\r")
        right = expected if keep_returns else bare
        assert line == (right if len(bare) <= limit else LongLine(len(bare), limit))


@pytest.mark.parametrize("format", ["txt", "csv", "tsv"])
def test_the_end_of_a_line_does_not_count(tmp_path, format):
    """A line of as many bytes as allowed is a row, whatever its end is."""
    path = write(tmp_path / f"a.{format}", b"text\r\n1234567890\r\n12345678901\r\n1234\r\n")
    *_, good, bad, last = rows_of(path, max_row_bytes=10)
    assert (good.text, last.text) == ("1234567890", "1234")
    assert bad.reason == "line of 11 bytes; allowed: 10 (--max-row-bytes)"


@settings(deadline=None)
@given(st.text(st.sampled_from('ab,"\n\r'), max_size=60), st.lists(st.integers(0, 60)))
def test_records_are_those_of_the_whole(text, cuts):
    """For any division into lines, the records are those of Python's csv module, which reads on after a bad line."""
    lines = [line + "\n" for line in text.split("\n")]
    records = Records(",", 10**6)
    found = []
    edges = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    for start, end in pairwise(edges):
        found.extend(records.push([line[:-1].encode() for line in lines[start:end]]))
    found.extend(records.end())
    assert [None if isinstance(record, Unreadable) else record for record in found] == list(strict_records(lines))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a,b", '1,"a', '2,b"', '3,"c"', "", "a", '"a,b', "\xff,b"]), max_size=24),
    st.lists(st.integers(0, 24)),
    st.sampled_from([10**6, 8, 14, 30]),
)
@example(['1,"a', "a,b", "a,b", '2,b"', "a,b"], [3], 8)  # too long before it is closed
@example(['1,"a', "a,b", '1,"a', "a,b", '3,"c"x'], [2], 14)  # so is its beginning, and what follows is bad
def test_reasons_and_lines_do_not_depend_on_the_division(given, cuts, max_row_bytes):
    """The line in which a field begins is that of the file, whatever was read at once and whatever was bad before."""
    lines = [line.encode("latin-1") for line in given]
    told = []
    for edges in ([0, len(lines)], [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]):
        records = Records(",", max_row_bytes)
        records.columns = 2
        found = [record for start, end in pairwise(edges) for record in records.push(lines[start:end])]
        found.extend(records.end())
        told.append((found, records.line_ends))
    assert told[0] == told[1]
    for record in told[0][0]:
        if isinstance(record, Unreadable) and (line := re.search(r"begins in line (\d+)", record.reason)):
            assert '"' in given[int(line[1]) - 1]


def strict_records(lines):
    """The records of lines, None for a bad line; blank ones are left out."""
    start = 0
    while start < len(lines):
        reader = csv.reader([*lines[start:], None], strict=True)  # the csv module takes no None for a line
        try:
            record = next(reader)
        except csv.Error:
            record = None
        start += 1 if record is None else reader.line_num
        if record != []:
            yield record


@pytest.mark.parametrize("format", ["text", "jsonl", "csv"])
def test_follow(format):
    """Rows arrive with their lines, empty batches while nothing arrives, and the end of the input ends them."""
    lines = {
        "text": [b"one\n", b"tw", b"o\nthree"],
        "jsonl": [b'{"text": "one"}\n', b'{"text":', b'"two"}\n{"text": "three"}'],
        "csv": [b"text\none\n", b'"tw', b'o"\nthree'],
    }[format]
    reader, writer = os.pipe()
    options = SourceOptions(follow=True, format=format, tick_seconds=0.01)
    with os.fdopen(reader, "rb", 0) as stdin, os.fdopen(writer, "wb", 0) as out:
        batches = read_batches(check_inputs(["-"], options), options, stdin=stdin)
        assert next(batches) == []
        out.write(lines[0])
        assert [row.text for row in next(row for row in batches if row)] == ["one"]
        assert next(batches) == []
        out.write(lines[1])
        assert next(batches) == []
        assert next(batches) == []
        out.write(lines[2])
        out.close()
        assert [(row.position, row.text) for batch in batches for row in batch] == [(1, "two"), (2, "three")]


def test_ids_that_are_bytes(tmp_path):
    """As those of a UUID: the id is named, and not the file's encoding."""
    table = pa.table({"text": ["a"], "id": [bytes([0xA0, 1] * 8)]})
    (row,) = rows_of(write(tmp_path / "a.parquet", table_bytes(table, "parquet")))
    assert row.reason == (
        "its id is not UTF-8: byte 0xa0 at byte 0; make texts of ids that are bytes, or leave the column out"
    )


def categories(values):
    """As Polars writes them."""
    return pa.array(values, pa.string_view()).dictionary_encode()


def test_arrow_types(tmp_path):
    """Text, ids and tokens of all usable types are read; nulls and invalid UTF-8 are bad rows."""
    invalid = pa.array([b"ok", b"\xff", None]).cast(pa.binary())
    for at, (text, id) in enumerate(
        [
            (pa.array(["ok", "ö", None], pa.large_string()), pa.array([1, 2, 3], pa.uint64())),
            (pa.array(["ok", "ö", None]).dictionary_encode(), pa.array(["1", "2", "3"]).dictionary_encode()),
            (pa.array(["ok", "ö", None], pa.string_view()), pa.array([1, 2, 3], pa.int8())),
            (categories(["ok", "ö", None]), categories(["1", "2", "3"])),
            (invalid, pa.array(["1", "2", "3"])),
            (
                pa.StringArray.from_buffers(3, invalid.buffers()[1], invalid.buffers()[2], invalid.buffers()[0], 1),
                pa.array([1, 2, 3]),
            ),
        ]
    ):
        rows = rows_of(write(tmp_path / f"{at}.arrow", table_bytes(pa.table({"text": text, "id": id}), "arrows")))
        assert [(type(row), row.id) for row in rows] == [
            (SourceRow, "1"), (SourceRow if at < 4 else BadRow, "2"), (BadRow, "3")
        ]  # fmt: skip
    for at, kind in enumerate([pa.list_(pa.uint8()), pa.large_list(pa.int64()), pa.list_(pa.int32(), 2)]):
        table = pa.table({"tokens": pa.array([[1, 2], None, [3, None], [4, 5]], kind)})
        rows = rows_of(write(tmp_path / f"t{at}.parquet", table_bytes(table, "parquet")))
        assert [type(row) for row in rows] == [SourceRow, BadRow, SourceRow, SourceRow]
        assert [list(row.tokens) for row in rows if isinstance(row, SourceRow)] == [[1, 2], [3, None], [4, 5]]


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_columns_in_which_no_value_occurs(tmp_path, format):
    """Their type is null, as of a frame without values; they are read as from a column of text or lists."""
    nulls, empty = pa.nulls(2), pa.array([[], []], pa.list_(pa.null()))

    def read(**columns):
        return rows_of(write(tmp_path / f"a.{format}", table_bytes(pa.table(columns), format)))

    assert [plain(row) for row in read(id=nulls, text=["a b", ""])] == [("a b", None, None), ("", None, None)]
    assert [(row.id, [*row.tokens]) for row in read(id=["a", "b"], tokens=empty)] == [("a", []), ("b", [])]
    assert {row.reason for row in read(text=nulls)} == {"'text' is null"}
    assert {row.reason for row in read(tokens=nulls)} == {"'tokens' is null"}
    assert read(id=nulls[:0], text=nulls[:0]) == []
    with_nulls = read(tokens=pa.array([[None, None], None], pa.list_(pa.null())))
    assert [*with_nulls[0].tokens] == [None]  # as many as there were would take memory
    assert with_nulls[1].reason == "'tokens' is null"


def test_a_list_of_nulls_takes_no_memory(tmp_path):
    """The lists of a hostile file may have any length, and no bytes."""
    lists = pa.FixedSizeListArray.from_arrays(pa.nulls(2 * 10**9), 10**9)
    path = write(tmp_path / "a.arrow", table_bytes(pa.table({"tokens": lists}), "arrow"))
    assert [[*row.tokens] for row in rows_of(path)] == [[None], [None]]


def test_vectors_without_numbers(tmp_path):
    """They are empty, and not null."""
    vectors = pa.array([[[], []], [], None, [None]], pa.list_(pa.list_(pa.null())))
    path = write(tmp_path / "a.arrow", table_bytes(pa.table({"vectors": vectors}), "arrow"))
    rows = rows_of(path, kind="vectors")
    assert [row.tokens if isinstance(row, SourceRow) else row.reason for row in rows] == [
        [[]], [], "'vectors' is null", [None]
    ]  # fmt: skip


def test_starts_light():
    """Sources load neither pyarrow nor zstandard before an input needs them."""
    code = "import sys, producer.sources.reading; print(sorted({'pyarrow', 'zstandard'} & set(sys.modules)))"
    root = Path(__file__).parents[3]
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    assert out.strip() == "[]"
