"""Rows from files, directories, patterns, buckets and standard input; memory doesn't grow with their size.

    plan = check_inputs(["corpus/", "more.jsonl.gz"], options)   # checks everything that can be checked in advance
    for batch in read_batches(plan, options):                    # lists of SourceRow and BadRow

Each input row gives exactly one SourceRow or BadRow, in a fixed order: that of the inputs, and of the rows in each.
"""

# Over 150 lines: one path, from the inputs that are named to batches of rows.

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, BinaryIO, cast

from producer.sources.discovery import SourceFile, discover
from producer.sources.errors import DamagedInputError, SourceError
from producer.sources.first_rows import read_rows
from producer.sources.fitting import check_options
from producer.sources.heads import Head, check_head
from producer.sources.notices import notice_of_line_ends, notices_of_empty, notices_of_ids, notices_of_looks
from producer.sources.options import SourceOptions
from producer.sources.pipes import LiveInput, StandardInput, checked, look_at, standard_input, take_beginning
from producer.sources.places.local_file import LocalFile
from producer.sources.rows import SourceBatch
from producer.sources.streams.compression import ByteStream, read_chunks
from producer.sources.streams.live import Ending, follow_chunks
from producer.sources.streams.spool import MOST_LOOK_BYTES, spooled
from producer.terminal.lines import tell
from unrolled.errors import RequestError
from unrolled.patience import Steadily, at_once

if TYPE_CHECKING:
    from producer.sources.formats.delimited import LineEnds
    from producer.sources.places.place import Place

#: Inputs in buckets whose beginnings are checked at once.
_CHECKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class InputPlan:
    """Inputs that passed their check.

    Attributes:
        files: in the order in which they are read.
        notices: messages for the user: inputs named twice, names left out, inputs without a row.
        text_file: label of the first input with text, which needs a tokenizer; None if the first bytes of no input
            show text.
        size_bytes: size of all inputs as they are stored; None if one of them is a pipe.
        json_files: labels of inputs whose lines are JSON objects, but are read as text.
        stdin: standard input, if its first bytes can be looked at; else None.
        live: standard input that is live, if its first bytes were taken; else None.
        is_empty: whether it is known that no input has a row.
    """

    files: tuple[SourceFile, ...]
    notices: tuple[str, ...]
    text_file: str | None
    size_bytes: int | None
    json_files: tuple[str, ...] = ()
    stdin: StandardInput | None = None
    live: LiveInput | None = None
    is_empty: bool = False


def check_inputs(inputs: Sequence[str], options: SourceOptions, named: Collection[str] = ()) -> InputPlan:
    """Find the inputs, and check everything that can be checked without reading them completely.

    Args:
        inputs: files, directories (walked in sorted order, without names that begin with "." or "_"), glob
            patterns, URLs of these in a bucket, and "-" for standard input.
        options: how they are read.
        named: see `check_options`.

    Raises:
        OptionError: an option doesn't fit the inputs' formats.
        RequestError: an input is missing or unreadable, has another format than its name says, or lacks a field.
    """
    found = discover(inputs, options)
    check_options(found.files, options, named)
    heads = list(zip((file.label for file in found.files), _heads(found.files, options), strict=True))
    text_file = next((label for label, head in heads if head.holds_text), None)
    empty = [label for label, head in heads if head.is_empty]
    json = [label for label, head in heads if head.looks_like == "jsonl"]
    looks = notices_of_looks((label, head.looks_like) for label, head in heads)
    ids = notices_of_ids((label, head.other_id) for label, head in heads)
    notices = (*found.notices, *notices_of_empty(empty), *looks, *ids)
    stdin: StandardInput | None = None
    if any(head.has_arrived for _, head in heads):
        stdin = StandardInput(sys.stdin.buffer)  # type: ignore[arg-type]  # it was seen to be one with a buffer
    sizes = [source.size_bytes for source in found.files]
    size_bytes = None if None in sizes else sum(size for size in sizes if size is not None)
    is_empty = len(empty) == len(heads)
    return InputPlan(tuple(found.files), notices, text_file, size_bytes, tuple(json), stdin, is_empty=is_empty)


def _heads(files: Sequence[SourceFile], options: SourceOptions) -> Iterator[Head]:
    """Yield the facts that each input's beginning shows."""
    if not any(source.place and source.place.is_distant for source in files):
        yield from (_head(source, options) for source in files)
        return
    pool = ThreadPoolExecutor(_CHECKS_AT_ONCE)
    try:
        yield from pool.map(lambda source: _head(source, options), files)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _head(source: SourceFile, options: SourceOptions) -> Head:
    try:
        if source.place is not None and source.size_bytes is not None:
            return check_head(source, source.place, options)
        return look_at(source, options)
    except (DamagedInputError, OSError) as error:
        raise RequestError(f"input {source.label}: {error}") from error


def with_beginning(plan: InputPlan, options: SourceOptions) -> InputPlan:
    """The plan of a live input, of which what arrives soon was taken and checked.

    Raises:
        RequestError: the content doesn't match the format.
    """
    (source,) = plan.files
    try:
        return replace(plan, live=take_beginning(source, options))
    except DamagedInputError as error:
        raise RequestError(f"input {source.label}: {error}") from error


def first_batches(plan: InputPlan, options: SourceOptions) -> tuple[SourceFile, Iterator[SourceBatch]] | None:
    """The first input and its rows, to look at; None where it can be read once, is live, or is to be copied from afar.

    Standard input can be read twice as far as it is looked at; `plan.stdin.rewind()` ends the look.
    """
    source = plan.files[0] if plan.files else None
    if (
        source is None
        or options.follow
        or (source.size_bytes is None and (source.place is not None or plan.stdin is None))
    ):
        return None
    is_copied = source.format in ("parquet", "arrow") and not _has_random_access(source)
    if is_copied and (source.place is None or source.place.is_distant or (source.size_bytes or 0) > MOST_LOOK_BYTES):
        return None
    if source.place is None and plan.stdin is not None:
        plan.stdin.look()
    return source, _read(source, options, plan.stdin, None, at_once)


def read_batches(
    plan: InputPlan,
    options: SourceOptions,
    stdin: ByteStream | None = None,
    on_bytes: Callable[[int], None] | None = None,
    steadily: Steadily = at_once,
    ending: Ending | None = None,
) -> Iterator[SourceBatch]:
    """Yield the rows in batches of at most `options.batch_rows`, and of bounded size; batches may be empty.

    Args:
        plan: from `check_inputs`.
        options: the options given to `check_inputs`.
        stdin: the input for "-"; None for `sys.stdin.buffer`.
        on_bytes: called with the number of stored bytes that have been read since the last call; they add up to
            `plan.size_bytes`.
        steadily: tries each look at a bucket until it works; by default once.
        ending: ends a live input. What comes after `ending.came` was read to no end.

    Raises:
        SourceError: an input can't be read to its end; raised after all rows before the damage have been yielded.
    """
    for source in plan.files:
        position = 0
        try:
            for batch in _read(source, options, stdin or plan.live or plan.stdin, on_bytes, steadily, ending):
                yield batch
                position += len(batch)
        except DamagedInputError as error:
            raise SourceError(source.label, position, error) from error


def _read(
    source: SourceFile,
    options: SourceOptions,
    stdin: ByteStream | LiveInput | None,
    on_bytes: Callable[[int], None] | None,
    steadily: Steadily,
    ending: Ending | None = None,
) -> Iterator[SourceBatch]:
    if source.format in ("parquet", "arrow") and _has_random_access(source):
        from producer.sources.formats.tables import read_table  # noqa: PLC0415 - pyarrow is slow to import

        yield from read_table(cast("Place", source.place), source.format, source.label, options, steadily, on_bytes)
        return
    with _opened(source, stdin, steadily) as file:
        chunks = _chunks(source, file, options, on_bytes, ending or Ending())
        if source.size_bytes is None:
            chunks = checked(chunks, source, options, partial(_tell_look, source, options, stdin))
        if source.format not in ("parquet", "arrow"):
            yield from read_rows(source, chunks, options, partial(tell_line_ends, source))
        else:
            from producer.sources.formats.tables import read_table  # noqa: PLC0415 - pyarrow is slow to import

            with spooled(chunks) as path:
                yield from read_table(LocalFile.of(str(path)), source.format, source.label, options, steadily)


def tell_line_ends(source: SourceFile, found: "LineEnds") -> None:
    """Tell the user, once, that quoted fields of an input contain line ends."""
    _tell_once(notice_of_line_ends(source.label, found.rows, found.most_lines, found.line))


def _tell_look(
    source: SourceFile, options: SourceOptions, stdin: ByteStream | LiveInput | None, look: str | None
) -> None:
    """Tell the user that text looks like something else, unless a look at standard input has shown it before."""
    if options.kind != "tokens" and (not isinstance(stdin, StandardInput) or source.place is not None):
        for line in notices_of_looks([(source.label, look)]):
            _tell_once(line)


@cache
def _tell_once(line: str) -> None:
    tell(line)  # a training reads its inputs twice


def _has_random_access(source: SourceFile) -> bool:
    """Whether a table can be read where it is. A batch of an Arrow file may be larger than memory: it is mapped."""
    place = source.place
    if place is None or place.size_bytes is None or source.compression != "none":
        return False
    return source.format == "parquet" or not place.is_distant


def _opened(
    source: SourceFile, stdin: ByteStream | LiveInput | None, steadily: Steadily
) -> AbstractContextManager[ByteStream | LiveInput]:
    if source.place is not None:
        return source.place.open(steadily)
    return nullcontext(stdin or standard_input())


def _chunks(
    source: SourceFile,
    file: ByteStream | LiveInput,
    options: SourceOptions,
    on_bytes: Callable[[int], None] | None,
    ending: Ending,
) -> Iterator[bytes]:
    if options.follow:
        if isinstance(file, LiveInput) and not file.taken:
            return  # what was read is its end, which a terminal gives once
        taken, rest = (file.taken, file.file) if isinstance(file, LiveInput) else (b"", cast("BinaryIO", file))
        for chunk in follow_chunks(rest, options.tick_seconds, ending, taken):
            if on_bytes and chunk:
                on_bytes(len(chunk))
            yield chunk
        return
    read_bytes = 0

    def count(new_bytes: int) -> None:
        nonlocal read_bytes
        read_bytes += new_bytes
        if on_bytes:
            on_bytes(new_bytes)

    yield from read_chunks(cast("ByteStream", file), None if source.size_bytes is None else source.compression, count)
    if read_bytes < (source.size_bytes or 0):
        raise DamagedInputError(
            f"became shorter while it was read: it had {source.size_bytes:,} bytes, and ends after {read_bytes:,}"
        )
