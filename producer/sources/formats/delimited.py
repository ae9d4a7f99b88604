"""CSV and TSV, with or without a header, as Python's csv module reads them: quoted fields may contain line ends.

A field is quoted as a whole or not at all: text after the closing quote is an error. Otherwise, a field that begins
with a quotation mark of its own would take the next lines into it, up to the next mark, without a word. If that mark
happens to end a field, the lines themselves show it: each has the columns of a row. Of a record on several lines that
is bad, the first line alone is bad, and the others are read again.
"""

# Over 150 lines: one reader: the csv module's limits, and what they make of a damaged file.

import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, Self

from producer.sources.errors import DamagedInputError
from producer.sources.formats.fields import decoded, found_id, spaced_tokens
from producer.sources.formats.input_columns import InputColumns, find_columns
from producer.sources.formats.lines import LongLine, split_lines
from producer.sources.options import SourceOptions
from producer.sources.rows import BadRow, SourceBatch, SourceRow
from unrolled.errors import RowError, counted

if TYPE_CHECKING:
    from _csv import Reader

DELIMITERS = {"csv": ",", "tsv": "\t"}
_ABOUT_QUOTES = "; if quotation marks are characters of the texts, give --no-quotes"
#: Of a bad record, the lines after the first are read again if there are at most this many: hostile files mustn't take
#: long.
_MOST_LINES = 1000
#: Lines of a record that must all look like rows before it is bad: of a few lines of prose, each may have one comma.
_LEAST_ROWS = 5
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

    def in_a_record_that(self, where: str) -> Self:
        """The reason, with the place before the advice."""
        reason, advice, _ = self.reason.partition(_ABOUT_QUOTES)
        return replace(self, reason=f"{reason} in a record that {where}{advice}")


class _OutOfLinesError(Exception):
    """The csv module asked for a line that hasn't been read yet."""


class _NoMoreLines:
    """An iterator that always raises; an empty iterator would make the csv module end an open record."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        raise _OutOfLinesError


@dataclass(slots=True)
class LineEnds:
    """Counts the rows whose quoted fields contain line ends.

    Attributes:
        rows: how many there are.
        most_lines: the lines of the longest one, a header included.
        line: the number of its first line in the file, from 1.
    """

    rows: int = 0
    most_lines: int = 0
    line: int = 0

    def add(self, lines: int, line: int) -> None:
        """Count a row that begins in a line."""
        self.rows += 1
        if lines > self.most_lines:
            self.most_lines, self.line = lines, line


class Records:
    """Makes records from lines; a record may begin in one push and end in a later one.

    Args:
        delimiter: the character between fields.
        max_row_bytes: size of the longest record.
        quotes: as `SourceOptions.quotes`.

    Attributes:
        columns: how many a row has, for the check of records on several lines; None while it isn't known.
        line_ends: the records on several lines that were good.
    """

    def __init__(self, delimiter: str, max_row_bytes: int, *, quotes: bool | None = None) -> None:
        self.columns: int | None = None
        self.line_ends = LineEnds()
        self._delimiter = delimiter
        self._empty_field = re.compile(f'(?<![^{delimiter}])""(?![^{delimiter}\r\n])')
        self._quoting: Literal[0, 3] = csv.QUOTE_NONE if quotes is False else csv.QUOTE_MINIMAL
        self._is_checked = quotes is None
        self._max_row_bytes = max_row_bytes
        self._open: list[str] = []  # the lines of a record whose closing quote hasn't been read yet
        self._line = 1  # the number of the first one of them, or of the next line
        # The csv module has one limit for the whole process; a field may be as long as a row.
        csv.field_size_limit(max(csv.field_size_limit(), min(max_row_bytes, sys.maxsize)))

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
                self._line += len(self._open) + 1
                self._open = []  # an open record ends here and is bad too
                yield Unreadable(str(error))
        yield from self._parsed(run)

    def end(self) -> Iterator[list[str] | Unreadable]:
        """Yield an unreadable record if the input ended within one, and the records in its lines after the first."""
        while lines := self._open:
            self._open = []
            yield Unreadable(
                f"a quoted field that begins in line {self._line:,} is never closed; it runs over "
                f"{counted(len(lines), 'line')} to the end{_ABOUT_QUOTES}"
            )
            self._line += 1
            if len(lines) <= _MOST_LINES or not self._may_open(lines[1:]):
                yield from self._parsed(lines[1:])

    def _parsed(self, run: list[str]) -> Iterator[list[str] | Unreadable]:
        lines, start = self._open + run, 0
        # Only a quote can close an open record; without one, parsing again is useless.
        if not self._open or any('"' in line for line in run):
            reader, first = self._reader(lines, 0), 0
            while (record := _next(reader)) is not None:
                end = first + reader.line_num
                if end - start > 1:
                    record, is_read_again = self._checked(record, lines[start:end], self._line + start)
                    if is_read_again:
                        end = first = start + 1
                        reader = self._reader(lines, first)
                if record:
                    yield record
                start = end
        self._line += start
        self._open = lines[start:]
        if (size := sum(map(len, self._open))) > self._max_row_bytes:
            yield self._too_long(size, self._line)
            lines = self._open[1:] if self._are_rows(self._open) and not self._may_open(self._open[1:]) else []
            self._line += len(self._open) - len(lines)
            self._open = []
            yield from self._parsed(lines)

    def _checked(
        self, record: list[str] | Unreadable, lines: list[str], line: int
    ) -> tuple[list[str] | Unreadable, bool]:
        """What a record on several lines is taken for, and whether its lines after the first are read again.

        That takes long if those lines may open records, too, so it is then limited.

        Args:
            record: the record, or why it is bad.
            lines: its lines.
            line: the number of the first one.
        """
        where = f"begins in line {line:,} and runs over {len(lines):,} lines"
        opens_none = not self._may_open(lines[1:-1])
        if isinstance(record, Unreadable) and (opens_none or len(lines) <= _MOST_LINES):
            return record.in_a_record_that(where), True
        if self._is_checked and opens_none and len(lines) >= _LEAST_ROWS and self._are_rows(lines):
            more = f"each of which has the columns of a row{_ABOUT_QUOTES}; if the field is right, give --quotes"
            return Unreadable(f"a quoted field {where}, {more}"), True
        if (size := sum(map(len, lines))) > self._max_row_bytes:
            return self._too_long(size, line), False
        if isinstance(record, Unreadable):
            return record.in_a_record_that(where), False
        self.line_ends.add(len(lines), line)
        return record, False

    def _may_open(self, lines: list[str]) -> bool:
        """Whether one of these lines may begin a record on several lines; an empty field in quotation marks doesn't."""
        return any('"' in line and '"' in self._empty_field.sub("", line) for line in lines)

    def _are_rows(self, lines: list[str]) -> bool:
        """Whether each line of a record has the columns of a row; of a single column, that says nothing."""
        others = (self.columns or 0) - 1
        return others > 0 and all(line.count(self._delimiter) == others for line in lines)

    def _reader(self, lines: list[str], first: int) -> "Reader":
        rest = map(lines.__getitem__, range(first, len(lines)))
        return csv.reader(chain(rest, _NoMoreLines()), delimiter=self._delimiter, quoting=self._quoting, strict=True)

    def _too_long(self, characters: int, line: int) -> Unreadable:
        return Unreadable(
            f"a quoted field that begins in line {line:,} has {characters} characters on several lines; allowed: "
            f"{self._max_row_bytes} (--max-row-bytes). Is a quote missing?"
        )


def _next(reader: "Reader") -> list[str] | Unreadable | None:
    """The next record; None where it isn't complete yet."""
    try:
        return next(reader)
    except _OutOfLinesError:
        return None
    except csv.Error as error:
        if "new-line character" in str(error):
            return Unreadable(
                "not CSV: a carriage return inside a line; end lines with a line feed, as `tr '\\r' '\\n'` does"
            )
        return Unreadable(f"not CSV: {error}{_ABOUT_QUOTES if 'expected after' in str(error) else ''}")


def read_delimited(
    chunks: Iterable[bytes],
    file: str,
    delimiter: str,
    options: SourceOptions,
    on_line_ends: Callable[[LineEnds], None] | None = None,
) -> Iterator[SourceBatch]:
    """Yield a row for each record that is no header, in batches; an empty chunk gives an empty batch.

    Args:
        chunks: the content.
        file: the label for the rows.
        delimiter: the character between fields.
        options: how it is read.
        on_line_ends: called at the end if fields contain line ends, and no option says that they are right.

    Raises:
        DamagedInputError: there is no header where one must be, or it lacks a column.
    """
    # Over 40 lines, most of them the description: one loop over records, with the header that the first one is.
    records = Records(delimiter, options.max_row_bytes, quotes=options.quotes)
    records.columns = None if options.column_names is None else len(options.column_names)
    columns: InputColumns | None = None
    position = 0
    for lines in chain(split_lines(chunks, options.max_row_bytes, keep_returns=True), [None]):
        batch: SourceBatch = []
        for record in records.end() if lines is None else records.push(lines):
            if columns is None and (has_header(options) or not isinstance(record, Unreadable)):
                columns = header_columns(record, options)
                records.columns = columns.count
                if has_header(options):
                    continue
            batch.append(_row(record, columns, file, position, options))
            position += 1
            if len(batch) == options.batch_rows:
                yield batch
                batch = []
        yield batch
    if columns is None and has_header(options):
        raise DamagedInputError("is empty; the first line must name the columns")
    if on_line_ends is not None and records.line_ends.rows and options.quotes is None:
        on_line_ends(records.line_ends)


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
        raise DamagedInputError(". ".join([str(error), *_advice(record, options)])) from error


def _advice(record: list[str], options: SourceOptions) -> Iterator[str]:
    """What to do if a first record doesn't name the columns."""
    found = next((each for each in _OTHERS if each in record[0]), None) if len(record) == 1 else None
    if found is not None:
        yield f"Its columns seem to be separated by {_OTHERS[found]}"
    if options.follow:  # its job exists by now, and keeps its options
        yield (
            "Each run of a stream begins with the line that names the columns: send it first, or use another --out "
            "with other options, such as --columns NAME,NAME"
        )
    elif found is None:
        yield (
            "Its first line was read as the names of the columns; if it has no such line, use --columns NAME,NAME or "
            "--no-header"
        )


def _row(
    record: list[str] | Unreadable, columns: InputColumns | None, file: str, position: int, options: SourceOptions
) -> SourceRow | BadRow:
    if isinstance(record, Unreadable) or columns is None:
        return BadRow(file, position, None, record.reason if isinstance(record, Unreadable) else "")
    if len(record) != columns.count:
        found, named = counted(len(record), "column"), counted(columns.count, "is", "are")
        return BadRow(file, position, None, f"has {found}; {named} named")
    try:
        # A table has no other way to leave the id of one row out.
        given = None if columns.id is None else record[columns.id]
        id = found_id(given or None, options, none="empty")  # noqa: A001 - the field's name
    except RowError as error:
        return BadRow(file, position, None, str(error))
    if columns.is_text:
        return SourceRow(file, position, id, record[columns.content], None)
    try:
        return SourceRow(file, position, id, None, spaced_tokens(record[columns.content]))
    except RowError as error:
        return BadRow(file, position, id, str(error))
