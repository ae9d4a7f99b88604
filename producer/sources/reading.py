"""Rows out of files, directories, patterns and standard input, at flat memory whatever their size.

    plan = check_inputs(["corpus/", "more.jsonl.gz"], options)   # everything that can be checked beforehand
    for batch in read_batches(plan, options):                    # lists of SourceRow and BadRow

One input row gives exactly one SourceRow or BadRow, in a fixed order: inputs as named, rows as they lie.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from producer.rows import SourceBatch
from producer.sources.compression import read_chunks
from producer.sources.delimited import DELIMITERS, read_delimited
from producer.sources.discovery import STANDARD_INPUT, SourceFile, discover
from producer.sources.errors import DamagedInputError, SourceError
from producer.sources.heads import check_head
from producer.sources.jsonl import json_parser
from producer.sources.lines import read_lines, text_parser
from producer.sources.live import follow_chunks
from producer.sources.options import FORMATS, KINDS, SourceOptions
from unrolled.errors import RequestError

__all__ = [
    "FORMATS",
    "KINDS",
    "InputPlan",
    "SourceError",
    "SourceFile",
    "SourceOptions",
    "check_inputs",
    "read_batches",
]


@dataclass(frozen=True, slots=True)
class InputPlan:
    """Inputs that passed their check.

    Attributes:
        files: in reading order.
        notices: what the user should be told: inputs named twice, names left out.
        text_file: label of the first input that holds text, so that a tokenizer is needed; None where none
            does as far as the first bytes tell.
        size_bytes: of all files on disk together; None where one of them is a pipe.
    """

    files: tuple[SourceFile, ...]
    notices: tuple[str, ...]
    text_file: str | None
    size_bytes: int | None


def check_inputs(inputs: Sequence[str], options: SourceOptions) -> InputPlan:
    """Find the inputs and check all that shows without reading them through.

    Args:
        inputs: files, directories (walked in sorted order, without names that begin with "." or "_"), glob
            patterns, and "-" for standard input.
        options: how they are read.

    Raises:
        RequestError: an input is missing, unreadable, not what its name says, or lacks a field.
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
    """Yield the rows in batches of up to `options.batch_rows`, and of bounded bytes; batches may be empty.

    Args:
        plan: from `check_inputs`.
        options: the same as there.
        stdin: read for "-"; `sys.stdin.buffer` unless given.
        on_bytes: told how many bytes on disk have been read since the last call (`plan.size_bytes` in all).

    Raises:
        SourceError: an input broke off; raised after every row before the damage was yielded.
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
        from producer.sources.tables import read_table  # noqa: PLC0415  (pyarrow takes its time to load)

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
            from producer.sources.tables import read_table, spooled  # noqa: PLC0415  (as above)

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
