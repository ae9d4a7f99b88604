"""Rows from files, directories, patterns and standard input; memory doesn't grow with their size.

    plan = check_inputs(["corpus/", "more.jsonl.gz"], options)   # checks everything that can be checked in advance
    for batch in read_batches(plan, options):                    # lists of SourceRow and BadRow

Each input row gives exactly one SourceRow or BadRow, in a fixed order: that of the inputs, and of the rows in each.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from producer.rows import SourceBatch
from producer.sources.discovery import STANDARD_INPUT, SourceFile, discover
from producer.sources.errors import DamagedInputError, SourceError
from producer.sources.formats.delimited import DELIMITERS, read_delimited
from producer.sources.formats.jsonl import json_parser
from producer.sources.formats.lines import read_lines, text_parser
from producer.sources.heads import check_head
from producer.sources.options import SourceOptions
from producer.sources.streams.compression import read_chunks
from producer.sources.streams.live import follow_chunks
from producer.sources.streams.spool import spooled
from unrolled.errors import RequestError


@dataclass(frozen=True, slots=True)
class InputPlan:
    """Inputs that passed their check.

    Attributes:
        files: in the order in which they are read.
        notices: messages for the user: inputs named twice, names left out.
        text_file: label of the first input with text, which needs a tokenizer; None if the first bytes of no input
            show text.
        size_bytes: size of all files on disk; None if one of them is a pipe.
    """

    files: tuple[SourceFile, ...]
    notices: tuple[str, ...]
    text_file: str | None
    size_bytes: int | None


def check_inputs(inputs: Sequence[str], options: SourceOptions) -> InputPlan:
    """Find the inputs, and check everything that can be checked without reading them completely.

    Args:
        inputs: files, directories (walked in sorted order, without names that begin with "." or "_"), glob
            patterns, and "-" for standard input.
        options: how they are read.

    Raises:
        RequestError: an input is missing or unreadable, has another format than its name says, or lacks a field.
    """
    found = discover(inputs, options)
    text_file = None
    for source in found.files:
        try:
            if source.size_bytes is not None:
                holds_text = check_head(source, options)
            else:
                holds_text = options.kind == "text" or (options.kind == "auto" and source.format == "text")
        except DamagedInputError as error:
            raise RequestError(f"input {source.label}: {error}") from error
        if holds_text and text_file is None:
            text_file = source.label
    sizes = [source.size_bytes for source in found.files]
    size_bytes = None if None in sizes else sum(size for size in sizes if size is not None)
    return InputPlan(tuple(found.files), tuple(found.notices), text_file, size_bytes)


def read_batches(
    plan: InputPlan,
    options: SourceOptions,
    stdin: BinaryIO | None = None,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[SourceBatch]:
    """Yield the rows in batches of at most `options.batch_rows`, and of bounded size; batches may be empty.

    Args:
        plan: from `check_inputs`.
        options: the options given to `check_inputs`.
        stdin: the input for "-"; None for `sys.stdin.buffer`.
        on_bytes: called with the number of bytes on disk that have been read since the last call; they add up to
            `plan.size_bytes`.

    Raises:
        SourceError: an input can't be read to its end; raised after all rows before the damage have been yielded.
    """
    for source in plan.files:
        position = 0
        try:
            for batch in _read(source, options, stdin, on_bytes):
                yield batch
                position += len(batch)
        except DamagedInputError as error:
            raise SourceError(source.label, position, str(error)) from error


def _read(
    source: SourceFile,
    options: SourceOptions,
    stdin: BinaryIO | None,
    on_bytes: Callable[[int], None] | None,
) -> Iterator[SourceBatch]:
    if source.format in ("parquet", "arrow") and source.compression == "none" and source.size_bytes is not None:
        from producer.sources.formats.tables import read_table  # noqa: PLC0415 - pyarrow is slow to import

        yield from read_table(Path(source.path), source.format, source.label, options, on_bytes)
        return
    with _opened(source, stdin) as file:
        chunks = _chunks(source, file, options, on_bytes)
        if source.format == "text":
            yield from read_lines(chunks, source.label, options, text_parser(source.label, options))
        elif source.format == "jsonl":
            yield from read_lines(chunks, source.label, options, json_parser(source.label, options))
        elif source.format in ("csv", "tsv"):
            yield from read_delimited(chunks, source.label, DELIMITERS[source.format], options)
        else:
            from producer.sources.formats.tables import read_table  # noqa: PLC0415 - pyarrow is slow to import

            with spooled(chunks) as path:
                yield from read_table(path, source.format, source.label, options)


def _opened(source: SourceFile, stdin: BinaryIO | None) -> AbstractContextManager[BinaryIO]:
    if source.path == STANDARD_INPUT:
        if stdin is None and sys.stdin is None:
            raise DamagedInputError("is closed")
        return nullcontext(stdin or sys.stdin.buffer)
    try:
        return Path(source.path).open("rb")
    except OSError as error:
        raise DamagedInputError(f"can't be opened ({error.strerror or error})") from error


def _chunks(
    source: SourceFile, file: BinaryIO, options: SourceOptions, on_bytes: Callable[[int], None] | None
) -> Iterator[bytes]:
    if options.follow:
        yield from follow_chunks(file, options.tick_seconds)
    else:
        by_content = source.path == STANDARD_INPUT
        yield from read_chunks(file, None if by_content else source.compression, on_bytes)
