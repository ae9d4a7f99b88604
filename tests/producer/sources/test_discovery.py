"""Which inputs are found, in which order, and which are refused before anything is read."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from support.inputs import TEXTS, content_of, rows_of, table_bytes, write
from support.jobs import finished_job

from producer.sources.errors import SourceError
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs
from unrolled.errors import RequestError
from unrolled.format.output_spec import OutputSpec


def test_order_of_inputs(tmp_path, monkeypatch):
    """Inputs are in the order of their names; directories and patterns are sorted, without hidden and private names."""
    for name in [
        "d/b.txt",
        "d/a.txt",
        "d/.hidden",
        "d/_private",
        "d/sub/c.txt",
        "d/_sub/x.txt",
        "z.txt",
        "y.log",
    ]:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        write(tmp_path / name, name)
    monkeypatch.chdir(tmp_path)
    assert [row.text for row in rows_of("z.txt", "d", "*.log")] == [
        "z.txt", "d/a.txt", "d/b.txt", "d/sub/c.txt", "y.log"
    ]  # fmt: skip
    assert [row.file for row in rows_of("./z.txt", "d/", "*.log")] == [
        "z.txt", "d/a.txt", "d/b.txt", "d/sub/c.txt", "y.log"
    ]  # fmt: skip
    assert [row.file for row in rows_of("**/[bc].txt")] == ["d/b.txt", "d/sub/c.txt"]


def test_a_name_has_one_spelling(tmp_path, monkeypatch):
    """Rows without an id are named after it, and so is a job: below the working directory from there, else from /."""
    here = tmp_path / "here"
    here.mkdir()
    write(here / "a.txt", "x")
    write(tmp_path / "b.txt", "y")
    monkeypatch.chdir(here)
    for given in ("a.txt", "./a.txt", "../here//a.txt", str(here / "a.txt"), "*.txt", "./*.txt", ".", f"{here}/"):
        (row,) = rows_of(given)
        assert row.file == "a.txt"
    for given in ("../b.txt", str(tmp_path / "b.txt"), f"{here}/../b.txt"):
        (row,) = rows_of(given)
        assert row.file == f"{tmp_path}/b.txt"
    (tmp_path / "link").symlink_to(here)  # a shell that went through it calls the working directory so
    for given in (f"{tmp_path}/link/a.txt", f"{tmp_path}/link/*.txt", f"{tmp_path}/link/", "../link/a.txt"):
        (row,) = rows_of(given)
        assert row.file == "a.txt"


def test_the_name_of_a_path_that_leads_out_of_a_link(tmp_path, monkeypatch):
    """It names the file that is read: ".." behind a link is where the link leads."""
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    write(tmp_path / "real" / "x.txt", "right")
    write(tmp_path / "other" / "x.txt", "wrong")
    (tmp_path / "other" / "l").symlink_to("../real/sub")
    monkeypatch.chdir(tmp_path)
    for given in (
        "other/l/../x.txt",
        f"{tmp_path}/other/l/../x.txt",
        "other/./l/../*.txt",
        "other/../other/l/../x.txt",
    ):
        (row,) = rows_of(given)
        assert (row.file, row.text) == ("real/x.txt", "right")
    plan = check_inputs(["other/x.txt", "other/l/../x.txt"], SourceOptions())
    assert [file.label for file in plan.files] == ["other/x.txt", "real/x.txt"]


def test_same_file_twice(tmp_path):
    """A file named twice, through a link or a pattern, is read once, and a notice says so."""
    first = write(tmp_path / "a.txt", "x\n")
    (tmp_path / "link.txt").symlink_to(first)
    (tmp_path / "loop").symlink_to(tmp_path)
    plan = check_inputs([str(first), str(tmp_path), str(tmp_path / "*.txt"), "-", "-"], SourceOptions())
    assert [source.label for source in plan.files] == [str(first), "-"]
    assert plan.notices == (
        f"{first}, {tmp_path}/link.txt are the same input as {first}: read once",
        "- is named more than once: read once",
    )


@pytest.mark.parametrize("links", [1, 2, 5])
def test_a_pattern_through_links_to_their_own_directory(tmp_path, links):
    """The system would follow one 40 times, and two along 2**40 ways; each directory is read once."""
    write(tmp_path / "b.txt", "x\n")
    (tmp_path / "c").mkdir()
    write(tmp_path / "c" / "d.txt", "y\n")
    for link in range(links):
        (tmp_path / f"a{link}").symlink_to(tmp_path)
        (tmp_path / "c" / f"a{link}").symlink_to("..")
    plan = check_inputs([f"{tmp_path}/**/*.txt"], SourceOptions())
    assert [file.label for file in plan.files] == [f"{tmp_path}/b.txt", f"{tmp_path}/c/d.txt"]
    assert not plan.notices


def test_a_pattern_that_matches_directories_and_their_files(tmp_path):
    """Each file is read once, without a word; a job in it is mentioned once."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    finished_job(tmp_path / "a" / "out")
    for name in ("a/1.txt", "a/b/2.txt"):
        write(tmp_path / name, "x\n")
    plan = check_inputs([f"{tmp_path}/**"], SourceOptions())
    assert [file.label for file in plan.files] == [f"{tmp_path}/a/1.txt", f"{tmp_path}/a/b/2.txt"]
    assert plan.notices == (f"{tmp_path}/a/out is the output directory of a job: left out",)


def test_names_that_are_no_pattern(tmp_path):
    """A file may have the characters of a pattern in its name, or bytes that are not UTF-8."""
    write(tmp_path / "[a]*.txt", "1")
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")), "2")
    assert [row.text for row in rows_of(tmp_path / "[a]*.txt")] == ["1"]
    rows = rows_of(tmp_path)
    assert [row.file for row in rows] == [f"{tmp_path}/[a]*.txt", f"{tmp_path}/\\xff.txt"]


def test_pipes(tmp_path):
    """A pipe that is named is read; a pipe in a directory, which would block forever, is left out."""
    os.mkfifo(tmp_path / "p.jsonl")
    write(tmp_path / "a.txt", "a")
    plan = check_inputs([str(tmp_path)], SourceOptions())
    assert [len(plan.files), plan.size_bytes] == [1, 1]
    assert "is not a regular file: left out" in plan.notices[0]
    writer = subprocess.Popen(
        [sys.executable, "-c", f"open({str(tmp_path / 'p.jsonl')!r}, 'w').write('{{\"text\": \"b\"}}')"]
    )
    assert [row.text for row in rows_of(tmp_path / "p.jsonl")] == ["b"]
    assert writer.wait() == 0


def test_which_input_needs_a_tokenizer(tmp_path):
    """The plan names the first input whose beginning shows text."""
    write(tmp_path / "a.jsonl", '{"tokens": [1]}\n{"text": "x"}\n')
    write(tmp_path / "b.csv", "id,text\n1,x\n")
    write(tmp_path / "c.txt", "x")
    assert check_inputs([str(tmp_path)], SourceOptions()).text_file == str(tmp_path / "b.csv")
    assert check_inputs([str(tmp_path / "a.jsonl")], SourceOptions()).text_file is None
    assert check_inputs([str(tmp_path / "c.txt")], SourceOptions(kind="tokens")).text_file is None


@pytest.mark.parametrize("before", ["\n", '{"txet": 1}\n', json.dumps({"text": "the cat " * 40_000}) + "\n"])
@pytest.mark.parametrize(("row", "is_text"), [('{"text": "x"}\n', True), ('{"tokens": [1]}\n', False)])
def test_the_first_row_that_can_be_used_shows_whether_there_is_text(tmp_path, before, row, is_text):
    """The first line may be bad, or longer than what is read at once."""
    path = tmp_path / "a.jsonl"
    write(path, before + row * 5)
    found = check_inputs([str(path)], SourceOptions()).text_file
    assert found == (str(path) if is_text or "cat" in before else None)


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "arrows"])
@pytest.mark.parametrize(("end", "encode"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_a_compressed_table_is_checked_too(tmp_path, suffix, end, encode):
    """Before anything is made: whether it has the field, and whether that is text."""
    path, none, damaged = (tmp_path / f"{name}.{suffix}.{end}" for name in ("a", "none", "damaged"))
    path.write_bytes(encode(table_bytes(pa.table({"text": ["x"]}), suffix)))
    none.write_bytes(encode(table_bytes(pa.table({"text": pa.array([], pa.string())}), suffix)))
    damaged.write_bytes(path.read_bytes()[:-9])
    assert check_inputs([str(path)], SourceOptions()).text_file == str(path)
    assert f"1 input has no rows: {none}" in check_inputs([str(none)], SourceOptions()).notices
    with pytest.raises(RequestError, match="has no column 'nope'; columns found: 'text'"):
        check_inputs([str(path)], SourceOptions(text_field="nope"))
    with pytest.raises(RequestError, match=r"data is (truncated|corrupt)"):
        check_inputs([str(damaged)], SourceOptions())


REFUSED = [
    ("a.txt.gz", b"plain text", "is named as gzip, but begins with 70 6c 61 69"),
    ("a.txt.zst", b"", "is named as zstd, but is empty"),
    ("a.txt", gzip.compress(b"x", mtime=0), "is gzip by its content, but not by its name"),
    ("a.gz", zstandard.compress(b"x"), "is zstd by its content"),
    ("a.txt.gz", b"\x1f\x8bgarbage and more", "the gzip data is corrupt"),
    ("a.txt", "x\n".encode("utf-16"), "is UTF-16 text; convert it"),
    ("a.txt", "x\n".encode("utf-32"), "is UTF-32 text; convert it (iconv -f UTF-32 "),
    ("b.csv", b"\0\0\xfe\xff" + "x\n".encode("utf-32-be"), "is UTF-32 text; convert it"),
    ("a.txt", b"PK\x03\x04....", "is a zip archive"),
    ("a.txt", b"PAR1....", "is parquet by its content, but not by its name; add --format parquet"),
    ("a.parquet", b"", "is not a parquet file"),
    ("a.parquet", b"PAR1 and nothing else PAR1", "can't be opened as parquet"),
    ("a.parquet", b"ORC", "is not a parquet file: it begins with 4f 52 43"),
    ("a.feather", b"FEA1\0\0\0\0", "is Feather of version 1; write it again as version 2 (pyarrow"),
    ("a.txt", b"FEA1\0\0\0\0", "is Feather of version 1"),
    ("a.csv", b"FEA1,FEA2\n1,2\n", "has no column 'text' or 'tokens'; columns found: 'FEA1', 'FEA2'"),
    ("a.arrow", b"ARROW1\0\0nothing", "can't be opened as arrow"),
    ("a.csv", b"", "is empty; the first line must name the columns"),
    ("a.csv", b"a,b\n1,2\n", "has no column 'text' or 'tokens'; columns found: 'a', 'b'"),
    ("a.csv", b"text,tokens\n", "has both columns 'text' and 'tokens'; choose one"),
    ("a.csv", b"text,text\n", "has the column 'text' 2 times"),
    ("a.csv", b"\xff,text\n", "its header can't be read: not UTF-8"),
    ("a.json", b"[\n", "is a JSON array; allowed: JSON lines"),
    ("a.json", b'{"a": 1}\n', "is not JSON lines"),
    ("a.parquet", table_bytes(pa.table({"text": [1]}), "parquet"), "column 'text' is of type int64; allowed"),
    ("a.arrow", table_bytes(pa.table({"tokens": [1.5]}), "arrow"), "allowed: a list of integers"),
    ("a.arrow", table_bytes(pa.table({"tokens": [["1"]]}), "arrow"), "allowed: a list of integers"),
    ("a.parquet", table_bytes(pa.table({"x": ["a"]}), "parquet"), "columns found: 'x'"),
    ("a.parquet", table_bytes(pa.table({"text": ["a"], "id": [1.5]}), "parquet"), "allowed for ids: text or"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_refused_before_anything_is_read(tmp_path, name, content, message):
    """The check of a file's beginning names the file, and says what is wrong and what to do."""
    path = write(tmp_path / name, content)
    with pytest.raises(RequestError) as caught:
        check_inputs([str(path)], SourceOptions())
    assert str(caught.value).startswith(f"input {path}: ")
    assert message in str(caught.value)
    assert not isinstance(caught.value, SourceError)


def test_inputs_that_are_not_there(tmp_path):
    """A missing file, a pattern without a match, an empty directory, or no input: the error says which."""
    (tmp_path / "broken.txt").symlink_to(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    for given_inputs, message in [
        ([], "no input given"),
        ([f"{tmp_path}/no"], "no such file or directory"),
        (["with\0nul"], "no such file"),
        ([f"{tmp_path}/*.no"], "no file matches this pattern"),
        ([f"{tmp_path}/empty"], "has no file"),
        ([f"{tmp_path}/broken.txt"], f"is a symbolic link to {tmp_path}/gone, which doesn't exist"),
    ]:
        with pytest.raises(RequestError) as caught:
            check_inputs(given_inputs, SourceOptions())
        assert message in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "xml"}, {"kind": "both"}, {"text_field": "tokens"}, {"max_row_bytes": 0},
        {"batch_rows": 0}, {"tick_seconds": 0}, {"tick_seconds": float("nan")},
        {"follow": True, "format": "parquet"},
    ],
)  # fmt: skip
def test_options_that_cannot_be(options):
    """Impossible options are refused when they are given."""
    with pytest.raises(RequestError):
        SourceOptions(**options)


def test_follow_takes_standard_input_alone(tmp_path):
    """Only standard input can be followed."""
    with pytest.raises(RequestError, match="--follow reads only standard input"):
        check_inputs([str(tmp_path)], SourceOptions(follow=True))


def test_a_jobs_own_output_is_no_input(tmp_path, monkeypatch):
    """`enqueue . --out vectors` may be given again: its parts and its log are left out, and a notice says so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("a.jsonl", "sub/b.jsonl"):
        write(tmp_path / name, '{"tokens": [1, 2]}\n')
    finished_job(tmp_path / "sub" / "vectors", shards=2, bad=[0])
    for given in (".", "**/*", "**/*.jsonl", "*", "*/**/*.jsonl"):
        plan = check_inputs(("a.jsonl", given), SourceOptions())
        assert {os.path.normpath(file.label) for file in plan.files} == {"a.jsonl", "sub/b.jsonl"}
        if given.endswith(".jsonl"):  # nothing in that directory matches
            continue
        assert any("sub/vectors is the output directory of a job: left out" in notice for notice in plan.notices), given


def test_the_files_of_a_model_are_no_input(tmp_path, monkeypatch):
    """As `model fit corpus --out corpus/model` makes one. What else is in its directory is read, and what is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub" / "model").mkdir(parents=True)
    write(tmp_path / "sub" / "a.jsonl", '{"tokens": [1, 2]}\n')
    for name in ("config.json", "model.safetensors", "head.safetensors", "training.json"):
        write(tmp_path / "sub" / "model" / name, "{}")
    for given in ("sub", "**/*", "*"):
        plan = check_inputs([given], SourceOptions())
        assert [file.label for file in plan.files] == ["sub/a.jsonl"]
        assert plan.notices == ("sub/model has a model, whose files are left out",)
    with pytest.raises(
        RequestError, match="input sub/model: all that could be read is left out: sub/model has a model"
    ):
        check_inputs(["sub/model"], SourceOptions())
    with pytest.raises(
        RequestError, match=r"model/\*: all that could be read is left out: sub/model has a model, whose files"
    ):
        check_inputs(["sub/model/*"], SourceOptions())
    assert len(check_inputs(["sub/model/config.json"], SourceOptions(format="text")).files) == 1
    (tmp_path / "sub" / "model" / "data").mkdir()
    for name in ("train.jsonl", "data/b.jsonl"):
        write(tmp_path / "sub" / "model" / name, '{"tokens": [1]}\n')
    for given in ("sub/model", "sub/model/**", "*/model/**/*.jsonl"):
        plan = check_inputs([given], SourceOptions())
        assert {file.label for file in plan.files} == {"sub/model/train.jsonl", "sub/model/data/b.jsonl"}


def test_a_jobs_output_directory_alone_is_no_input(tmp_path, monkeypatch):
    """The error says how its parts are named."""
    monkeypatch.chdir(tmp_path)
    finished_job(tmp_path / "vectors", shards=1)
    with pytest.raises(RequestError, match=r"input vectors: is the output directory of a job; .*'vectors/\*.parquet'"):
        check_inputs(["vectors"], SourceOptions())


def test_an_output_that_is_named_is_an_input(tmp_path, monkeypatch):
    """Parts with token ids can be the input of another job."""
    monkeypatch.chdir(tmp_path)
    finished_job(tmp_path / "vectors", shards=2, options=OutputSpec(with_tokens=True).to_options())
    plan = check_inputs(("vectors/part-*.parquet",), SourceOptions())
    assert [file.label for file in plan.files] == sorted(path.as_posix() for path in Path("vectors").glob("*.parquet"))


def test_files_whose_format_is_unclear(tmp_path):
    """A README beside tables is most likely no row: a directory or pattern with both is refused, and says how to go on.

    Files that the user names are read, and a line says in which formats.
    """
    place = tmp_path / "data"
    (place / "more").mkdir(parents=True)
    for name in ("_SUCCESS", ".hidden", ".tmp.parquet"):
        write(place / name, b"x")
    for name in ("a.parquet", "more/b.parquet"):
        write(place / name, content_of("parquet", TEXTS, None, None))
    assert [row.file for row in rows_of(place) if row.position == 0] == [
        f"{place}/a.parquet",
        f"{place}/more/b.parquet",
    ]
    write(place / "more" / "empty", b"")
    for name in ("README.md", "more/LICENSE"):
        write(place / name, b"# About\n")
    (place / "_SUCCESS").unlink()  # a pattern matches it
    for given, pattern in ((f"{place}/", f"{place}/**/*.parquet"), (f"{place}/**", "*.parquet")):
        with pytest.raises(RequestError) as caught:
            check_inputs([given], SourceOptions())
        assert str(caught.value) == (
            f"input {given}: has parquet files, and 2 files whose names show no format: {place}/README.md, "
            f"{place}/more/LICENSE. Give a pattern for the files that are meant, such as '{pattern}', or --format if "
            "all have one format"
        )
    for name in ("a.txt", "a.JSONL.GZ", "b.JSONL.GZ", "c.JSONL.GZ"):  # the pattern is that of most files
        write(place / name, b"")
    pattern = rf"{place}/\*\*/\*\.JSONL\.GZ"
    with pytest.raises(RequestError, match=f"has jsonl, parquet and text files.*such as '{pattern}'"):
        check_inputs([str(place)], SourceOptions())
    assert len(rows_of(f"{place}/**/*.parquet")) == 2 * len(TEXTS)
    plan = check_inputs([f"{place}/*.parquet", f"{place}/README.md"], SourceOptions())
    assert plan.notices == (f"the inputs have 2 formats: 1 parquet file; 1 text file: {place}/README.md",)
    assert len(rows_of(write(tmp_path / "README.md", "a\nb\n"))) == 2
