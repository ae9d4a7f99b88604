"""The check of an input's first bytes, before anything is queued."""

# Over 150 lines: the beginnings of all formats, each looked at in its own way.

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import PurePath
from typing import NamedTuple

from producer.sources.discovery import SourceFile
from producer.sources.errors import DamagedInputError
from producer.sources.first_rows import check_rows, read_rows
from producer.sources.formats.content import check_compression, check_content
from producer.sources.formats.delimited import DELIMITERS, Records, Unreadable, has_header, header_columns
from producer.sources.formats.fasta import check_fasta, looks_like_fasta, looks_like_fastq, looks_like_genbank
from producer.sources.formats.jsonl import json_object, looks_like_json, row_field
from producer.sources.formats.lines import BYTE_ORDER_MARK, LongLine, split_lines
from producer.sources.json_conversion import conversion_of
from producer.sources.options import Compression, SourceOptions
from producer.sources.places.local_file import LocalFile
from producer.sources.places.place import Place
from producer.sources.rows import SourceRow
from producer.sources.streams.compression import raw_chunks, unpacked
from producer.sources.streams.spool import MOST_LOOK_BYTES, spooled
from unrolled.errors import RowError, as_argument
from unrolled.patience import at_once

_UNPACK: dict[Compression, str | None] = {"none": None, "gzip": "gzip -dc", "zstd": "zstd -dc"}


class Head(NamedTuple):
    """The facts that an input's beginning shows.

    Attributes:
        holds_text: whether the rows contain text.
        is_empty: whether it is known that there is no row.
        looks_like: the format that it seems to have, if that isn't text, as which it is read.
        has_arrived: of standard input, whether its first bytes are in its buffer.
        other_id: see `SourceOptions.other_id`.
    """

    holds_text: bool
    is_empty: bool = False
    looks_like: str | None = None
    has_arrived: bool = False
    other_id: str | None = None


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
        beginning = next(raw, b"")
        check_compression(beginning, source.compression)
        chunks = unpacked(chain([beginning], raw) if beginning else raw, source.compression)
        head = next(chunks, b"")
        check_content(head, source.format, is_named=options.format is not None)
        if options.id_first_word and source.format != "text":
            instead = "in FASTA, it is so without it" if source.format == "fasta" else "--id-field for other formats"
            raise DamagedInputError(f"is {source.format}; --id-first-word is for plain text, {instead}")
        if source.format not in ("parquet", "arrow"):
            with _advised(head, source, options):
                found = _head_of_lines(head, source, options)
                looks_like = look_of_text(head, source, options)
                batches = read_rows(source, chain([head], chunks), options)
                first = check_rows(source, batches, options.kind, is_json=looks_like == "jsonl")
            if isinstance(first.usable, SourceRow):  # the line before it may be too long, or bad
                found = found._replace(holds_text=first.usable.text is not None)
            return found._replace(is_empty=first.is_empty, looks_like=looks_like)
        if source.compression != "none":
            if place.is_distant or (place.size_bytes or 0) > MOST_LOOK_BYTES:
                return Head(options.kind == "text")  # it is unpacked once, and checked when it is read
            with spooled(chain([head], chunks)) as path:  # the schema may be at the end
                return _head_of_table(LocalFile.of(str(path)), source, options)
    return _head_of_table(place, source, options)


def _head_of_table(place: Place, source: SourceFile, options: SourceOptions) -> Head:
    from producer.sources.formats.tables import check_table  # noqa: PLC0415 - pyarrow is slow to import

    columns, rows = check_table(place, source.format, options, at_once)
    return Head(columns.is_text, rows == 0, other_id=columns.other_id)


@contextmanager
def _advised(head: bytes, source: SourceFile, options: SourceOptions) -> Iterator[None]:
    """Say what to do with JSON that isn't an object on each line, or that is taken for a table."""
    try:
        yield
    except DamagedInputError as error:
        text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
        if source.format in DELIMITERS and has_header(options) and looks_like_json(text):
            found = f"is read as {source.format.upper()}, but looks like JSON lines: give --format jsonl"
            raise DamagedInputError(found) from error
        if source.format != "jsonl" or not (text.startswith(b"[") or _is_object_of_lines(text)):
            raise
        found, program, condition = conversion_of(text.decode(errors="replace"))
        way = f". Convert it{f' ({condition})' if condition else ''}: {_converting(source, program)}" if program else ""
        raise DamagedInputError(f"{found}; allowed: JSON lines, with one object on each line{way}") from error


def _is_object_of_lines(text: bytes) -> bool:
    """Whether a JSON object begins that takes several lines, as programs write it for people."""
    return text.split(b"\n", 1)[0].strip() == b"{"


def _converting(source: SourceFile, program: str) -> str:
    """The command that makes JSON lines of an input; of a file on a disk, into another file beside it."""
    split = f"jq -c '{program}'"
    if source.place is None or source.place.is_distant:
        return split
    path = PurePath(source.label)
    stem = path.name.split(".json")[0].split(".ndjson")[0]
    lines = path.with_name(f"{stem}.jsonl")
    for number in count(1):
        if lines != path and not os.path.lexists(lines):
            break
        lines = path.with_name(f"{stem}-{number}.jsonl")
    if (unpack := _UNPACK[source.compression]) is None:
        return f"{split} {as_argument(path)} > {as_argument(lines)}"
    return f"{unpack} {as_argument(path)} | {split} > {as_argument(lines)}"


def look_of_text(head: bytes, source: SourceFile, options: SourceOptions) -> str | None:
    """The format that text seems to have, if neither its name nor an option says so; None if it looks like text.

    Args:
        head: the first bytes, unpacked.
        source: the input.
        options: whether the user named the format.
    """
    if source.format != "text" or options.format is not None:
        return None
    looks = {
        "jsonl": looks_like_json,
        "fasta": looks_like_fasta,
        "fastq": looks_like_fastq,
        "genbank": looks_like_genbank,
    }
    return next((name for name, look in looks.items() if look(head)), None)


def _head_of_lines(head: bytes, source: SourceFile, options: SourceOptions) -> Head:
    if source.format == "text":
        return Head(options.kind != "tokens")
    lines = next(split_lines([head], options.max_row_bytes), [])
    if source.format == "fasta":
        check_fasta(lines)
        return Head(holds_text=True)
    if source.format == "jsonl":
        return _head_of_json(lines, source, options)
    records = Records(DELIMITERS[source.format], options.max_row_bytes, quotes=options.quotes)
    header = next(records.push(lines), None)
    if isinstance(header, list) and tuple(header) == options.column_names:
        raise DamagedInputError("has the names that --columns gives in its first line; leave --columns out")
    if header is not None and (has_header(options) or not isinstance(header, Unreadable)):
        columns = header_columns(header, options)
        return Head(columns.is_text, other_id=columns.other_id)
    if not head and has_header(options):
        raise DamagedInputError("is empty; the first line must name the columns")
    return Head(options.kind == "text")


def _head_of_json(lines: list[bytes | LongLine], source: SourceFile, options: SourceOptions) -> Head:
    if not lines or isinstance(lines[0], LongLine):
        return Head(options.kind == "text")
    try:
        fields = json_object(lines[0])
        return Head(row_field(fields, options) != options.numbers_field, other_id=options.other_id(fields))
    except RowError as error:
        if lines[0].lstrip().startswith(b"[") and str(error).startswith("not JSON"):
            raise DamagedInputError("begins with '['") from error  # its last line alone could be an object
        name = PurePath(source.label)
        if options.format is None and ".json" in (name.suffix, PurePath(name.stem).suffix):
            # With this extension, the file may be one JSON value instead of lines.
            raise DamagedInputError(
                f"is not JSON lines (first line: {error}); write one object on each line, as `jq -c .` does, or give "
                "--format"
            ) from error
        return Head(options.kind == "text")
