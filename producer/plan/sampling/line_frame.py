"""Pieces of plain files of lines, and of records of lines that a header begins, which can be read anywhere."""

# Over 150 lines: a piece of a file, whose first and last row reach over its edges.

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from producer.plan.sampling.pieces import (
    BYTES_BEFORE,
    PART_BYTES,
    WHOLE_ROW_BYTES,
    WORD,
    Piece,
    Seen,
    part_of_row,
    spread,
)
from producer.sources.errors import DamagedInputError
from producer.sources.first_rows import read_rows
from producer.sources.formats.delimited import DELIMITERS, has_header
from producer.sources.formats.fasta import HEADER, too_long
from producer.sources.formats.lines import BYTE_ORDER_MARK, LongLine
from producer.sources.rows import BadRow
from unrolled.patience import at_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from producer.sources.discovery import SourceFile
    from producer.sources.options import SourceOptions
    from producer.sources.places.place import Place

#: Stored bytes of a piece: so few that there are many of them, and so many that opening a file counts little.
PIECE_BYTES = 64 * 1024
#: Up to this many pieces, each is taken once; of more, so few are taken that hardly one comes twice.
_LISTED = 1 << 16
#: Bytes that are read at once while an end of a row is looked for: at first, and at most.
_BLOCK_BYTES, _LARGEST_BLOCK_BYTES = 4 * 1024, 1024 * 1024
#: How far the ends of a row are looked for, once: on a disk, and over a network, where that takes longer. A longer row
#: may count as several.
_FAR_BYTES = (2**30, 2**26)
#: Up to the end of the first line of CSV that isn't blank.
_FIRST_LINE = re.compile(rb"(?:%s)?(?:\r?\n)*[^\n]*\n" % BYTE_ORDER_MARK).match


class LineFrame:
    """Files of lines, one after the other, cut into pieces of equal size; see `Frame` for the attributes.

    Args:
        files: files with a size, in the order in which they are read.
        options: how they are read.
    """

    def __init__(self, files: Sequence[tuple[SourceFile, Place, int]], options: SourceOptions) -> None:
        self._files = files
        self._options = options
        self._too_long: dict[str, list[tuple[int, int]]] = {}  # label → ends of such rows, of over 1 MiB
        self._long: dict[tuple[str, int], str] = {}  # label and beginning of a long FASTA record → why it is bad, or ""
        self._ends = list(accumulate(size for _, _, size in files))
        self.size_bytes = self._ends[-1] if files else 0
        self.from_the_start, self.rows = False, None
        self.unread: dict[str, str] = {}
        self._count = -(-self.size_bytes // PIECE_BYTES)

    def pieces(self) -> Iterator[Piece]:
        """See `Frame.pieces`."""
        if self._count <= _LISTED:
            numbers: Iterator[int] = iter(sorted(range(self._count), key=spread))
        else:
            numbers = (int(spread(number) * self._count) for number in range(_LISTED))
        for number in numbers:
            yield self._piece(number)

    def consecutive(self) -> Iterator[Piece]:
        """See `Frame.consecutive`: the first third is left out, as inputs often begin with something else."""
        for number in range(self._count):
            yield self._piece((number + self._count // 3) % self._count)

    def _piece(self, number: int) -> Piece:
        begin, end = number * PIECE_BYTES, min((number + 1) * PIECE_BYTES, self.size_bytes)
        rows: list[Seen] = []
        at = bisect_right(self._ends, begin)
        while at < len(self._files) and (start := self._ends[at] - self._files[at][2]) < end:
            source, place, size = self._files[at]
            try:
                with place.open_table(at_once, mapped=False) as file:
                    rows += self._rows(source, place, file, max(begin - start, 0), min(end - start, size), size)
            except (DamagedInputError, OSError) as error:
                self.unread[source.label] = str(error)
            at += 1
        return Piece(end - begin, rows)

    def _rows(self, source: SourceFile, place: Place, file: Any, begin: int, end: int, size: int) -> list[Seen]:
        """The rows of one file that have a byte in begin..end."""
        # Over 40 lines: the first and the last row reach over the edges, and may be long.
        options = self._options
        header = _header(source, file, options)
        begin = max(begin, len(header))
        if begin >= end:
            return []
        data = _read(file, begin, end)
        mark, reach = _mark(source), max(_most_bytes(source, options), _FAR_BYTES[place.is_distant])
        known = self._known(source, begin)
        first = known[0] if known else _start_of_row(file, begin, len(header), reach, mark)
        known = self._known(source, end - 1)
        last = known[1] if known else _end_of_row(file, end, size, reach, mark)
        newline = data.find(mark)
        if newline < 0 or newline == len(data) - 1:  # one row, or a part of one
            return [self._edge(source, file, (first, last), (begin, end), size, header, begins=first == begin)]
        rows: list[Seen] = []
        inner_begin, inner_end = begin, end
        if first < begin:
            inner_begin = begin + newline + 1
            rows.append(self._edge(source, file, (first, inner_begin), (begin, inner_begin), size, header))
        tail: list[Seen] = []
        if last > end:
            inner_end = begin + data.rfind(mark) + 1
            tail = [self._edge(source, file, (inner_end, last), (inner_end, end), size, header, begins=True)]
        rows += self._parsed(source, header, data[inner_begin - begin : inner_end - begin], inner_begin)
        return rows + tail

    def _edge(
        self,
        source: SourceFile,
        file: Any,
        row: tuple[int, int],
        seen: tuple[int, int],
        size: int,
        header: bytes,
        *,
        begins: bool = False,
    ) -> Seen:
        """A row that reaches over an edge of the piece: all of it is read, unless it is long."""
        length, share = row[1] - row[0], (seen[1] - seen[0]) / max(row[1] - row[0], 1)
        if reason := self._why_too_long(source, file, row):
            if length > _LARGEST_BLOCK_BYTES and not self._known(source, row[0]):
                self._too_long.setdefault(source.label, []).append(row)
            return Seen(BadRow(source.label, 0, None, reason), share, 1.0, begins)
        if length > WHOLE_ROW_BYTES and self._options.kind != "vectors":
            end = min(seen[0] + PART_BYTES, seen[1])
            before, content, after = (
                _read(file, *ends)
                for ends in (
                    (max(seen[0] - BYTES_BEFORE, row[0]), seen[0]),
                    (seen[0], end),
                    (end, min(end + WORD, row[1])),
                )
            )
            part = part_of_row(source, before, content, after, self._options)
            return Seen(part, share, length / max(len(content), 1), begins, (source.label, row[0]))
        parsed = self._parsed(source, header, _read(file, row[0], min(row[1], size)), row[0])
        if not parsed:
            return Seen(BadRow(source.label, 0, None, "is no row"), 0.0, 1.0, begins)
        return parsed[0]._replace(share=share, begins=begins)

    def _known(self, source: SourceFile, place: int) -> tuple[int, int] | None:
        """Beginning and end of the row that holds the byte at `place`, if its ends took long to find."""
        return next((row for row in self._too_long.get(source.label, ()) if row[0] <= place < row[1]), None)

    def _why_too_long(self, source: SourceFile, file: Any, row: tuple[int, int]) -> str:
        """Why a row is too long; empty where it isn't.

        A long FASTA record is read to its end, once, because its header and the ends of its lines don't count. Of one
        that is too long without these, the length is about right.
        """
        most_bytes = self._options.max_row_bytes
        start, length = row[0], row[1] - row[0]
        if length <= most_bytes + len(b"\r\n"):
            return ""
        if source.format != "fasta":
            line_end = _read(file, row[1] - len(b"\r\n"), row[1])
            return LongLine(length - len(line_end) + len(line_end.rstrip(b"\r\n")), most_bytes).reason
        if length > _most_bytes(source, self._options):
            return too_long(length, most_bytes).replace("of", "of about", 1)
        if (source.label, start) not in self._long:
            blocks = (
                _read(file, begin, min(begin + _LARGEST_BLOCK_BYTES, row[1]))
                for begin in range(start, row[1], _LARGEST_BLOCK_BYTES)
            )
            rows = [row for batch in read_rows(source, blocks, self._options) for row in batch]
            self._long[source.label, start] = next((row.reason for row in rows if isinstance(row, BadRow)), "")
        return self._long[source.label, start]

    def _parsed(self, source: SourceFile, header: bytes, data: bytes, offset: int) -> list[Seen]:
        """The rows of whole lines; their positions are guessed from the length of these lines."""
        batches = read_rows(source, [header + data], self._options)
        rows = [row for batch in batches for row in batch]
        before = int(offset * len(rows) / max(len(data), 1))
        return [Seen(row._replace(position=before + row.position)) for row in rows]


def _header(source: SourceFile, file: Any, options: SourceOptions) -> bytes:
    """The line that names the columns, and blank ones before it, where the rows need one."""
    if source.format not in DELIMITERS or not has_header(options):
        return b""
    found = _FIRST_LINE(_read(file, 0, WHOLE_ROW_BYTES))
    return found[0] if found else b""


def _mark(source: SourceFile) -> bytes:
    """The bytes between which a row ends and the next one begins: after the first of them."""
    return b"\n" + HEADER if source.format == "fasta" else b"\n"


def _most_bytes(source: SourceFile, options: SourceOptions) -> int:
    """The bytes of the longest row that may be good: a FASTA record has a header, and many ends of lines."""
    most_bytes = options.max_row_bytes
    return most_bytes + most_bytes // 8 + WHOLE_ROW_BYTES if source.format == "fasta" else most_bytes


def _read(file: Any, begin: int, end: int) -> bytes:
    file.seek(begin)
    content: bytes = file.read(max(end - begin, 0))
    return content


def _start_of_row(file: Any, place: int, least: int, most_bytes: int, mark: bytes) -> int:
    """Where the row that holds the byte at `place` begins; somewhere more than `most_bytes` before it, at worst."""
    end, block = place, _BLOCK_BYTES
    while end > least and place - end <= most_bytes:
        begin = max(least, end - block)
        newline = _read(file, begin, end - 1 + len(mark)).rfind(mark)
        if newline >= 0:
            return begin + newline + 1
        end, block = begin, min(4 * block, _LARGEST_BLOCK_BYTES)
    return end


def _end_of_row(file: Any, place: int, size: int, most_bytes: int, mark: bytes) -> int:
    """Where the row that holds the byte before `place` ends, its line's end included: at `place`, or after it."""
    begin, block = place, _BLOCK_BYTES
    while begin < size and begin - place <= most_bytes:
        end = min(size, begin + block)
        newline = _read(file, begin - 1, end).find(mark)
        if newline >= 0:
            return begin + newline
        begin, block = end, min(4 * block, _LARGEST_BLOCK_BYTES)
    return begin
