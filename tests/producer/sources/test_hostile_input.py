"""Damaged and hostile inputs: every row is accounted for, memory is bounded, and errors name the file."""

# `format` is the inputs' own word.
# ruff: noqa: A001, A002

import gzip
import io
import random
import tracemalloc
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.inputs import COMPRESS, content_of, count_lines, outcome, plain, rows_of, write

from producer.sources.errors import SourceError
from producer.sources.formats.delimited import Records, Unreadable
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import BadRow, SourceRow
from unrolled.errors import RequestError

HOSTILE = Path(__file__).parents[2] / "hostile" / "input"


def read_until_damage(path, **options):
    rows, error = outcome(path, **options)
    assert isinstance(error, SourceError)
    assert (error.file, error.position) == (str(path), len(rows))
    assert "run the same command again" in str(error)
    return rows, str(error)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_truncated_compression(tmp_path, suffix):
    """A truncated file gives all whole rows before its end, and then an error that says where it ended."""
    texts = [f"{random.Random(at).random()} {at}" for at in range(60_000)]
    content = COMPRESS[suffix]("\n".join(texts).encode())
    path = write(tmp_path / f"a.txt{suffix}", content[: len(content) * 3 // 4])
    rows, message = read_until_damage(path)
    assert "data is truncated" in message
    assert 20_000 < len(rows) < 60_000
    assert [row.text for row in rows] == texts[: len(rows)]


def test_damage_within_compression(tmp_path):
    """A wrong byte in the middle, or a wrong checksum at the end, is an error after the rows before it."""
    content = bytearray(gzip.compress("\n".join(map(str, range(200_000))).encode(), 0))
    content[-6] ^= 1  # the checksum
    rows, message = read_until_damage(write(tmp_path / "a.gz", bytes(content)))
    assert "corrupt" in message
    assert [row.text for row in rows[:3]] == ["0", "1", "2"]
    rows, message = read_until_damage(write(tmp_path / "b.gz", gzip.compress(b"x\n") + b"trailing"))
    assert [row.text for row in rows] == ["x"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_becomes_shorter(tmp_path, suffix):
    """It isn't taken for one that ends there, though every row that is left is whole."""
    content = COMPRESS[suffix](b"a b\n" * 1000) if suffix else b"a b\n" * 1000
    path = write(tmp_path / f"a.txt{suffix}", 2 * content)
    options = SourceOptions()
    plan = check_inputs([str(path)], options)
    path.write_bytes(content)
    rows = []
    with pytest.raises(SourceError, match=f"shorter while it was read: it had {2 * len(content):,} bytes, and ends"):
        rows.extend(row for batch in read_batches(plan, options) for row in batch)
    assert len(rows) == 1000
    path.write_bytes(3 * content)  # one that grows is read as far as it goes
    assert sum(map(len, read_batches(plan, options))) == 3000


def test_damaged_row_group(tmp_path):
    """A Parquet file whose second half is damaged gives the rows of its first half, and then an error."""
    table = pa.table({"text": [f"{at:08}" * 20 for at in range(400)]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=100, compression="zstd", use_dictionary=False)
    content = bytearray(sink.getvalue())
    start = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(2).column(0).data_page_offset
    content[start : start + 20] = b"\xff" * 20
    rows, message = read_until_damage(write(tmp_path / "a.parquet", bytes(content)), batch_rows=50)
    assert "is damaged (parquet)" in message
    assert [row.text for row in rows] == table["text"].to_pylist()[:200]


BAD_JSON = [
    (b" ", "the line is blank"),
    (b"nonsense", "not JSON: Expecting value at character 0"),
    (b'{"text": "cut of', "not JSON: Unterminated string starting at character 9"),
    (b'{"text": "x"', "not JSON"),
    (b'{"text": "x"} {}', "not JSON: Extra data"),
    (b'{"text": "\xff"}', "not UTF-8: byte 0xff at byte 10 of the row"),
    (b'["x"]', "is an array of JSON; allowed: an object"),
    (b"3", "is a number of JSON; allowed: an object"),
    (b"null", "is a null of JSON; allowed: an object"),
    (b"true", "is a boolean of JSON; allowed: an object"),
    (b'{"other": 1}', "has neither 'text' nor 'tokens'; fields found: 'other'"),
    (b"{}", "fields found: none"),
    (b'{"text": null}', "'text' is null; allowed: text"),
    (b'{"text": 3}', "'text' is an integer"),
    (b'{"text": "a", "tokens": [1]}', "has both"),
    (b'{"text": "a", "text": "b"}', "the key 'text' appears twice"),
    (b'{"text": "a", "x": NaN}', "not JSON: NaN"),
    (b'{"text": "a", "x": ' + b"9" * 5000 + b"}", "too many digits"),
    (b'{"text": ' + b"[" * 100_000, "not "),
    (b'{"text": "\\ud800"}', "lone surrogate"),
    (b'{"text": "a", "id": true}', "id is a boolean"),
    (b'{"text": "a", "id": 1.5}', "id is a float"),
    (b'{"text": "a", "id": ["x"]}', "id is a list"),
    (b'{"text": "a", "id": ""}', "id is empty"),
    (b'{"text": "a", "id": "\\ud800"}', "lone surrogate"),
    (b'{"text": "a", "id": "' + b"x" * 1025 + b'"}', "id of 1025"),
    (b'{"text": "a", "id": ' + b"9" * 2000 + b"}", "allowed: 1024"),
    (b'{"text": "' + b"x" * 7000 + b'"}', "line of 7012 bytes; allowed: 6000 (--max-row-bytes)"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), BAD_JSON)
def test_bad_json_lines(tmp_path, line, reason):
    """A line that can't be used is a bad row with its reason; the lines around it are rows."""
    content = b'{"text": "a", "id": "i"}\n' + line + b'\n{"tokens": [1], "id": 7}\n'
    limit = 6000 if b"x" * 7000 in line else 10**6
    first, bad, last = rows_of(write(tmp_path / "a.jsonl", content), max_row_bytes=limit)
    assert isinstance(bad, BadRow)
    assert reason in bad.reason
    assert len(bad.reason) < 300
    assert bad.position == 1
    assert [plain(first), plain(last)] == [("a", None, "i"), (None, [1], "7")]


def test_csv(tmp_path):
    """Quoted line ends, ragged rows, NUL bytes, blank lines, bad quotes and a lost quote at the end."""
    content = (
        b'text,id,n\r\n"a\nb ""c""\r\nd",1,x\n\nragged,2\ne\0f,3,x\n\xff,4,x\n'
        b'"g\n\xff",5,x\ng,"6",x\nh,,x\n"lost,7,x\ni,8,x\n'
    )
    rows = rows_of(write(tmp_path / "a.csv", content))
    assert [row.text for row in rows if isinstance(row, SourceRow)] == ['a\nb "c"\r\nd', "e\0f", "g", "h", "i"]
    assert [(row.position, row.reason[:24]) for row in rows if isinstance(row, BadRow)] == [
        (1, "has 2 columns; 3 are nam"),
        (3, "not UTF-8: byte 0xff at "),
        (4, "not UTF-8: byte 0xff at "),
        (7, "the record that begins i"),
    ]


@pytest.mark.parametrize("quotes", [None, True])
def test_a_record_on_several_lines_that_is_not_utf8(tmp_path, quotes):
    """It is one bad row, and none of its lines is another."""
    letter = b'"Dear list,\nthe file, the caf\xe9 list\nname, the value"'
    rows = rows_of(write(tmp_path / "a.csv", b"id,text\na," + letter + b"\nb,fine\n"), quotes=quotes)
    assert [(row.position, getattr(row, "reason", row.id)) for row in rows] == [
        (0, "not UTF-8: byte 0xe9 at byte 31 of the row"),
        (1, "b"),
    ]
    records = Records(",", 10**6, quotes=quotes)
    by_line = [record for line in (b"a," + letter).split(b"\n") for record in records.push([line])]
    assert by_line == [Unreadable("not UTF-8: byte 0xe9 at byte 31 of the row")]
    assert (records.line_ends.rows, records.line_ends.most_lines) == (1, 3), "it is said how long it is"
    rows = rows_of(write(tmp_path / "one.csv", b"text\n" + letter + b"\ngood\n"), quotes=quotes)
    assert [isinstance(row, BadRow) for row in rows] == [True, False]
    split = b'a,"' + b"x,y\n" * 8 + b'x,y\xe9"\nb,"\xe9\nc,d\n'
    rows = rows_of(write(tmp_path / "two.csv", b"id,text\n" + split), quotes=quotes)
    assert [row.text for row in rows if isinstance(row, SourceRow)] == ([] if quotes else ["y"] * 7) + ["d"]


def test_csv_whose_lines_end_with_carriage_returns(tmp_path):
    """As old programs wrote them: the text says what to do."""
    path = write(tmp_path / "a.csv", b"id,text\ra,b c\rd,e\r")
    with pytest.raises(RequestError, match="its header can't be read: not CSV: a carriage return inside a line; end "):
        rows_of(path)


@pytest.mark.parametrize("quotes", [None, True])
@pytest.mark.parametrize("field", [b'"two\nlines"', b'"Main St, 5\nTown, State, Zip\nUSA"'])
def test_a_carriage_return_behind_a_field_on_several_lines(tmp_path, quotes, field):
    """Its quotation marks are as they must be, so they aren't the reason."""
    path = write(tmp_path / "a.csv", b"id,text,lang\n1," + field + b",en\rfr\n2,ok,en\n")
    *bad, good = rows_of(path, quotes=quotes)
    assert good.text == "ok"
    assert bad[0].reason.startswith("not CSV: a carriage return inside a line;")
    assert not any("--no-quotes" in row.reason for row in bad if isinstance(row, BadRow))


def test_a_quote_that_is_text_swallows_no_row(tmp_path):
    """Of TSV without quoting, each row is read again that a quote before it would have swallowed."""
    content = b'id\ttext\n1\t"Hello the file\n2\tthe list\n3\t"World" the\n4\tof the\n5\t"the end\n6\tof"a\n'
    path = write(tmp_path / "a.tsv", content)
    rows = rows_of(path)
    assert [row.id for row in rows if isinstance(row, SourceRow)] == ["2", "4", "6"]
    bad = {row.position: row.reason for row in rows if isinstance(row, BadRow)}
    assert list(bad) == [0, 2, 4]
    assert all("--no-quotes" in reason for reason in bad.values())
    assert [row.text for row in rows_of(path, quotes=False)][::5] == ['"Hello the file', 'of"a']


def test_a_quote_that_a_later_text_closes_swallows_no_row(tmp_path, capsys):
    """Each of the lines between would be a row: they are rows, and only the first of them is bad, with its line."""
    texts = ["fine", '"said he', *["and so on"] * 2000, 'he said"', "good"]
    content = "id,text\n" + "".join(f"{at},{text}\n" for at, text in enumerate(texts))
    path = write(tmp_path / "a.csv", content)
    rows = rows_of(path)
    assert len(rows) == len(texts)
    assert [row.text for row in rows if isinstance(row, SourceRow)] == [texts[0], *texts[2:]]
    (bad,) = (row for row in rows if isinstance(row, BadRow))
    assert bad.position == 1
    assert (
        "the record that begins in line 3 has a quoted field that isn't closed as it must be: at its end, before"
        in bad.reason
    )
    assert "give --no-quotes" in bad.reason
    assert "give --quotes" in bad.reason
    assert [row.text for row in rows_of(path, quotes=False)] == texts
    assert len(rows_of(path, quotes=True)) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("empty", ['3,"",x', '"",c,x', '3,c,""', '"","",""'])
def test_empty_fields_between_do_not_hide_it(tmp_path, empty, end):
    """Fields of two quotation marks are as usual among swallowed rows as among others."""
    lines = ["id,text,n", '1,"start,x', "2,b,x", empty, "4,d,x", "5,e,x", '6,x,end"', "7,g,x"]
    rows = rows_of(write(tmp_path / "a.csv", end.join(lines)), id_field="n")
    assert [row.position for row in rows] == list(range(7))
    assert "the record that begins in line 2 has a quoted field that isn't closed as it must be" in rows[0].reason
    assert [row.text for row in rows[3:5]] == ["d", "e"]


def test_quotation_marks_inside_a_text_of_many_lines(tmp_path):
    """A text with doubled marks is one row, even if each line has one comma."""
    verse = 'O, my ""luve""\nis like, a ""red""\nrose, newly\nsprung, ""in""\nJune, it is'
    (row,) = rows_of(write(tmp_path / "a.csv", f'id,text\n1,"{verse[3:]}"\n'))
    assert row.text == verse[3:].replace('""', '"')


@pytest.mark.parametrize("last", ['"World" the', "none"])
def test_a_quote_swallows_no_row_however_far_the_next_one_is(tmp_path, last):
    """Whether the next one is no end of a field, or so far away that a row may not be as large."""
    texts = ["fine", '"Hello the file', *["and so on"] * 2000, last, "good"]
    path = write(tmp_path / "a.csv", "id,text\n" + "".join(f"{at},{text}\n" for at, text in enumerate(texts)))
    rows = rows_of(path, max_row_bytes=2**24 if last != "none" else 5000)
    assert [row.position for row in rows] == list(range(len(texts)))
    bad = {row.position: row.reason for row in rows if isinstance(row, BadRow)}
    assert "begins in line 3 has a quoted field that isn't closed as it must be" in bad.pop(1)
    assert list(bad) == ([2002] if last != "none" else [])


def test_fields_with_line_ends_are_counted(tmp_path, capsys):
    """Whether a few lines, or those of a file with one column, are one text can't be known: a line says where."""
    path = write(tmp_path / "a.csv", 'text\n"a\nb"\n\xe9\nfine\n"c\nd\n\ne"\n'.encode("latin-1"))
    assert [row.text for row in rows_of(path) if isinstance(row, SourceRow)] == ["a\nb", "fine", "c\nd\n\ne"]
    assert capsys.readouterr().err == (
        f"{path}: 2 rows have a quoted field with line ends; the longest has 4 lines, from line 6 on. If quotation "
        "marks are characters of the texts, give --no-quotes\n"
    )
    verse = write(tmp_path / "b.csv", 'id,text\n1,"O, my luve\nis like, a rose\nthat\'s, newly\nsprung, in June"\n')
    assert len(rows_of(verse)) == 1
    assert "1 row has a quoted field with line ends; it has 4 lines, from line 2 on" in capsys.readouterr().err
    rows_of(verse, quotes=True)
    assert capsys.readouterr().err == ""


def test_csv_quote_without_end(tmp_path):
    """A quote that is never closed costs its line, and so does one that is closed too far away."""
    content = "text\n" + '"' + "found\n" * 5000 + '"\nfound\n'
    bad, *found, last, end = rows_of(write(tmp_path / "a.csv", content), max_row_bytes=1000)
    assert "begins in line 2 has a quoted field that isn't closed as it must be: at its end, before lines" in bad.reason
    assert "and within 1,000 bytes (--max-row-bytes); if" in bad.reason
    assert [row.text for row in (*found, end)] == ["found"] * 5000
    assert "begins in line 5,002 has a quoted field that isn't closed as it must be" in last.reason
    content = 'text\nfine\n"lost\n' + "found\n" * 5000
    _, bad, *found = rows_of(write(tmp_path / "b.csv", content))
    assert "begins in line 3 has a quoted field that isn't closed as it must be" in bad.reason
    assert len(found) == 5000


@pytest.mark.parametrize("max_row_bytes", [2**24, 50_000])
@pytest.mark.parametrize("doubled", ["the list", 'the ""list"" of', 'a, b "c", "d'])
@pytest.mark.parametrize("end", ["", '9,an " odd mark\n9,the\n', '9,he said"\n', "9,\xff\n"])
def test_a_stray_quote_costs_a_line(tmp_path, end, doubled, max_row_bytes):
    """Far from the next one, among lines with marks of their own, with commas of its own, before an unreadable line."""
    lines = ["id,text", "0,the", '1,"Hello, he said', *["2,the list"] * 4000, f"3,{doubled}", *["4,the list"] * 4000]
    content = "".join(f"{line}\n" for line in lines) + end
    rows = rows_of(write(tmp_path / "a.csv", content.encode("latin-1")), max_row_bytes=max_row_bytes)
    bad = [row.reason for row in rows if isinstance(row, BadRow)]
    assert "quot" in bad[0]
    assert len(rows) == 8003 + end.count("\n")
    assert len(bad) <= 4


def test_many_stray_quotes_take_one_pass():
    """Each line begins a record that goes on to the end, or to a bad line, or is too long: not one for each of them."""
    for last, limit in ([], 2**24), ([b'a"b'], 2**24), ([], 100_000):
        records = Records(",", limit)
        pushed = [record for _ in range(20) for record in records.push([b'x","y'] * 5_000)]
        found = [*pushed, *records.push(last), *records.end()]
        assert len(found) == 100_000 + len(last)
        assert all(isinstance(record, Unreadable) for record in found[:100_000])


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(["text", "jsonl"]), st.sampled_from(["auto", "text", "tokens"]))
@example(b"\n", "text", "auto")
@example(b"\r\n\n", "jsonl", "auto")
def test_any_bytes_as_lines(tmp_path_factory, content, format, kind):
    """For any bytes, each line is one row or one bad row, or the file is refused; JSON Lines skip an empty one."""
    path = write(tmp_path_factory.getbasetemp() / "any.bin", content)
    try:
        rows = rows_of(path, format=format, kind=kind, batch_rows=3)
    except RequestError:
        return
    assert [row.position for row in rows] == list(range(count_lines(content, empty=format == "text")))


MUTABLE = {
    "a.jsonl": ("jsonl", bytes), "a.csv": ("csv", bytes), "a.txt.gz": ("txt", gzip.compress),
    "a.jsonl.zst": ("jsonl", zstandard.compress), "a.parquet": ("parquet", bytes),
    "a.arrow": ("arrow", bytes), "b.arrow": ("arrows", bytes), "a.parquet.gz": ("parquet", gzip.compress),
}  # fmt: skip


def mutated(content, chance):
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5, 20])):
        at = chance.randrange(len(changed) + 1)
        how = chance.randrange(5)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            changed[at : at + 8] = chance.choice([b"\xff" * 8, b"\0" * 8, (2**40).to_bytes(8, "little")])
        elif how == 2:
            del changed[at : at + chance.randrange(1, 50)]
        elif how == 3:
            changed[at:at] = chance.randbytes(chance.randrange(1, 20))
        elif how == 4 and chance.random() < 0.3:
            del changed[at:]
    return bytes(changed)


@pytest.mark.parametrize("name", list(MUTABLE))
def test_mutated_files(tmp_path, name):
    """A valid file with random damage is read, or refused with its name."""
    format, encode = MUTABLE[name]
    tokens = [[at, 2, 3] for at in range(300)] if "arrow" in name else None
    texts = None if tokens else [f"héllo {at % 50}" for at in range(300)]
    ids = None if format == "txt" else [f"u{at}" for at in range(300)]
    content = encode(content_of(format, texts, tokens, ids))
    outcomes = set()
    for seed in range(130):
        changed = mutated(content, random.Random(f"{name} {seed}"))
        rows, error = outcome(write(tmp_path / name, changed))
        assert [row.position for row in rows] == list(range(len(rows)))
        if name == "a.jsonl" and "none of its first" not in str(error):
            assert (error, len(rows)) == (None, count_lines(changed, empty=False))
        outcomes.add(error is None)
    assert (encode is bytes) in outcomes


@pytest.mark.parametrize("path", sorted(HOSTILE.iterdir()), ids=lambda path: path.name)
def test_hostile_folder(path):
    """Every file of the hostile folder is refused, or gives rows that are all accounted for."""
    rows, error = outcome(path, max_row_bytes=4096)
    assert [row.position for row in rows] == list(range(len(rows)))
    if error is None and path.suffix in (".txt", ".jsonl"):
        assert len(rows) == count_lines(path.read_bytes(), empty=path.suffix == ".txt")


class Endless(io.RawIOBase):
    """A file that repeats a piece up to a size, without being in memory."""

    def __init__(self, piece, size):
        self._piece, self._left = piece, size

    def readable(self):
        return True

    def read(self, size=-1):
        size = min(size, self._left)
        self._left -= size
        return (self._piece * (size // len(self._piece) + 1))[:size]


@pytest.mark.parametrize(
    ("piece", "format"),
    [
        (b"a line of text" * 15 + b"\n", "text"),
        (b'{"text": "' + b"x" * 200 + b'"}\n', "jsonl"),
        (b"x", "text"),
        (b'text\n"' + b"x" * 200 + b"\n", "csv"),
    ],
)
def test_flat_memory(piece, format):
    """Reading 16 MB takes no more memory than a few chunks, as lines and as one endless line."""
    options = SourceOptions(format=format, max_row_bytes=100_000)
    plan = check_inputs(["-"], options)
    tracemalloc.start()
    count = sum(len(batch) for batch in read_batches(plan, options, stdin=Endless(piece, 16_000_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count > 0
    assert peak < 5_000_000


def shared(text, count):
    """One text in a buffer, and views of it, as Arrow's `take` makes them."""
    _, view, data = pa.array([text], pa.string_view()).buffers()
    return pa.Array.from_buffers(pa.string_view(), count, [None, pa.py_buffer(view.to_pybytes() * count), data])


def repeated(kind, text, count):
    """Columns with one large value, written once and repeated; and the format of a file that keeps them so."""
    texts = pa.array([text] * count)
    ends = np.arange(count + 1, dtype=np.int32) * (len(text) // 4)
    tokens = pa.ListArray.from_arrays(ends, np.full(ends[-1], 5))
    return {
        "texts": ({"text": texts}, "parquet"),
        "nulls": ({"text": pa.array([None] * 3000 + [text] * count)}, "parquet"),
        "ids": ({"id": texts, "text": pa.array(["a"] * count)}, "parquet"),
        "categories": ({"text": texts.dictionary_encode()}, "parquet"),
        "views": ({"text": pa.array(texts, pa.string_view())}, "parquet"),
        "groups": ({"text": pa.array([text] * 10 + ["a"] * 40 + [text] * count)}, "parquet"),
        "tokens": ({"tokens": tokens}, "parquet"),
        "dictionary": ({"text": texts.dictionary_encode()}, "arrow"),
        "dictionary of ids": ({"id": texts.dictionary_encode(), "text": pa.array(["a"] * count)}, "arrow"),
        "shared": ({"text": shared(text, count)}, "arrow"),
    }[kind]


BOMBS = [
    "texts",
    "nulls",
    "ids",
    "categories",
    "views",
    "groups",
    "tokens",
    "dictionary",
    "dictionary of ids",
    "shared",
]


@pytest.mark.parametrize("kind", BOMBS)
def test_a_table_that_is_small_because_its_values_are_equal(tmp_path, kind):
    """Its 100 MB of rows are never in memory at once."""
    text = "the cat " * 25_000
    columns, format = repeated(kind, text, 500)
    table = pa.table(columns)
    path = write(tmp_path / f"a.{format}", b"")
    if format == "parquet":
        pq.write_table(table, path, compression="zstd", row_group_size=50 if kind == "groups" else None)
        assert path.stat().st_size < 20_000
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        assert path.stat().st_size < 300_000
    del columns, table
    options = SourceOptions()
    plan = check_inputs([str(path)], options)
    pool, usual = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        found = sum(
            len(row.text or row.tokens) >= 1
            if isinstance(row, SourceRow)
            else "null" in row.reason or "id" in row.reason
            for batch in read_batches(plan, options)
            for row in batch
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
    assert found == {"nulls": 3500, "groups": 550}.get(kind, 500)
    assert pool.max_memory() < 60_000_000
    assert peak < 60_000_000


@settings(max_examples=25)
@given(
    texts=st.lists(st.sampled_from([None, "", "a", "b" * 9, "c" * 40, "d" * 200]), min_size=1, max_size=60),
    kind=st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]),
    group_rows=st.integers(1, 60),
    batch_rows=st.integers(1, 20),
    most=st.integers(1, 500),
)
def test_batches_of_tables_have_few_bytes(tmp_path_factory, texts, kind, group_rows, batch_rows, most):
    """However texts are written and repeated, no batch has more than it may, but for one row; and no row is lost."""
    path = tmp_path_factory.mktemp("tables") / "a"
    table = pa.table({"text": pa.array(texts).cast(kind)})
    for format in ("parquet", "arrow"):
        if format == "parquet":
            pq.write_table(table, path, row_group_size=group_rows)
        else:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=group_rows)
        options = SourceOptions(format=format, batch_rows=batch_rows)
        with (
            mock.patch("producer.sources.formats.tables.BATCH_BYTES", most),
            mock.patch("producer.sources.formats.parquet_steps.BATCH_BYTES", most),
            mock.patch("producer.sources.formats.parquet_steps._MOST_BYTES", 2 * most),
        ):
            batches = list(read_batches(check_inputs([str(path)], options), options))
        rows = [row for batch in batches for row in batch]
        assert [row.text if isinstance(row, SourceRow) else None for row in rows] == texts
        assert [row.position for row in rows] == list(range(len(texts)))
        for batch in batches:
            assert len(batch) <= batch_rows
            sizes = [len(row.text) for row in batch if isinstance(row, SourceRow)]
            assert len(batch) <= 1 or sum(sizes) <= most


@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), "categories"])
def test_record_batches_without_a_value(tmp_path, kind):
    """Those without a row, and those whose rows are all null, are no damage."""
    values = pa.array([None, None], pa.string_view())
    column = values.dictionary_encode() if kind == "categories" else values.cast(pa.string()).cast(kind)
    batch = pa.record_batch({"text": column})
    path = tmp_path / "a.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        for each in (batch.slice(0, 0), batch, batch.slice(0, 0)):
            writer.write_batch(each)
    options = SourceOptions()
    rows = [row for each in read_batches(check_inputs([str(path)], options), options) for row in each]
    assert [row.reason for row in rows] == ["'text' is null"] * 2


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_decompression_bomb(tmp_path, suffix):
    """A small file that unpacks to a line of 160 MB and one more: the first is a bad row, in bounded memory."""
    packer = zstandard.ZstdCompressor().compressobj()
    if suffix == ".gz":
        packer = zlib.compressobj(wbits=31)
    zeros = b"0" * 4_000_000
    path = write(
        tmp_path / f"a.txt{suffix}",
        b"".join(packer.compress(zeros) for _ in range(40)) + packer.compress(b"\nx") + packer.flush(),
    )
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    bad, _ = rows_of(path, max_row_bytes=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bad.reason.startswith("line of 160000000 bytes")
    assert peak < 100_000_000
