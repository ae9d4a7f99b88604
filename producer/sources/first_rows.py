"""Rows of inputs that are read from their start to their end, and a look at the first ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

from producer.sources.discovery import SourceFile
from producer.sources.errors import DamagedInputError
from producer.sources.formats.delimited import DELIMITERS, LineEnds, read_delimited
from producer.sources.formats.fasta import read_fasta
from producer.sources.formats.fields import NO_ID, NO_STATE, NOT_SPACED
from producer.sources.formats.jsonl import json_parser
from producer.sources.formats.lines import read_lines, text_parser
from producer.sources.options import SourceOptions
from producer.sources.rows import BadRow, SourceBatch
from unrolled.tokenization.token_ids import NO_INTEGER

#: Rows of an input of which one at least must be usable.
_FIRST_ROWS = 1000
#: Batches that are looked at for them; of long lines, each has 256 KiB.
_FIRST_BATCHES = 64


class FirstRows(NamedTuple):
    """The facts that an input's first rows show.

    Attributes:
        is_empty: whether it is known that there is no row.
        usable: the first row that can be used; None if there is none, or if rows are so long that it wasn't looked for.
    """

    is_empty: bool
    usable: object = None


def read_rows(
    source: SourceFile,
    chunks: Iterable[bytes],
    options: SourceOptions,
    on_line_ends: Callable[[LineEnds], None] | None = None,
) -> Iterator[SourceBatch]:
    """Yield the rows of an input whose format is text, JSON lines, FASTA, CSV or TSV.

    Args:
        source: the input.
        chunks: its content; an empty chunk gives an empty batch.
        options: how it is read.
        on_line_ends: as `read_delimited` takes it.

    Raises:
        DamagedInputError: there is no header where one must be, or it lacks a column.
    """
    if source.format == "text":
        yield from read_lines(chunks, source.label, options, text_parser(source.label, options), empty_rows=True)
    elif source.format == "jsonl":
        yield from read_lines(chunks, source.label, options, json_parser(source.label, options), empty_rows=False)
    elif source.format == "fasta":
        yield from read_fasta(chunks, source.label, options)
    else:
        yield from read_delimited(chunks, source.label, DELIMITERS[source.format], options, on_line_ends)


def check_rows(
    source: SourceFile, batches: Iterator[Sequence[object]], kind: str, *, is_json: bool = False
) -> FirstRows:
    """Refuse an input whose first rows are all bad: most likely an option is wrong, and no row can be used.

    Args:
        source: the input.
        batches: batches of its rows, tokenized or not; closed at the end.
        kind: of the rows, as in `SourceOptions`.
        is_json: whether its lines are JSON objects, but are read as text.

    Raises:
        DamagedInputError: there is a row, and none of the first 1,000 can be used.
    """
    first: BadRow | None = None
    seen = 0
    with closing(batches) as some:  # type: ignore[type-var]  # a generator
        for batch in islice(some, _FIRST_BATCHES):
            for row in batch[: _FIRST_ROWS - seen]:
                if not isinstance(row, BadRow):
                    return FirstRows(is_empty=False, usable=row)
                first, seen = first or row, seen + 1
            if seen >= _FIRST_ROWS:
                break
        else:
            if next(some, None) is not None:
                return FirstRows(is_empty=False)  # rows are so long that a few say nothing
    if first is not None:
        rows = "its only row can't be used" if seen == 1 else f"none of its first {seen:,} rows can be used"
        raise DamagedInputError(
            f"{rows}; row {first.position}: {first.reason}. {_advice(source, first, kind, is_json=is_json)}"
        )
    return FirstRows(is_empty=True)


def _advice(source: SourceFile, first: BadRow, kind: str, *, is_json: bool) -> str:
    """What to do about an input whose first rows are bad."""
    if advice := _of_reason(source, first):
        return advice
    if is_json:
        return f"{source.label} looks like JSON lines: give --format jsonl"
    if first.reason.startswith("token '") and NO_INTEGER in first.reason:
        return _of_words(source)
    if source.format == "fasta":
        return f"Correct {source.label}, or give --format if it has another one"
    is_about_ids = first.reason.startswith(NO_ID) and source.format != "text"
    option = "--id-field" if is_about_ids else f"--{'text' if kind == 'auto' else kind}-field"
    if first.reason.startswith("has no ") and NO_STATE in first.reason:
        option = "--initial-state-field"
    return f"Correct the options that say how {source.label} is read, such as {option}, or the file"


def _of_words(source: SourceFile) -> str:
    """What to do about an input whose token ids are words."""
    if source.format == "text" or source.format in DELIMITERS:
        return f"If {source.label} has texts, give --kind text; if it has ids, correct the file"
    return (
        f"If {source.label} has lists of words, join each list into one text, with blanks, and give --kind text; if it "
        "has ids, write them as integers"
    )


def _of_reason(source: SourceFile, first: BadRow) -> str:
    """What to do if the reason says it; else empty."""
    if first.reason.startswith("not UTF-8") and source.format not in ("parquet", "arrow"):
        return f"Convert {source.label} to UTF-8 (iconv -f ISO-8859-1 -t UTF-8, if it is Latin-1)"
    if "(--max-row-bytes)" in first.reason:
        return f"Give a larger --max-row-bytes, or shorten the rows of {source.label}"
    if source.format == "jsonl" and first.reason.startswith("not JSON"):
        return f"Give --format if {source.label} isn't JSON lines; else correct the file"
    if first.reason.startswith(NOT_SPACED):
        return f"Write the ids in {source.label} so, or give them as lists in JSON lines or Parquet"
    return ""
