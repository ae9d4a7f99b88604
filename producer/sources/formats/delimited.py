"""CSV and TSV, with or without a header, as Python's csv module reads them: quoted fields may contain line ends.

A field is quoted as a whole or not at all: text after the closing quote is an error. Otherwise, a field that begins
with a quotation mark of its own would take the next lines into it, up to the next mark, without a word. If that mark
happens to end a field, the lines themselves show it: each after the first has the columns of a row. Of a record on
several lines that is bad, the first line alone is bad, and the others are read again.
"""

# Over 150 lines: one reader: the csv module's limits, and what they make of a damaged file.

import csv
import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
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
_OTHER_LINE_ENDS = "a carriage return inside a line; end lines with a line feed, as `tr '\\r' '\\n'` does"
#: What bytes that aren't UTF-8 become while records are found.
_ESCAPED = re.compile("[\udc80-\udcff]")
#: Lines of a record that must all look like rows before it is bad: of a few lines of prose, each may have one comma.
_LEAST_ROWS = 5
#: A text of so many lines that all look like rows is none, even if it has quotation marks, doubled as they must be.
_MANY_LINES = 100
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
        line_ends: the records on several lines whose quotation marks are as they must be.
    """

    def __init__(self, delimiter: str, max_row_bytes: int, *, quotes: bool | None = None) -> None:
        self.columns: int | None = None
        self.line_ends = LineEnds()
        self._delimiter = delimiter
        self._empty_field = re.compile(f'(?<![^{delimiter}])""(?![^{delimiter}\r\n])')
        self._quoting: Literal[0, 3] = csv.QUOTE_NONE if quotes is False else csv.QUOTE_MINIMAL
        self._is_checked = quotes is None
        self._max_row_bytes = max_row_bytes
        self._has_escaped = False  # whether a line had bytes that aren't UTF-8
        self._open: list[str] = []  # the lines of a record whose closing quote hasn't been read yet
        self._line = 1  # the number of the first one of them, or of the next line
        # The csv module has one limit for the whole process; a field may be as long as a row.
        csv.field_size_limit(max(csv.field_size_limit(), min(max_row_bytes, sys.maxsize)))

    def push(self, lines: Iterable[bytes | LongLine]) -> Iterator[list[str] | Unreadable]:
        """Yield the records that these lines complete; blank lines are skipped."""
        run: list[str] = []
        for line in lines:
            if isinstance(line, LongLine):
                yield from self._parsed(run)
                run = []
                yield from self._left_open()
                self._line += 1
                yield Unreadable(line.reason)
            else:
                run.append(self._as_text(line) + "\n")
        yield from self._parsed(run)

    def _as_text(self, line: bytes) -> str:
        """A line, in which bytes that aren't UTF-8 are escaped: its record ends where it would without them."""
        try:
            return line.decode()
        except UnicodeDecodeError:
            self._has_escaped = True
            return line.decode(errors="surrogateescape")

    def _why_undecoded(self, lines: list[str]) -> str:
        """Why some lines aren't UTF-8; empty if they are."""
        text = "".join(lines) if self._has_escaped else ""
        if not _ESCAPED.search(text):
            return ""
        try:
            decoded(text.encode(errors="surrogateescape"))
        except RowError as error:
            return str(error)
        return ""

    def _or_undecoded(self, record: list[str] | Unreadable, lines: list[str]) -> list[str] | Unreadable:
        """A record of some lines; unreadable if they aren't UTF-8."""
        why = self._why_undecoded(lines)
        return Unreadable(why) if why else record

    def end(self) -> Iterator[list[str] | Unreadable]:
        """Yield an unreadable record if the input ended within one, and the records in its lines after the first."""
        yield from self._left_open()

    def _left_open(self) -> Iterator[list[str] | Unreadable]:
        """End the open record, at the end of the input or before a line that can't be read."""
        lines, self._open = self._open, []
        yield from self._settled(lines, len(lines), lambda _: self._misquoted())

    def _parsed(self, run: list[str]) -> Iterator[list[str] | Unreadable]:
        start = yield from self._continued(run)
        reader, first = self._reader(run, start), start
        while not self._open and (record := _next(reader)) is not None:
            end = first + reader.line_num
            if end - start > 1:
                lines = run[start:end]
                start += yield from self._settled(lines, len(lines) - 1, self._judge(lines, record))
                if start < end:
                    reader, first = self._reader(run, start), start
                continue
            if record:
                yield self._or_undecoded(record, run[start:end])
            self._line += 1
            start = end
        self._open += run[start:]
        if sum(map(len, self._open)) > self._max_row_bytes:
            count = yield from self._settled(self._open, len(self._open), lambda _: None)
            self._open = self._open[count:]

    def _continued(self, run: list[str]) -> Generator[list[str] | Unreadable, None, int]:
        """Go on with the open record, if there is one; how many of the lines are settled by that."""
        # Only a quote can close it.
        if not self._open or not any('"' in line for line in run):
            return 0
        reader = self._reader(['"' + run[0], *run[1:]], 0)
        if (record := _next(reader)) is None:
            return 0
        lines, self._open = self._open + run[: reader.line_num], []
        left = len(lines)
        left -= yield from self._settled(lines, len(lines) - 1, self._judge(lines, record))
        return reader.line_num - left

    def _settled(
        self, lines: list[str], count: int, judge: Callable[[int], list[str] | Unreadable | None]
    ) -> Generator[list[str] | Unreadable, None, int]:
        """Yield what a record on several lines is: itself; or a bad line, and what the lines after it are.

        One pass, however many of these begin a record too: all but the last line end in the first record's quoted
        field, so such a record is in a quoted field there as well, and ends where the first one does.

        Args:
            lines: of the record.
            count: how many of them end in its quoted field.
            judge: what the record is that begins in the line of this index, if it is short enough: good, bad, or None
                while it is open.

        Returns:
            How many lines are settled; the others are read from their first one on, or are an open record.
        """
        size = sum(map(len, lines))
        for place, line in enumerate(lines[:count]):
            found = _next(self._reader([line], 0)) if place else None
            if found is None:  # a record begins here
                found = self._misquoted() if size > self._max_row_bytes else judge(place)
                if found is None:
                    return place
                if not isinstance(found, Unreadable):
                    yield self._or_undecoded(found, lines[place:])
                    self._line += len(lines) - place
                    return len(lines)
            if found:
                yield self._or_undecoded(found, [line])
            self._line += 1
            size -= len(line)
        return count

    def _judge(self, lines: list[str], record: list[str] | Unreadable) -> Callable[[int], list[str] | Unreadable]:
        """Say what the record is that begins in the line of an index, and ends in the last line.

        Args:
            lines: of a record.
            record: how that ended: with an error, which those that begin later have, too, or with a field's end.
        """
        is_whole = isinstance(record, Unreadable) and record.reason.endswith(_OTHER_LINE_ENDS) and self._is_whole(lines)
        rows_from, marked = (0, 0) if isinstance(record, Unreadable) else self._likeness(lines)

        def judge(place: int) -> list[str] | Unreadable:
            if isinstance(record, Unreadable):
                has_own = record.reason.endswith(_OTHER_LINE_ENDS) and "\r" in lines[place].rstrip("\r\n")
                return record if has_own or is_whole else self._misquoted()
            count = len(lines) - place
            has_marks = marked > place and count < _MANY_LINES
            looks_like_rows = self._is_checked and count >= _LEAST_ROWS and rows_from <= place + 1 and not has_marks
            whole = None if looks_like_rows else _next(self._reader(lines, place))
            if whole is None or isinstance(whole, Unreadable):
                return self._misquoted()
            self.line_ends.add(count, self._line)
            return whole

        return judge

    def _is_whole(self, lines: list[str]) -> bool:
        """Whether lines that don't look like rows are a record on several lines but for their carriage returns."""
        if len(lines) >= _LEAST_ROWS and self._likeness(lines)[0] <= 1:
            return False
        record = _next(self._reader([line.replace("\r", "") for line in lines], 0))
        return record is not None and not isinstance(record, Unreadable)

    def _likeness(self, lines: list[str]) -> tuple[int, int]:
        """From which line on each has the columns of a row, and the last one inside that has a quotation mark.

        A single column says nothing, and nor does an empty field in quotation marks.
        """
        others = (self.columns or 0) - 1
        rows_from, marked = len(lines), len(lines) - 2
        while others > 0 and rows_from > 0 and lines[rows_from - 1].count(self._delimiter) == others:
            rows_from -= 1
        while marked > 0 and not ('"' in lines[marked] and '"' in self._empty_field.sub("", lines[marked])):
            marked -= 1
        return rows_from, marked

    def _reader(self, lines: list[str], first: int) -> "Reader":
        rest = map(lines.__getitem__, range(first, len(lines)))
        return csv.reader(chain(rest, _NoMoreLines()), delimiter=self._delimiter, quoting=self._quoting, strict=True)

    def _misquoted(self) -> Unreadable:
        """A record on several lines that is bad. The reason is the same whatever follows: an input may grow."""
        rows, quotes = "", ""
        if self._is_checked:
            rows, quotes = ", before lines that look like rows", "; if the field is right, give --quotes"
        return Unreadable(
            f"the record that begins in line {self._line:,} has a quoted field that isn't closed as it must be: at its "
            f"end{rows}, and within {self._max_row_bytes:,} bytes (--max-row-bytes){_ABOUT_QUOTES}{quotes}"
        )


def _next(reader: "Reader") -> list[str] | Unreadable | None:
    """The next record; None where it isn't complete yet."""
    try:
        return next(reader)
    except _OutOfLinesError:
        return None
    except csv.Error as error:
        name = "TSV" if reader.dialect.delimiter == "\t" else "CSV"
        if "new-line character" in str(error):
            return Unreadable(f"not {name}: {_OTHER_LINE_ENDS}")
        return Unreadable(f"not {name}: {error}{_ABOUT_QUOTES if 'expected after' in str(error) else ''}")


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
        DamagedInputError: there is no header where one must be, or it lacks a column. A stream may be empty, as one
            that only ends its job.
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
    if columns is None and has_header(options) and not options.follow:
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
