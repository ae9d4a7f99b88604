"""CSV and TSV, with or without a header, as Python's csv module reads them: quoted fields may contain line ends.

A field is quoted as a whole or not at all: text after the closing quote is an error. Otherwise, a field that begins
with a quotation mark of its own would take the next lines into it, up to the next mark, without a word. Of a record on
several lines that is bad, the first line alone is bad, and the others are read again.
"""

# Over 150 lines: one reader: the csv module's limits, and what they make of a damaged file.

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal, Self

from producer.sources.errors import DamagedInputError
from producer.sources.formats.fields import checked_id, decoded, spaced_tokens
from producer.sources.formats.input_columns import InputColumns, find_columns
from producer.sources.formats.lines import LongLine, split_lines
from producer.sources.options import SourceOptions
from producer.sources.rows import BadRow, SourceBatch, SourceRow
from unrolled.errors import RowError

if TYPE_CHECKING:
    from _csv import Reader

DELIMITERS = {"csv": ",", "tsv": "\t"}
_ABOUT_QUOTES = "; if quotation marks are characters of the texts, give --no-quotes"
#: Of a bad record, the lines after the first are read again if there are at most this many: hostile files mustn't take
#: long.
_MOST_LINES = 1000
#: Separators of other tables, and what to do.
_OTHERS = {
    "\t": "tabs; give --format tsv",
    ";": "';'; convert it, such as by pandas.read_csv(FILE, sep=';').to_csv(NEW, index=False)",
    "|": "'|'; convert it, such as by pandas.read_csv(FILE, sep='|').to_csv(NEW, index=False)",
    ",": "commas; give --format csv",
}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record, or a line of one, that can't be read."""

    reason: str


class _OutOfLinesError(Exception):
    """The csv module asked for a line that hasn't been read yet."""


class _NoMoreLines:
    """An iterator that always raises; an empty iterator would make the csv module end an open record."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        raise _OutOfLinesError


class Records:
    """Makes records from lines; a record may begin in one push and end in a later one."""

    def __init__(self, delimiter: str, max_row_bytes: int, *, quotes: bool = True) -> None:
        self._delimiter = delimiter
        self._quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE
        self._max_row_bytes = max_row_bytes
        self._open: list[str] = []  # the lines of a record whose closing quote hasn't been read yet
        # The csv module has one limit for the whole process; a field may be as long as a row.
        csv.field_size_limit(max(csv.field_size_limit(), max_row_bytes))

    def push(self, lines: Iterable[bytes | LongLine]) -> Iterator[list[str] | Unreadable]:
        """Yield the records that these lines complete; blank lines are skipped."""
        run: list[str] = []
        for line in lines:
            try:
                if isinstance(line, LongLine):
                    raise RowError(line.reason)  # noqa: TRY301 - both kinds of unreadable line end a run
                run.append(decoded(line) + "\n")
            except RowError as error:
                yield from self._parsed(run)
                run = []
                self._open = []  # an open record ends here and is bad too
                yield Unreadable(str(error))
        yield from self._parsed(run)

    def end(self) -> Iterator[list[str] | Unreadable]:
        """Yield an unreadable record if the input ended within one, and the records in its lines after the first."""
        while lines := self._open:
            self._open = []
            yield Unreadable(
                f"a quoted field is never closed; it runs over {len(lines)} lines to the end{_ABOUT_QUOTES}"
            )
            if len(lines) <= _MOST_LINES:
                yield from self._parsed(lines[1:])

    def _parsed(self, run: list[str]) -> Iterator[list[str] | Unreadable]:
        lines, start = self._open + run, 0
        # Only a quote can close an open record; without one, parsing again is useless.
        if not self._open or any('"' in line for line in run):
            reader, first = self._reader(lines, 0), 0
            while (record := _next(reader)) is not None:
                end = first + reader.line_num
                if end - start > 1 and (size := sum(map(len, lines[start:end]))) > self._max_row_bytes:
                    record = self._too_long(size)
                elif isinstance(record, Unreadable) and 1 < end - start <= _MOST_LINES:
                    end = first = start + 1
                    reader = self._reader(lines, first)
                if record:
                    yield record
                start = end
        self._open = lines[start:]
        if (size := sum(map(len, self._open))) > self._max_row_bytes:
            self._open = []
            yield self._too_long(size)

    def _reader(self, lines: list[str], first: int) -> "Reader":
        rest = map(lines.__getitem__, range(first, len(lines)))
        return csv.reader(chain(rest, _NoMoreLines()), delimiter=self._delimiter, quoting=self._quoting, strict=True)

    def _too_long(self, characters: int) -> Unreadable:
        return Unreadable(
            f"a quoted field has {characters} characters on several lines; allowed: {self._max_row_bytes} "
            "(--max-row-bytes). Is a quote missing?"
        )


def _next(reader: "Reader") -> list[str] | Unreadable | None:
    """The next record; None where it isn't complete yet."""
    try:
        return next(reader)
    except _OutOfLinesError:
        return None
    except csv.Error as error:
        return Unreadable(f"not CSV: {error}{_ABOUT_QUOTES if 'expected after' in str(error) else ''}")


def read_delimited(chunks: Iterable[bytes], file: str, delimiter: str, options: SourceOptions) -> Iterator[SourceBatch]:
    """Yield a row for each record that is no header, in batches; an empty chunk gives an empty batch.

    Raises:
        DamagedInputError: there is no header where one must be, or it lacks a column.
    """
    records = Records(delimiter, options.max_row_bytes, quotes=options.quotes)
    columns: InputColumns | None = None
    position = 0
    for lines in chain(split_lines(chunks, options.max_row_bytes, keep_returns=True), [None]):
        batch: SourceBatch = []
        for record in records.end() if lines is None else records.push(lines):
            if columns is None and (has_header(options) or not isinstance(record, Unreadable)):
                columns = header_columns(record, options)
                if has_header(options):
                    continue
            batch.append(_row(record, columns, file, position))
            position += 1
            if len(batch) == options.batch_rows:
                yield batch
                batch = []
        yield batch
    if columns is None and has_header(options):
        raise DamagedInputError("is empty; the first line must name the columns")


def has_header(options: SourceOptions) -> bool:
    """Whether the first record names the columns."""
    return options.header and options.columns is None


def header_columns(record: list[str] | Unreadable, options: SourceOptions) -> InputColumns:
    """Find the columns, given the first record.

    Raises:
        DamagedInputError: the header can't be read, or lacks a column.
    """
    if isinstance(record, Unreadable):
        raise DamagedInputError(f"its header can't be read: {record.reason}")
    if not has_header(options):
        return find_columns(options.column_names or [str(number) for number in range(1, len(record) + 1)], options)
    try:
        return find_columns(record, options)
    except DamagedInputError as error:
        if len(record) == 1 and (found := next((each for each in _OTHERS if each in record[0]), None)):
            raise DamagedInputError(f"{error}. Its columns seem to be separated by {_OTHERS[found]}") from error
        raise DamagedInputError(
            f"{error}. Its first line was read as the names of the columns; if it has no such line, use "
            "--columns NAME,NAME or --no-header"
        ) from error


def _row(record: list[str] | Unreadable, columns: InputColumns | None, file: str, position: int) -> SourceRow | BadRow:
    if isinstance(record, Unreadable) or columns is None:
        return BadRow(file, position, None, record.reason if isinstance(record, Unreadable) else "")
    if len(record) != columns.count:
        return BadRow(file, position, None, f"has {len(record)} columns; {columns.count} are named")
    try:
        id = None if columns.id is None else checked_id(record[columns.id])  # noqa: A001 - the field's name
    except RowError as error:
        return BadRow(file, position, None, str(error))
    if columns.is_text:
        return SourceRow(file, position, id, record[columns.content], None)
    return SourceRow(file, position, id, None, spaced_tokens(record[columns.content]))
