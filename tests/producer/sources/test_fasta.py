"""FASTA: a row for each record, whatever is between them and however the file is divided."""

import gzip
import io
import os
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.inputs import COMPRESS, plain, rows_of, write

from producer.sources.formats.fasta import looks_like_fasta, read_fasta
from producer.sources.options import SourceOptions
from producer.sources.reading import check_inputs, read_batches
from producer.sources.rows import BadRow
from unrolled.errors import OptionError, RequestError

PROTEINS = b">sp|P1|ONE_HUMAN First protein OS=Homo sapiens\nMKV LIT\nacd*\n>two\n\n>three\r\n; a comment\r\nM-X.*K\r\n"
ROWS = [("MKVLITacd", None, "sp|P1|ONE_HUMAN"), ("", None, "two"), ("M-X.*K", None, "three")]

line = st.one_of(
    st.sampled_from([b">a one", b">b", b"> c", b">", b">>", b";x", b";", b"", b" ", b"\r", b">d\re", b"A\rC", b"AC>d"]),
    st.sampled_from([b"ACGT", b"A C\tG", b"*", b"K*", b"acgt", b"\xc3\xa9", b"\xff", b">\xff", b"\xe2\x80\x83M"]),
    st.binary(max_size=12).map(lambda content: content.replace(b"\n", b"")),
)


def read(chunks, limit=2**24, batch_rows=3):
    batches = read_fasta(chunks, "f", SourceOptions(max_row_bytes=limit, batch_rows=batch_rows))
    return [row for batch in batches for row in batch]


def expected(content, limit):
    """The records, by their definition: id and text, or None for a bad record."""
    records = []
    for given_line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if given_line.startswith(b">"):
            records.append([given_line])
        elif not given_line.startswith(b";") and (given_line.strip(SPACES) or records or is_dropped(given_line, limit)):
            if not records:
                records.append([None])
            records[-1].append(given_line)
    return [record_of(*record, limit=limit) for record in records]


def is_dropped(line, limit):
    """Whether a line is so long that its white space isn't looked for."""
    return len(line.removesuffix(b"\r")) > limit + limit // 8 + 1


SPACES = b" \t\n\r\v\f\x1c\x1d\x1e\x1f"


def record_of(header, *lines, limit):
    if header is None or any(b"\r" in each.rstrip(SPACES) for each in lines) or b"\r" in header.rstrip(b"\r"):
        return None
    try:
        words = header[1:].split()
        identity = words[0].decode() if words else None
        text = "".join("".join(each.decode().split()) for each in lines)
    except UnicodeDecodeError:
        return None
    is_long = len(text.removesuffix("*").encode()) > limit or any(is_dropped(each, limit) for each in lines)
    return None if is_long or ">" in text else (identity, text.removesuffix("*"))


@settings(deadline=None)
@given(st.lists(line, max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(0, 90)), st.booleans(),
       st.sampled_from([1, 4, 9, 10**6]))  # fmt: skip
def test_rows_are_those_of_the_whole(lines, end, cuts, marked, limit):
    """For any division into chunks, each record gives one row, in order: that of its definition."""
    content = b"\xef\xbb\xbf" * marked + end.join(lines)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    rows = read([content[start:stop] for start, stop in pairwise(edges)], limit)
    assert rows == read([content], limit) == read([content[at : at + 1] for at in range(len(content))], limit)
    assert [row.position for row in rows] == list(range(len(rows)))
    assert [None if isinstance(row, BadRow) else (row.id, row.text) for row in rows] == expected(content, limit)


@given(st.lists(st.tuples(st.text("AZz9|_.", min_size=1), st.text("ACDEacde-*", max_size=200)), max_size=8),
       st.integers(1, 70), st.sampled_from(["\n", "\r\n"]))  # fmt: skip
def test_round_trip(records, width, end):
    """Sequences come back from lines of any width."""
    wrapped = [
        [f">{name} described", *(sequence[at : at + width] for at in range(0, len(sequence), width))]
        for name, sequence in records
    ]
    content = end.join(each for record in wrapped for each in record)
    found = [(row.id, row.text) for row in read([content.encode()])]
    assert found == [(name, sequence.removesuffix("*")) for name, sequence in records]


@pytest.mark.parametrize("compression", list(COMPRESS))
@pytest.mark.parametrize("ending", ["fasta", "fa", "faa", "fna", "ffn", "fas", "FASTA"])
def test_files(tmp_path, ending, compression):
    """A file's name shows the format; nothing is said of it."""
    path = write(tmp_path / f"p.{ending}{compression}", PROTEINS, COMPRESS[compression])
    assert [plain(row) for row in rows_of(path)] == ROWS
    assert check_inputs([str(path)], SourceOptions()).notices == ()


@pytest.mark.parametrize("compression", list(COMPRESS))
def test_standard_input(compression):
    """The option names the format of a stream."""
    stdin = io.BufferedReader(io.BytesIO(COMPRESS[compression](PROTEINS)))
    assert [plain(row) for row in rows_of("-", stdin=stdin, format="fasta")] == ROWS


def test_a_live_stream():
    """A row arrives when the next header does, or when the stream ends."""
    reader, writer = os.pipe()
    options = SourceOptions(follow=True, format="fasta", tick_seconds=0.01)
    with os.fdopen(reader, "rb", 0) as stdin, os.fdopen(writer, "wb", 0) as out:
        batches = read_batches(check_inputs(["-"], options), options, stdin=stdin)
        out.write(b">a\nAC\n")
        assert [next(batches), next(batches)] == [[], []]
        out.write(b"GT\n>b\n")
        assert [plain(row) for row in next(batch for batch in batches if batch)] == [("ACGT", None, "a")]
        out.write(b"TT")
        out.close()
        assert [plain(row) for batch in batches for row in batch] == [("TT", None, "b")]


def test_reasons(tmp_path):
    """A bad record costs itself alone, and its reason says what was found."""
    content = (
        b"no header\nyet\n>a\nAC\n>b\nACGT>c d\nGG\n>\xff\nA\n>e\nA\xff\n>"
        + b"f" * 3000
        + b"\nA\n>g\r>h\rAC\n>i\nA\rC\n"
        b">\nAC\n>long\n" + b"ACGT\n" * 2000 + b">last\nAC"
    )
    rows = rows_of(write(tmp_path / "a.fa", content), max_row_bytes=4000)
    assert [(row.id, row.reason if isinstance(row, BadRow) else row.text) for row in rows] == [
        (None, "text before the first header, which begins with '>'"),
        ("a", "AC"),
        ("b", "'>' inside its sequence; begin each header on a new line"),
        (None, "not UTF-8: byte 0xff at byte 0 of the row"),
        ("e", "not UTF-8: byte 0xff in its sequence"),
        (None, "id of 3000 or more bytes; allowed: 1024"),
        (None, "a carriage return inside a line; end lines with a line feed, as `tr '\\r' '\\n'` does"),
        ("i", "a carriage return inside a line; end lines with a line feed, as `tr '\\r' '\\n'` does"),
        (None, "AC"),
        ("long", "sequence of 8000 bytes; allowed: 4000 (--max-row-bytes)"),
        ("last", "AC"),
    ]


@pytest.mark.parametrize("step", [1, 3, 10**6])
@pytest.mark.parametrize("sequence", ["ACDEFGHIKL", "ACDEF GHIKL", "ACDEFGHIKL*", "ACDEF\nGHIKL\n*", " \nACDEFGHIKL"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_limit_is_that_of_the_letters(step, sequence, end):
    """Neither ends of lines count, nor white space, nor the stop at the end."""
    content = f">a\n{sequence}\n>b\n{sequence.replace('L', 'LM')}\n".replace("\n", end).encode()
    good, bad = read([content[at : at + step] for at in range(0, len(content), step)], limit=10)
    assert good.text == "ACDEFGHIKL"
    assert bad.reason == "sequence of 11 bytes; allowed: 10 (--max-row-bytes)"


@pytest.mark.parametrize("step", [1, 700, 10**6])
def test_headers_may_be_longer_than_rows(step):
    """Only the sequence has a limit, and a long header still begins a record, however it arrives."""
    content = (
        b"\xef\xbb\xbf>a " + b"described " * 500 + b"\nAC\n>b " + b"x" * 5000 + b"\nGT\n; " + b"c" * 5000 + b"\nAC"
    )
    rows = read([content[at : at + step] for at in range(0, len(content), step)], limit=10)
    assert [(row.id, row.text) for row in rows] == [("a", "AC"), ("b", "GTAC")]


@pytest.mark.parametrize("piece", [b"ACGTACG\n", b"A" * 8191 + b"\n", b"A" * 8192, b">", b"; c ccc\n"])
def test_memory_is_bounded(piece):
    """A record without end takes little more memory than the longest row and a chunk."""
    chunk = (piece * 8192)[:8192]
    tracemalloc.start()
    try:
        rows = read(iter([b">a\n", *[chunk] * 64]), limit=2**14)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(rows) == (2 if piece == b">" else 1)
    assert peak < len(chunk) * 24


@pytest.mark.parametrize(("content", "message"), [
    (b"just\nsome\ntext\n", "is not FASTA: its first 3 lines have no header, which begins with '>'; name its format"),
    (b"no line end", "its only row can't be used; row 0: text before the first header"),
    (b">a\rACGT\r>b\rGG", "ends its lines in carriage returns alone; end them in line feeds"),
    (gzip.compress(b">a\nA", mtime=0), "is gzip by its content, but not by its name"),
])  # fmt: skip
def test_other_content(tmp_path, content, message):
    """It is refused before anything is queued."""
    with pytest.raises(RequestError, match=r"a\.fasta: ") as caught:
        rows_of(write(tmp_path / "a.fasta", content))
    assert message in str(caught.value)


def test_comments_alone_are_no_rows(tmp_path):
    """An input without a record is named as empty."""
    path = write(tmp_path / "a.fasta", "; nothing\n\n; here\n")
    assert rows_of(path) == []
    assert check_inputs([str(path)], SourceOptions()).notices == (f"1 input has no rows: {path}",)


@pytest.mark.parametrize("head", [
    b">sp|P1|X desc\nMKVLITGASSG\n", b">a\nacgtnnacgt\n", b"\xef\xbb\xbf; c\n>a\r\n\r\nMKVL*\r\n", b">a\n>b\nACGT\n>c",
    b">a\nMkvlitgassgigmkvlitgassgigmkvlitg\n", b">a\nMK\n>b\nMKVLITGASSG\n", b">a\nMKV\n>b\nGH\n>c\nW",
    b">a\nac\n>b\ngt\n", b">a\nMkv\n>b\nMkvlitgassgigmkvlitgassgigmkvlitg\n",
])  # fmt: skip
def test_fasta_under_another_name(tmp_path, monkeypatch, head):
    """Each line is a text there, and a line says so; a format that the user names is not in doubt."""
    path = write(tmp_path / "a.txt", head)
    assert check_inputs([str(path)], SourceOptions()).notices == (
        f"1 input looks like FASTA, but each whole line is read as text: {path}; --format fasta reads the sequences",
    )
    assert check_inputs([str(path)], SourceOptions(format="text")).notices == ()
    with path.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        assert "--format fasta" in check_inputs(["-"], SourceOptions()).notices[0]


@pytest.mark.parametrize("head", [
    b"> quoted\nhello\n", b">\n", b"> a\n> b\nI agree with you.\n", b"MKVLIT\n>a\nMKVLIT\n", b"", b">>> print(1)\n1\n",
    b">\nthe\ncommonest\nwords\nof\na\nlanguage\none\nin\neach\nline\n", b">OK\nNO\n", b"> a\nYES\n> b\nWell, no.\n",
])  # fmt: skip
def test_text_that_is_no_fasta(head):
    """Quotations begin with the same sign."""
    assert not looks_like_fasta(head)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"@read1 lane 2\nACGT\n+\nIIII\n@read2\nAC\n+\nII\n", "1 input looks like FASTQ, but"),
        (b"LOCUS       SCU49845     5028 bp    DNA             PLN\n", "1 input looks like GenBank records, but"),
        (b"@alice hello\nHey\n+1\nI am\n", None),
        (b"LOCUS is a Latin word\n", None),
    ],
)
def test_other_formats_of_sequences(tmp_path, content, line):
    """They can't be read, and their lines would be rows."""
    path = tmp_path / "reads.seq"
    path.write_bytes(content)
    found = check_inputs([str(path)], SourceOptions()).notices
    if line is None:
        assert found == ()
    else:
        assert found[0].startswith(line)
        assert found[0].endswith("to FASTA, of which the sequences are read")


def test_the_advice_about_bad_sequences_can_be_followed(tmp_path):
    """FASTA has no fields, so no field is named wrongly."""
    path = tmp_path / "a.fasta"
    path.write_bytes(b">a\nAC\xff\n>b\n\xff\xff\n")
    with pytest.raises(RequestError) as caught:
        check_inputs([str(path)], SourceOptions(max_row_bytes=1))
    assert "--text-field" not in str(caught.value)
    assert str(caught.value).endswith(f"Give a larger --max-row-bytes, or shorten the rows of {path}")


def test_options_of_other_formats(tmp_path):
    """They are refused, with what to do."""
    path = str(write(tmp_path / "a.fa", PROTEINS))
    for options, message in [
        ({"kind": "tokens"}, "is read as fasta, which holds texts, not token ids; leave out --kind tokens"),
        ({"kind": "vectors"}, "is read as fasta, which can't hold vectors"),
        (
            {"id_first_word": True},
            "--id-first-word is for plain text, and the input is fasta; in FASTA, it is so without it",
        ),
        ({"quotes": False}, "--no-quotes is for CSV and TSV, and the input is fasta"),
    ]:
        with pytest.raises((RequestError, OptionError), match=message):
            check_inputs([path], SourceOptions(**options))
