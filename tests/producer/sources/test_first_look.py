"""What newcomers get wrong is refused before anything is read, with what to do; ids and columns may be anywhere."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather
from support.inputs import plain, rows_of, table_bytes, write

from producer.sources.errors import SourceError
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches, with_beginning
from producer.sources.rows import BadRow
from unrolled.errors import OptionError, RequestError

LATIN = "café au lait\nnaïve Übermut\nthé\n" * 3


def refusal(path, **options):
    with pytest.raises(RequestError) as caught:
        check_inputs([str(path)], SourceOptions(**options))
    assert str(caught.value).startswith(f"input {path}: ")
    return str(caught.value)


@pytest.mark.parametrize(("content", "options", "message"), [
    ("id,text\n1,x\n", {"tokens_field": "tok"}, "has no column 'tok'; columns found: 'id', 'text'"),
    ("id,tokens\n1,2\n", {"text_field": "body"}, "has no column 'body'; columns found: 'id', 'tokens'"),
    ("id,text\n1,x\n", {"id_field": "key"}, "has no column 'key' for the ids"),
])  # fmt: skip
def test_a_field_that_is_named_must_be_there(tmp_path, content, options, message):
    """Whatever else would do: the user said what the rows are."""
    assert message in refusal(write(tmp_path / "a.csv", content), **options)


@pytest.mark.parametrize(("name", "content", "field"), [
    ("a.csv", b"ID,text\n7,x\n", "ID"),
    ("a.csv.gz", gzip.compress(b" id,text\n7,x\n", mtime=0), "' id'"),
    ("a.jsonl", b'{"Id": 7, "tokens": [1]}\n', "Id"),
    ("a.parquet", table_bytes(pa.table({"ID ": ["7"], "text": ["x"]}), "parquet"), "'ID '"),
])  # fmt: skip
def test_a_field_that_may_have_the_ids_is_told(tmp_path, name, content, field):
    """Without the line, a user would find out at the end, by rows that their own ids don't name."""
    path = tmp_path / name
    path.write_bytes(content)
    (line,) = check_inputs([str(path)], SourceOptions()).notices
    assert line.startswith(f"{path}: the field ")
    assert line.endswith(f"give --id-field {field}")
    for told in (SourceOptions(id_field=field.strip("'")), SourceOptions(reads_ids=False)):
        assert check_inputs([str(path)], told).notices == ()


@pytest.mark.parametrize(("content", "options"), [
    ("id,ID,text\n1,2,x\n", {}),
    ("key,text\n1,x\n", {}),
    ("text,ID,ID\nx,1,2\n", {}),
    ("ID,key\nx,1\n", {"text_field": "ID"}),
])  # fmt: skip
def test_a_field_with_another_name_is_no_id(tmp_path, content, options):
    """Where the ids are found, or nothing says that one field has them, there is nothing to tell."""
    assert check_inputs([str(write(tmp_path / "a.csv", content))], SourceOptions(**options)).notices == ()


def test_a_named_field_of_json_lines(tmp_path):
    """Each row must have it; a row with another field is bad."""
    path = write(tmp_path / "a.jsonl", '{"ids": [1]}\n{"text": "x"}\n')
    rows = rows_of(path, tokens_field="ids")
    assert [type(row) is BadRow for row in rows] == [False, True]
    assert "has no 'ids'; fields found: 'text'" in rows[1].reason


def test_both_fields_may_be_named(tmp_path):
    """One of them is then enough, as without names."""
    path = write(tmp_path / "a.jsonl", '{"ids": [1]}\n{"body": "x"}\n')
    assert [row.text for row in rows_of(path, tokens_field="ids", text_field="body")] == [None, "x"]


@pytest.mark.parametrize("rows", [20, 5_000])
@pytest.mark.parametrize("encode", [bytes, gzip.compress])
def test_json_lines_with_another_field(tmp_path, rows, encode):
    """Not a thousand rows in quarantine and a directory that is spent."""
    path = write(tmp_path / f"a.jsonl{'' if encode is bytes else '.gz'}", '{"txet": "x"}\n' * rows, encode)
    found = refusal(path)
    assert f"none of its first {min(rows, 1000):,} rows can be used" in found
    assert "row 0: has neither 'text' nor 'tokens'; fields found: 'txet'" in found


@pytest.mark.parametrize(
    "content", ['[{"text": "x"}]', '[\n  {"text": "x"},\n  {"text": "y"}\n]\n', '\ufeff[{"text": "x"}]']
)
@pytest.mark.parametrize(("name", "encode", "command"), [
    ("my docs.json", bytes, "jq -c '.[]' '{}/my docs.json' > '{}/my docs.jsonl'"),
    ("docs.jsonl", bytes, "jq -c '.[]' {}/docs.jsonl > {}/docs-1.jsonl"),
    ("a.json.gz", gzip.compress, "gzip -dc {}/a.json.gz | jq -c '.[]' > {}/a.jsonl"),
    ("other.json", bytes, "jq -c '.[]' {}/other.json > {}/other-1.jsonl"),
])  # fmt: skip
def test_a_json_array(tmp_path, monkeypatch, name, encode, command, content):
    """The refusal says that lines are wanted, and how to make them of this very file, which stays as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "other.jsonl", "{}")
    write(tmp_path / "in" / name, content, encode)
    assert refusal(f"in/{name}") == (
        f"input in/{name}: is a JSON array; allowed: JSON lines, with one object on each line. Convert it: "
        + command.replace("{}", "in")
    )


_LINES, _WHOLE = "has a JSON array on each line", "is a JSON array"
_PAIR, _WORDS = "if .[0] is an id and .[1] the text", "if its elements are the words of a text"
_ONE = "if the whole file is one array"
_OTHERS = "if its elements of other kinds are no rows"


@pytest.mark.parametrize(("content", "found", "when", "program"), [
    ("[1, 2]\n[3]\n", _LINES, "", "{tokens: .}"),
    ("[]\n[1, 2]\n", _LINES, "", "{tokens: .}"),
    ("[[1, 2], [3]]\n", _WHOLE, "", ".[] | {tokens: .}"),
    ('["a b", "c"]', _WHOLE, "", ".[] | {text: .}"),
    ('[{"text": "a"}, 3]', _WHOLE, "", ".[]"),
    ("[[1, 2],\n[3]]", _WHOLE, "", ".[] | {tokens: .}"),
    ("[1,\n2]", _WHOLE, "", "{tokens: .}"),
    ('["a b",\n"c"]', _WHOLE, "", ".[] | {text: .}"),
    ('[["d1", "a b"], ["d2", "c"]]', _WHOLE, _PAIR, ".[] | {id: .[0], text: .[1]}"),
    ("[[], [3]]", _WHOLE, "", ".[] | {tokens: .}"),
    ('[1, "a b"]', _WHOLE, _PAIR, "{id: .[0], text: .[1]}"),
    ('[[["a", "b"], 1]]', _WHOLE, "", ""),
    ('[["a b", "pos"],' + ' ["c", "neg"],' * 2**15 + ' ["d", "neg"]]', "begins with a JSON array",
     f"{_ONE}, and .[0] is an id and .[1] the text", ".[] | {id: .[0], text: .[1]}"),
    ("[[1" + ", 2" * 2**18 + "], [3]]", "begins with a JSON array", _ONE, ".[] | {tokens: .}"),
    ("[[[1" + ", 2" * 2**18 + "]]]", "begins with a JSON array", "", ""),
    ('[["d1", "' + "a " * 2**18 + '"]]', "begins with a JSON array", "", ""),
    ('["a b", ' + '"c", ' * 30 + 'null, "d"]', _WHOLE, "", ".[] | {text: .}"),
    ('["a b", ' + '"c", ' * 30 + '3, "d"]', _WHOLE, _OTHERS, ".[] | strings | {text: .}"),
    ("[3" + ', "a b"' * 2**16 + "]", "begins with a JSON array", f"{_ONE}, and {_OTHERS[3:]}",
     ".[] | strings | {text: .}"),
    ('["x"' + ', ["d1", "a b"]' * 40 + "]", _WHOLE, f"{_OTHERS}, and {_PAIR[3:]}",
     ".[] | arrays | {id: .[0], text: .[1]}"),
    ('["header"' + ', {"text": "a"}' * 40 + "]", _WHOLE, _OTHERS, ".[] | objects"),
    ("[1" + ", 2" * 40 + ", 0.5]", _WHOLE, "", ""),
    ('[[5, 7, "' + "a " * 2**18 + '"]]', "begins with a JSON array", "", ""),
    ("[[1, 2, 0.5" + ", 3" * 2**18 + "]]", "begins with a JSON array", "", ""),
    ("[[1, 22" + ", 3" * 2**18 + "]]", "begins with a JSON array", _ONE, ".[] | {tokens: .}"),
    ('[{"text": "' + "a " * 2**18 + '"}]', "begins with a JSON array", _ONE, ".[]"),
    ("[[0.5" + ", 2" * 2**18 + "]]", "begins with a JSON array", "", ""),
    ("[3" + ', "a b"' * 40 + "]", _WHOLE, _OTHERS, ".[] | strings | {text: .}"),
    ("[[1, 2], null, [3, null]]", _WHOLE, "", ".[] | {tokens: .}"),
    ('[["d1", "a b"], null, [], ["d2", null]]', _WHOLE, _PAIR, ".[] | {id: .[0], text: .[1]}"),
    ('[["title"],\n["d1", "c d"],\n', _WHOLE, _WORDS, '.[] | {text: join(" ")}'),
    ("[[],\n[1, 2],\n", _WHOLE, "", ".[] | {tokens: .}"),
    ("[" * 70_000, "begins with a JSON array", "", ""),
    ('["d1", null]\n["d2", "c"]\n', _LINES, _PAIR, "{id: .[0], text: .[1]}"),
    ('[]\n["a"]\n', _LINES, "", '{text: join(" ")}'),
    ('["' + "a " * 2**18 + '"]\n["b"]', "begins with a JSON array", _ONE, ".[] | {text: .}"),
    ("[1" + ", 2" * 2**18 + "]\n[3]", "begins with a JSON array", _ONE, "{tokens: .}"),
    ("[]\n[]\n", _LINES, "", ".[]"),
    ("[[1, 2]]\n[[3], [4]]\n", _LINES, "", ".[] | {tokens: .}"),
    ('[{"text": "a"}]\n[{"text": "b"}]', _LINES, "", ".[]"),
    ('["d1", "a b"]\n["d2", "c"]\n', _LINES, _PAIR, "{id: .[0], text: .[1]}"),
    ('[7, "a b"]\n[8, "c"]\n', _LINES, _PAIR, "{id: .[0], text: .[1]}"),
    ('["a", "b", "c"]\n["d"]\n', _LINES, _WORDS, '{text: join(" ")}'),
    ('["a", "b"]\n["c"]\n["d", "e", "f"]\n', _LINES, _WORDS, '{text: join(" ")}'),
    ('["a \u2028 b"]\n\n["c"]\n', _LINES, "", '{text: join(" ")}'),
    ('["d1", "a b"]\n\n["d2", "c"]\n', _LINES, _PAIR, "{id: .[0], text: .[1]}"),
    ('["d1", "' + "a " * 10**5 + '"]\n["d2", "' + "a " * 10**5 + '"]\n', _LINES, _PAIR, "{id: .[0], text: .[1]}"),
    ('["a b c", 0]\n["d e", 1]\n', _LINES, "if .[0] is the text", "{text: .[0]}"),
    ('["d1", [1, 2, 3]]\n["d2", [4]]\n', _LINES, "if .[0] is an id and .[1] the tokens", "{id: .[0], tokens: .[1]}"),
    ('["d", {}, "a b"]\n["e", {}, "c"]\n', _LINES, "if .[0] is an id and .[2] the text", "{id: .[0], text: .[2]}"),
    ('[1.5, "a b"]\n[2.5, "c"]\n', _LINES, "if .[1] is the text", "{text: .[1]}"),
    ("[0.1, 0.2]\n[0.3]\n", _LINES, "", ""),
])  # fmt: skip
def test_arrays_of_other_things(tmp_path, monkeypatch, content, found, when, program):
    """Numbers are taken for token ids; what several things on a line are isn't known, so a condition is said."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", content)
    way = f". Convert it{when and f' ({when})'}: jq -c '{program}' a.jsonl > a-1.jsonl" if program else ""
    assert refusal("a.jsonl") == (f"input a.jsonl: {found}; allowed: JSON lines, with one object on each line{way}")


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.csv", "a.jsonl", "a.parquet", "a.fasta", "a.parquet.zst"])
def test_a_pointer_of_git_lfs(tmp_path, name):
    """It stands for the file in a clone; as a text it is read if the user says that it is one."""
    path = write(tmp_path / name, f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4' * 64}\nsize 9\n")
    assert refusal(path).endswith(": it is a pointer of Git LFS, not the file itself: run git lfs pull")
    if name == "a.txt":
        assert len(rows_of(path, format="text")) == 3


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize(
    "content", ['{"id": 1, "text": "x, y"}\n', '\ufeff{"text": "x"}\n{"text": "y"}', '{"a": 1}\n' * 9]
)
def test_json_lines_that_are_named_as_a_table(tmp_path, name, content):
    said = refusal(write(tmp_path / name, content))
    assert said.endswith(f"{name}: is read as {name[2:].upper()}, but looks like JSON lines: give --format jsonl")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_objects_of_several_lines(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name, '{\n  "text": "x"\n}\n{\n  "text": "y"\n}\n')
    lines = "a.jsonl" if name == "a.json" else "a-1.jsonl"
    assert refusal(name) == (
        f"input {name}: has JSON objects of several lines each; allowed: JSON lines, with one object on each line. "
        f"Convert it: jq -c '.' {name} > {lines}"
    )


def test_a_table_that_is_named_as_json_lines(tmp_path):
    said = refusal(write(tmp_path / "a.jsonl", "id,text\n1,x\n"))
    assert "not JSON" in said
    assert said.endswith("a.jsonl isn't JSON lines; else correct the file")


@pytest.mark.parametrize(("name", "content", "advice"), [
    ("a.csv", "id;text\n1;x\n", "separated by ';'; convert it, such as by pandas.read_csv"),
    ("a.csv", "id\ttext\n1\tx\n", "separated by tabs; give --format tsv"),
    ("a.tsv", "id,text\n1,x\n", "separated by commas; give --format csv"),
])  # fmt: skip
def test_a_table_with_another_separator(tmp_path, name, content, advice):
    """It isn't a table of one column with an odd name."""
    said = refusal(write(tmp_path / name, content))
    assert f"has no column 'text' or 'tokens'; columns found: {content.split()[0]!r}" in said or "\t" in content
    assert advice in said
    assert "--no-header" not in said


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_quotation_marks_of_the_texts(tmp_path, suffix):
    """They take no other row into a field without a word, and an option reads them as characters."""
    lines = ["text", '"Hello world', "foo", '"World" the', 'a "b" c']
    separator = "," if suffix == "csv" else "\t"
    rows = (f"{number}{separator}{line}\n" for number, line in enumerate(lines))
    path = write(tmp_path / f"a.{suffix}", "".join(rows))
    first, second, third, last = rows_of(path)
    for bad in (first, third):
        assert "if quotation marks are characters of the texts, give --no-quotes" in bad.reason
    assert (second.text, last.text) == ("foo", lines[-1])
    assert [row.text for row in rows_of(path, quotes=False)] == lines[1:]


def test_one_usable_row_is_enough(tmp_path):
    """The others go to quarantine, as everywhere."""
    path = write(tmp_path / "a.jsonl", '{"txet": "x"}\n' * 999 + '{"text": "x"}\n')
    assert sum(isinstance(row, BadRow) for row in rows_of(path)) == 999
    assert rows_of(write(tmp_path / "empty.jsonl", "")) == []


def notices(*paths, **options):
    return check_inputs([str(path) for path in paths], SourceOptions(**options)).notices


@pytest.mark.parametrize("encode", [bytes, gzip.compress])
@pytest.mark.parametrize(("name", "content"), [("a.jsonl", ""), ("a.txt", ""), ("a.csv", "text\n")])
def test_an_input_without_rows_is_named(tmp_path, name, content, encode):
    """Most likely another program has failed to write it."""
    path = write(tmp_path / f"{name}{'' if encode is bytes else '.gz'}", content, encode)
    assert notices(path) == (f"1 input has no rows: {path}",)
    more = write(tmp_path / f"more{path.name}", content + '{"text": "x"}\n', encode)
    assert not any("no rows" in each for each in notices(more))


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize(("suffix", "write_as"), [
    ("parquet", pq.write_table),
    ("arrow", lambda table, path: feather.write_feather(table, path, compression="uncompressed")),
    ("arrow", write_stream),
])  # fmt: skip
def test_a_table_without_rows_is_named(tmp_path, suffix, write_as):
    """A Parquet file by its footer, an Arrow file by its lack of batches."""
    none, one = (tmp_path / f"{name}.{suffix}" for name in ("none", "one"))
    for path, texts in ((none, []), (one, ["x"])):
        write_as(pa.table({"text": pa.array(texts, pa.string())}), path)
    assert notices(none, one) == (f"1 input has no rows: {none}",)
    assert len(rows_of(one)) == 1


def test_some_of_many_inputs_without_rows_are_named(tmp_path):
    """The others are counted."""
    paths = [write(tmp_path / f"{number}.jsonl", "") for number in range(5)]
    assert notices(*paths) == (f"5 inputs have no rows: {paths[0]}, {paths[1]}, {paths[2]} and 2 more",)
    assert notices(write(tmp_path / "blank.txt", "\n")) == ()  # a row without a token


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
@pytest.mark.parametrize(("encoding", "said"), [("latin-1", "ISO-8859-1"), ("cp1252", "WINDOWS-1252")])
def test_text_of_one_byte_a_letter(tmp_path, name, encoding, said):
    """As UTF-16, it is recognized, and the text says how to convert it."""
    more = "“quoted”\n" if encoding == "cp1252" else ""
    lines = (LATIN + more).splitlines()
    content = {
        "a.txt": LATIN + more,
        "a.jsonl": "".join(f'{{"text": "{line}"}}\n' for line in lines),
        "a.csv": "text\n" + LATIN + more,
    }[name]
    found = refusal(write(tmp_path / name, content.encode(encoding)))
    assert f"is not UTF-8; it looks like {said}: convert it (iconv -f {said} -t UTF-8)" in found


def test_some_wrong_bytes_make_some_rows_bad(tmp_path):
    """A file that is mostly UTF-8 is not taken for another encoding."""
    content = b"plain\n" * 400 + b"caf\xe9\n" * 3
    assert sum(isinstance(row, BadRow) for row in rows_of(write(tmp_path / "a.txt", content))) == 3
    content = "café\n".encode() + b"caf\xe9\n" * 30
    assert sum(isinstance(row, BadRow) for row in rows_of(write(tmp_path / "b.txt", content))) == 30


@pytest.mark.parametrize(("content", "message"), [
    (random.Random(1).randbytes(3000), "is not text: it begins with"),
    ("the cat sat\n".encode("utf-16-le"), "is UTF-16 text; convert it (iconv -f UTF-16LE -t UTF-8)"),
    ("the cat sat\n".encode("utf-16-be"), "is UTF-16 text; convert it (iconv -f UTF-16BE -t UTF-8)"),
    (b"\x7fELF\x02\x01\x01" + bytes(9), "is not text"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not text"),
    (b"%PDF-1.7\n%\xe2\xe3\n", "is a PDF document"),
    *((pickle.dumps(["a text", "another"] * 99, protocol), "is a Python pickle") for protocol in range(2, 6)),
])  # fmt: skip
@pytest.mark.parametrize("name", ["rnd.bin", "a.txt", "a.jsonl", "a.csv"])
def test_binary_files(tmp_path, name, content, message):
    """They aren't read as text by accident, whatever their names are."""
    assert message in refusal(write(tmp_path / name, content))


def test_a_text_full_of_control_characters_needs_its_format_named(tmp_path):
    """Such as a log of FIX messages; what isn't UTF-8, or has NUL, is no text under any name."""
    path = write(tmp_path / "fix.log", "8=FIX.4.2\x0135=D\x0149=é\x0156=B\x01\n" * 30)
    assert "is not text" in refusal(path)
    assert len(rows_of(path, format="text")) == 30
    for content in (b"8=F\x0135=D\x01\xff\n" * 30, b"8=F\x0135=D\x01\0\n" * 30):
        said = refusal(write(tmp_path / "b.log", content), format="text")
        assert "is not text" in said
        assert "convert them to UTF-8" in said
    one_bad = "8=FIX.4.2\x0135=D\x0149=é\x0156=B\x01\n".encode() * 30 + b"8=F\x0135=D\x01\xff\n"
    assert [isinstance(row, BadRow) for row in rows_of(write(tmp_path / "c.log", one_bad), format="text")].count(
        True
    ) == 1
    one_line = "\x01é".encode() * 2**17  # its first chunk ends within a character
    assert len(rows_of(write(tmp_path / "d.log", b"\x01" + one_line), format="text")) == 1


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl", "a.fasta"])
def test_lines_that_end_as_on_old_macs(tmp_path, name):
    """They would be one long row."""
    lines = b">s1\rMKV\r>s2\rMKL\r" if name == "a.fasta" else b'{"text": "a"}\r{"text": "b"}\r{"text": "c"}\r'
    said = refusal(write(tmp_path / name, gzip.compress(lines) if name.endswith("gz") else lines))
    assert "ends its lines in carriage returns alone; end them in line feeds (tr '\\r' '\\n')" in said
    assert len(rows_of(write(tmp_path / "b.txt", b"10 %\r20 %\r30 %\rdone\n"))) == 1
    long_row = b"10 %\r20 %\r30 %\r" + b"and many words " * 20_000 + b"\n"
    assert len(rows_of(write(tmp_path / "c.txt", long_row))) == 1


def test_control_characters_are_text(tmp_path):
    """Form feeds, escapes and a lone NUL are in real texts."""
    content = "page one\fpage two\n\x1b[1mbold\x1b[0m\n" + "a\0b and the rest of a line\n" * 3
    assert len(rows_of(write(tmp_path / "a.txt", content))) == 5


def test_the_first_word_of_a_line_as_id(tmp_path):
    """A corpus whose lines begin with ids needs no conversion."""
    path = write(tmp_path / "a.txt", "doc-1 the cat sat\ndoc-2\tthe  cat\n  doc-3\n\ndoc-4 x\n")
    rows = rows_of(path, id_first_word=True)
    assert [plain(row) for row in rows if not isinstance(row, BadRow)] == [
        ("the cat sat", None, "doc-1"), ("the  cat", None, "doc-2"), ("", None, "doc-3"), ("x", None, "doc-4")
    ]  # fmt: skip
    assert [(row.position, row.reason) for row in rows if isinstance(row, BadRow)] == [
        (3, "has no id: the line is empty, and its first word is to be the id")
    ]
    tokens = write(tmp_path / "b.txt", "doc-1 5 6\n")
    assert [plain(row) for row in rows_of(tokens, id_first_word=True, kind="tokens")] == [(None, [5, 6], "doc-1")]


def test_the_first_word_is_for_text(tmp_path):
    """Other formats have fields for ids."""
    path = write(tmp_path / "a.csv", "id,text\n1,x\n")
    with pytest.raises(OptionError, match="--id-first-word is for plain text, and the input is csv"):
        check_inputs([str(path)], SourceOptions(id_first_word=True))
    with pytest.raises(OptionError, match="--id-first-word and --id-field"):
        SourceOptions(id_first_word=True, id_field="x")


def test_names_of_columns_that_the_file_has_too_are_no_row(tmp_path):
    """They would be a row with the id "id"."""
    path = write(tmp_path / "a.csv", "id,text\n1,x\n")
    assert "has the names that --columns gives in its first line; leave --columns out" in refusal(
        path, columns="id,text"
    )
    check_inputs([str(write(tmp_path / "b.csv", "1,x\n"))], SourceOptions(columns="id,text"))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
def test_tables_without_a_line_of_names(tmp_path, name):
    """Their columns are named by the user, or numbered from 1."""
    delimiter = "\t" if ".tsv" in name else ","
    content = "".join(f"k{at}{delimiter}the cat {at}{delimiter}x\n" for at in range(3))
    path = write(tmp_path / name, content, gzip.compress if name.endswith(".gz") else bytes)
    expected = [(f"the cat {at}", None, f"k{at}") for at in range(3)]
    assert [plain(row) for row in rows_of(path, columns="id,text,other")] == expected
    assert [plain(row) for row in rows_of(path, header=False, id_field="1", text_field="2")] == expected
    assert rows_of(write(tmp_path / f"empty.{name[2:5]}", ""), columns="id,text") == []


def test_a_table_whose_names_are_missing(tmp_path):
    """The refusal says what line 1 was taken for, and what helps."""
    path = write(tmp_path / "a.csv", "doc-1,the cat sat\n")
    found = refusal(path)
    assert "has no column 'text' or 'tokens'; columns found: 'doc-1', 'the cat sat'" in found
    assert "if it has no such line, use --columns NAME,NAME or --no-header" in found
    assert "columns found: '1', '2'" in refusal(path, header=False)
    assert "columns found: 'id', 'body'" in refusal(path, columns="id,body")
    assert "its only row can't be used; row 0: has 2 columns; 3 are named" in refusal(path, columns="id,text,x")
    path = write(tmp_path / "one.csv", "a\n")
    assert "row 0: has 1 column; 2 are named" in refusal(path, columns="id,text")


@pytest.mark.parametrize("columns", ["", "a,,b", "a,a"])
def test_columns_that_cannot_be(columns):
    """Names must be different, and not empty."""
    with pytest.raises(OptionError, match="--columns"):
        SourceOptions(columns=columns)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ({"columns": "id,text"}, "--columns"),
        ({"header": False}, "--no-header"),
        ({"quotes": False}, "--no-quotes"),
        ({"quotes": True}, "--quotes"),
    ],
)
def test_options_of_csv_need_a_csv(tmp_path, option, name):
    """They would be a part of a job that they don't change; one CSV among others is enough."""
    text, table = write(tmp_path / "a.txt", "x\n"), write(tmp_path / "b.csv", "1,x\n")
    with pytest.raises(OptionError, match=f"{name} is for CSV and TSV, and the input is text; leave it out"):
        check_inputs([str(text)], SourceOptions(**option))
    with pytest.raises(RequestError, match="columns found: '1', '") if name != "--columns" else nullcontext():
        check_inputs([str(text), str(table)], SourceOptions(**option))


@pytest.mark.parametrize("ids", ["[1, 2, 3]", "1,2,3", "[1 2\n 3]", "(1; 2)", "1, x"])
def test_lists_of_ids_in_a_csv(tmp_path, ids):
    """As pandas writes them: the reason says how ids are written, and no option is blamed."""
    path = write(tmp_path / "a.csv", f'id,tokens\nq,"{ids}"\n')
    spaced = "token ids in CSV, TSV and text are separated by spaces, as 1 2 3"
    if "x" in ids:
        assert rows_of(path)[0].tokens == ["1,", "x"]
        return
    with pytest.raises(RequestError) as refused:
        check_inputs([str(path)], SourceOptions())
    assert f"{spaced}; found {ids!r}. Write the ids in {path}" in str(refused.value)
    assert "--text-field" not in str(refused.value)
    path.write_text(path.read_text() + "r,1 2\n")
    bad, good = rows_of(path)
    assert (bad.id, bad.reason, good.tokens) == ("q", f"{spaced}; found {ids!r}", [1, 2])


def test_a_wrong_field_of_ids_in_json_lines(tmp_path):
    """The fields that are there are listed, and the option to correct is named."""
    path = write(tmp_path / "a.jsonl", '{"key": 1, "text": "a"}\n')
    message = r"has no id: 'nope' is missing; fields found: 'key', 'text'\. Correct .*, such as --id-field, or the file"
    with pytest.raises(RequestError, match=message):
        check_inputs([str(path)], SourceOptions(id_field="nope"))


@pytest.mark.parametrize("ids", [[0.5, 1.5], [{"a": 1}, None], ["", "x" * 2000]])
@pytest.mark.parametrize("suffix", ["parquet", "arrow", "jsonl", "csv"])
def test_ids_that_are_not_read(tmp_path, suffix, ids):
    """Of a corpus, the ids may be anything: no row is left out for them."""
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps({"id": each, "text": "x"}) + "\n" for each in ids))
    elif suffix == "csv":
        path.write_text("id,text\n" + "".join(f"{json.dumps(each) if each else ''},x\n" for each in ids[:1] * 2))
    else:
        path.write_bytes(table_bytes(pa.table({"id": ids, "text": ["x", "x"]}), suffix))
    assert [plain(row) for row in rows_of(path, reads_ids=False)] == [("x", None, None)] * 2


def test_headers_of_a_corpus_in_fasta_may_be_anything(tmp_path):
    """Of a corpus, no sequence is left out for a header that is too long or isn't UTF-8."""
    path = tmp_path / "a.fasta"
    path.write_bytes(b">" + b"x" * 2000 + b"\nACD\n>\xff\nEFG\n")
    assert [plain(row) for row in rows_of(path, reads_ids=False)] == [("ACD", None, None), ("EFG", None, None)]


def test_options_about_ids_are_not_named_where_none_are_read(tmp_path):
    """The commands that read a corpus don't have them."""
    path = write(tmp_path / "a.txt", "x\n")
    for reads_ids in (True, False):
        with pytest.raises(OptionError) as refused:
            check_inputs([str(path)], SourceOptions(text_field="x", reads_ids=reads_ids), ("text_field",))
        assert ("--id-first-word" in str(refused.value)) is reads_ids
    columns = write(tmp_path / "b.csv", "a,b\n1,x\n")
    assert "Name it (--text-field, --tokens-field)" in refusal(columns)
    assert "Name it (--text-field). " in refusal(columns, kind="text")
    assert "Name it (--tokens-field). " in refusal(columns, kind="tokens")


@pytest.mark.parametrize(
    ("name", "content", "instead"),
    [
        ("a.fa", ">x\nMK\n", "in FASTA, the id is the first word after '>', and the text is the sequence"),
        ("a.txt", "x\n", "in text, a row is a line, and its id is the line's number"),
    ],
)
def test_names_of_fields_need_an_input_with_fields(tmp_path, name, content, instead):
    """Elsewhere they would change nothing; one input with fields among others is enough."""
    plain, table = write(tmp_path / name, content), write(tmp_path / "b.csv", "text,key\nx,1\n")
    options, named = SourceOptions(id_field="key"), ("text_field", "id_field")
    with pytest.raises(OptionError) as refused:
        check_inputs([str(plain)], options, named)
    assert str(refused.value).startswith("--id-field and --text-field are for formats with fields, and the input is ")
    assert instead in str(refused.value)
    with pytest.raises(OptionError, match="--tokens-field is for formats with fields, "):
        check_inputs([str(plain)], options, ("tokens_field",))
    check_inputs([str(plain), str(table)], options, named)
    check_inputs([str(plain)], options)  # of a variable, which may be meant for other inputs


@pytest.mark.parametrize(
    "name", ["b.csv.bz2", "b.jsonl.XZ", "b.csv.tgz", "b.tar.xz", "b.tar.zstd", "b.tar.br", "b.zip", "b.tsv.br"]
)
def test_names_of_fields_of_a_packed_input(tmp_path, name):
    """It has fields, but isn't read; another format's name wouldn't help."""
    packed = write(tmp_path / name, "text,key\nx,1\n")
    with pytest.raises(OptionError, match=f"{name}: by its name, it is compressed .* unpack it"):
        check_inputs([str(packed)], SourceOptions(), ("text_field",))
    for other in ("corpus.br", "notes.tar.txt"):  # in Breton, and about an archive
        plain = write(tmp_path / other, "x\n")
        with pytest.raises(OptionError, match="--text-field is for formats with fields"):
            check_inputs([str(plain)], SourceOptions(), ("text_field",))


BINARY = [
    (table_bytes(pa.table({"text": ["x"]}), "parquet"), "is parquet by its content"),
    (table_bytes(pa.table({"text": ["x"]}), "arrow"), "is arrow by its content"),
    (table_bytes(pa.table({"text": ["x"]}), "arrows"), "is arrow by its content"),
    (lzma.compress(b"x\n"), "is xz-compressed; unpack it, or compress it with gzip or zstd instead"),
    (bz2.compress(b"x\n", 1), "is bzip2-compressed"),
    (b'\x04\x22\x4d\x18\x64\x40\xa7\x0f\0\0\x80{"text": "one"}\n\0\0\0\0', "is lz4-compressed"),
    (b"PK\x03\x04\x14\0", "is a zip archive; unpack it, and give the files in it; export what an office program"),
    (b"7z\xbc\xaf\x27\x1c\0\x04", "is a 7z archive"),
    (b"a.txt".ljust(257, b"\0") + b"ustar\x0000", "is a tar archive"),
    (gzip.compress(lzma.compress(b"x\n"), mtime=0), "is xz-compressed"),
]


@pytest.mark.parametrize("options", [SourceOptions(), SourceOptions(follow=True), SourceOptions(format="jsonl")])
def test_a_closed_standard_input_is_refused_at_once(monkeypatch, options):
    """Python has None for one that the shell has closed (`<&-`)."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(
        RequestError, match=r"-: is closed; send it rows through a pipe or a redirection, or name files"
    ):
        check_inputs(["-"], options)


@pytest.mark.parametrize(("content", "message"), BINARY, ids=[message for _, message in BINARY])
def test_standard_input_is_checked_as_files_are(tmp_path, monkeypatch, content, message):
    """Before anything is read, if the bytes are there soon; else, of a pipe, before the first row."""
    name = "a.gz" if content[:2] == b"\x1f\x8b" else "a.jsonl.lz4"
    path = write(tmp_path / name, content)
    assert message in refusal(path)
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        with pytest.raises(RequestError, match=message):
            check_inputs(["-"], SourceOptions(format=None if "content" in message else "jsonl"))
        assert file.read() == content
    with pytest.raises(SourceError, match=message):
        rows_of("-", stdin=io.BytesIO(content))
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content], daemon=True)
    writer.start()
    with pytest.raises(SourceError, match=message):
        rows_of(tmp_path / "pipe")
    writer.join()


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\0", b"PAR1\x15\x04", b"\xfd7zXZ\0"])
def test_a_live_input_is_checked_as_it_arrives(content):
    """It isn't unpacked: its rows are read as they come."""
    ours, theirs = os.pipe()
    os.write(theirs, content)
    os.close(theirs)
    with os.fdopen(ours, "rb", 0) as file, pytest.raises(SourceError, match=r"0 rows before that were read"):
        rows_of("-", stdin=file, follow=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\x1f\x8b\x08\0", "--follow reads what isn't compressed"), (b"\xfd7zXZ\0", "is xz"), (b"\xff\xfea\0", "UTF-16")],
)
def test_a_live_input_is_looked_at_before_anything_is_made(monkeypatch, content, message):
    """If something arrives at once; what was looked at is read, too."""
    options = SourceOptions(follow=True, tick_seconds=0.01)
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as file, os.fdopen(theirs, "wb", 0) as out:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        out.write(content)
        with pytest.raises(RequestError, match=message):
            with_beginning(check_inputs(["-"], options), options)
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as file, os.fdopen(theirs, "wb", 0) as out:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        out.write(b"one\ntw")
        batches = read_batches(with_beginning(check_inputs(["-"], options), options), options)
        assert [row.text for row in next(row for row in batches if row)] == ["one"]
        out.write(b"o\n")
        out.close()
        assert [row.text for batch in batches for row in batch] == ["two"]


def test_gzip_on_standard_input_that_is_corrupt_is_refused_at_once(monkeypatch):
    """What has arrived is only its beginning, which may end in the middle of a member."""
    whole = gzip.compress(b"a line\n" * 100_000)
    for content, refused in ((b"\x1f\x8bxx", True), (whole[:5], False), (whole[:50], False), (whole, False)):
        ours, theirs = os.pipe()
        with os.fdopen(ours, "rb") as file, os.fdopen(theirs, "wb", 0) as out:
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
            out.write(content)
            if refused:
                with pytest.raises(RequestError, match="the gzip data is corrupt"):
                    check_inputs(["-"], SourceOptions())
            else:
                assert check_inputs(["-"], SourceOptions()).stdin is not None or len(content) < 60


@pytest.mark.parametrize(
    ("content", "look"),
    [
        (b'{"text": "x", "id": 1}\n{"text": "y", "id": 2}\n', "JSON lines"),
        (gzip.compress(b'{"text": "x"}\n', mtime=0), "JSON lines"),
        (b">s1\nMKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQV\n", "FASTA"),
        (b"some text\n", None),
    ],
)
def test_what_a_pipe_holds_is_told_when_it_is_read(tmp_path, capsys, content, look):
    """It can't be looked at before; neither can a standard input of which nothing has arrived."""
    os.mkfifo(tmp_path / "pipe")
    for options in ({}, {"format": "text"}, {"kind": "tokens"}):
        writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content], daemon=True)
        writer.start()
        assert rows_of(tmp_path / "pipe", **options)
        writer.join()
        said = capsys.readouterr().err
        assert said.count("each whole line is read as text") == (look is not None and not options)
        assert (f"1 input looks like {look}" in said and str(tmp_path / "pipe") in said) == bool(said)


@pytest.mark.parametrize("encode", [bytes, gzip.compress])
def test_json_lines_under_another_name(tmp_path, monkeypatch, encode):
    """They are read as text, as their name says, but most likely their fields are meant; a notice says so."""
    lines = '{"text": "x", "id": 1}\n{"text": "y", "id": 2}\n'
    said = "looks like JSON lines, but each whole line is read as text: {}; --format jsonl reads the fields"
    path = write(tmp_path / f"a.txt{'' if encode is bytes else '.gz'}", lines, encode)
    assert notices(path) == (f"1 input {said.format(path)}",)
    assert notices(path, format="text") == notices(path, format="jsonl") == ()
    assert notices(write(tmp_path / "b.txt", "{braces}\n" + lines)) == ()
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        assert notices("-") == (f"1 input {said.format('-')}",)
