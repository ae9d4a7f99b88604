"""The check of an input's first bytes, before anything is queued."""

from collections.abc import Sequence
from itertools import chain
from pathlib import PurePath
from typing import NamedTuple

from producer.sources.discovery import SourceFile
from producer.sources.errors import DamagedInputError
from producer.sources.first_rows import check_rows, read_rows
from producer.sources.formats.delimited import DELIMITERS, Records, Unreadable, has_header, header_columns
from producer.sources.formats.encoding import check_encoding
from producer.sources.formats.jsonl import json_object, row_field
from producer.sources.formats.lines import LongLine, split_lines
from producer.sources.options import SourceOptions
from producer.sources.places.place import Place
from producer.sources.streams.compression import raw_chunks, sniff, unpacked
from unrolled.errors import RowError, counted
from unrolled.patience import at_once

# First bytes of files that are refused, so that they are never read as text by accident.
_ALLOWED = "allowed: plain, .gz or .zst"
_FOREIGN = {
    b"PK\x03\x04": f"a zip archive; {_ALLOWED}",
    b"\xfd7zXZ": f"xz-compressed; {_ALLOWED}",
    b"BZh91AY": f"bzip2-compressed; {_ALLOWED}",
    b"\xff\xfe": "UTF-16 text; convert it (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "UTF-16 text; convert it (iconv -f UTF-16 -t UTF-8)",
    b"SQLite format 3\0": f"an SQLite database; {_ALLOWED}",
    b"%PDF-": f"a PDF document; {_ALLOWED}",
}
_TABLES = {b"PAR1": "parquet", b"ARROW1": "arrow"}
#: Inputs without a row that are named; the others are counted.
_NAMED = 3


class Head(NamedTuple):
    """The facts that an input's beginning shows.

    Attributes:
        holds_text: whether the rows contain text.
        is_empty: whether it is known that there is no row.
    """

    holds_text: bool
    is_empty: bool = False


def check_head(source: SourceFile, place: Place, options: SourceOptions) -> Head:
    """Check the beginning of an input.

    Args:
        source: the input.
        place: where it is; no pipe, whose first bytes can't be put back.
        options: the names of the fields, and whether the user named the format.

    Raises:
        DamagedInputError: the content doesn't match the name or the format, or lacks a field.
    """
    with place.open(at_once) as file:
        raw = raw_chunks(file)
        first = next(raw, b"")
        _check_compression(first[:16], source)
        chunks = unpacked(chain([first], raw) if first else raw, source.compression)
        head = next(chunks, b"")
        _check_content(head, source, options)
        if options.id_first_word and source.format != "text":
            raise DamagedInputError(
                f"is {source.format}; --id-first-word is for plain text, --id-field for other formats"
            )
        if source.format not in ("parquet", "arrow"):
            holds_text = _lines_hold_text(head, source, options)
            return Head(holds_text, not check_rows(source, read_rows(source, chain([head], chunks), options)))
    if source.compression != "none":
        # The schema may be at the end; it is checked after the file has been decompressed.
        return Head(options.kind == "text")
    from producer.sources.formats.tables import check_table  # noqa: PLC0415 - pyarrow is slow to import

    columns, rows = check_table(place, source.format, options, at_once)
    return Head(columns.is_text, rows == 0)


def notices_of_empty(labels: Sequence[str]) -> list[str]:
    """A line for people about inputs without a row; none where each has rows.

    Args:
        labels: of those inputs.
    """
    if not labels:
        return []
    more = f" and {len(labels) - _NAMED:,} more" if len(labels) > _NAMED else ""
    return [f"{counted(len(labels), 'input has', 'inputs have')} no rows: {', '.join(labels[:_NAMED])}{more}"]


def _check_compression(magic: bytes, source: SourceFile) -> None:
    found = sniff(magic)
    if found == source.compression:
        return
    if found == "none":
        start = f"begins with {magic[:4].hex(' ')}" if magic else "is empty"
        raise DamagedInputError(f"is named as {source.compression}, but {start}; rename or replace it")
    raise DamagedInputError(f"is {found} by its content, but not by its name; end its name in .gz or .zst")


def _check_content(head: bytes, source: SourceFile, options: SourceOptions) -> None:
    if source.format in ("parquet", "arrow"):
        magic = b"PAR1" if source.format == "parquet" else b""
        if not head.startswith(magic) or not head:
            article = "an" if source.format == "arrow" else "a"
            raise DamagedInputError(
                f"is not {article} {source.format} file: it begins with {head[:4].hex(' ') or 'nothing'}"
            )
        return
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise DamagedInputError(f"is {what}")
    for magic, what in _TABLES.items():
        if options.format is None and head.startswith(magic):
            raise DamagedInputError(f"is {what} by its content, but not by its name; add --format {what}")
    check_encoding(head)


def _lines_hold_text(head: bytes, source: SourceFile, options: SourceOptions) -> bool:
    if source.format == "text":
        return options.kind != "tokens"
    lines = next(split_lines([head], options.max_row_bytes), [])
    if source.format == "jsonl":
        return _json_holds_text(lines, source, options)
    records = Records(DELIMITERS[source.format], options.max_row_bytes)
    header = next(records.push(lines), None)
    if header is not None and (has_header(options) or not isinstance(header, Unreadable)):
        return header_columns(header, options).is_text
    if not head and has_header(options):
        raise DamagedInputError("is empty; the first line must name the columns")
    return options.kind == "text"


def _json_holds_text(lines: list[bytes | LongLine], source: SourceFile, options: SourceOptions) -> bool:
    if not lines or isinstance(lines[0], LongLine):
        return options.kind == "text"
    try:
        return row_field(json_object(lines[0]), options) != options.numbers_field
    except RowError as error:
        name = PurePath(source.label)
        if options.format is None and ".json" in (name.suffix, PurePath(name.stem).suffix):
            # With this extension, the file may be one JSON value instead of lines.
            raise DamagedInputError(
                f"is not JSON lines (first line: {error}); write one object on each line, or give --format"
            ) from error
        return options.kind == "text"
