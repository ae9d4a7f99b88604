"""FASTA: each record is a header, which begins with ">", and the lines of a sequence.

The first word of the header is the row's id, and the sequence without white space is its text. Its letters stay as they
are, lower case too. One "*" at the end is left out: there it marks the stop codon and is no residue. Lines that begin
with ";" are comments, and blank lines mean nothing. A record ends where the next header begins.
"""

# Over 150 lines: one reader, and how its format is recognized.

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from producer.sources.errors import DamagedInputError
from producer.sources.formats.fields import checked_id, decoded
from producer.sources.formats.lines import BYTE_ORDER_MARK, LongLine, split_lines
from producer.sources.options import SourceOptions
from producer.sources.rows import BadRow, SourceBatch, SourceRow
from unrolled.errors import RowError, counted

HEADER = b">"
_COMMENT, _STOP = b";", b"*"
#: The ASCII characters that `str.isspace` calls white space.
_SPACES = b" \t\n\r\v\f\x1c\x1d\x1e\x1f"
_RETURN_INSIDE = "a carriage return inside a line; end lines with a line feed, as `tr '\\r' '\\n'` does"
#: Lines that show whether an input is FASTA.
_LINES = 100
#: Sequences without their line ends: letters in capitals, or of nucleic acids. Fewer than four may be a word.
_SEQUENCES = re.compile(rb"[A-Z*.-]{4,}|[ACGTUNacgtun*.-]{4,}").fullmatch
#: Sequences in letters of both cases, and the length of a line that is no word.
_MIXED, _NO_WORD = re.compile(rb"[A-Za-z*.-]+").fullmatch, 30


class Records:
    """Makes rows from lines; a record may begin in one push and end in a later one.

    Args:
        file: the label for the rows.
        max_row_bytes: size of the longest sequence.
        reads_ids: whether the rows have ids.
    """

    def __init__(self, file: str, max_row_bytes: int, *, reads_ids: bool = True) -> None:
        self._file = file
        self._reads_ids = reads_ids
        self._max_row_bytes = max_row_bytes
        self._position = 0
        self._is_open = False
        self._id: str | None = None
        self._reason = ""  # why the open record is bad
        # One buffer, because a list of short lines takes many times their bytes; of a bad record, its last letter.
        self._sequence = bytearray()
        self._size_bytes = 0  # keeps counting after the sequence was dropped

    def push(self, lines: Iterable[bytes | LongLine]) -> Iterator[SourceRow | BadRow]:
        """Yield the rows whose records these lines complete."""
        for line in lines:
            beginning = line.beginning if isinstance(line, LongLine) else line
            if beginning.startswith(HEADER):
                yield from self.end()
                self._begin(beginning)
            elif not beginning.startswith(_COMMENT):
                self._add(line)

    def end(self) -> Iterator[SourceRow | BadRow]:
        """Yield the row of the record that has begun, if there is one."""
        if not self._is_open:
            return
        size_bytes = self._size_bytes - self._sequence.endswith(_STOP)
        if not self._reason and size_bytes > self._max_row_bytes:
            self._reason = too_long(size_bytes, self._max_row_bytes)
        if not self._reason and HEADER in self._sequence:
            self._reason = "'>' inside its sequence; begin each header on a new line"
        if self._reason:
            yield BadRow(self._file, self._position, self._id, self._reason)
        else:
            text = self._sequence.removesuffix(_STOP).decode()
            yield SourceRow(self._file, self._position, self._id, text, None)
        self._position += 1
        self._open()
        self._is_open = False

    def _open(self) -> None:
        self._is_open, self._id, self._reason = True, None, ""
        self._sequence.clear()
        self._size_bytes = 0

    def _begin(self, header: bytes) -> None:
        self._open()
        words = header[len(HEADER) :].split(None, 1)
        try:
            if b"\r" in header.rstrip(b"\r"):
                raise RowError(_RETURN_INSIDE)  # noqa: TRY301 - all that is wrong with a header ends here
            self._id = checked_id(decoded(words[0])) if words and self._reads_ids else None
        except RowError as error:
            self._reason = str(error)

    def _add(self, line: bytes | LongLine) -> None:
        if isinstance(line, LongLine):
            kept, size_bytes = b"", line.size_bytes
            self._sequence.clear()
        else:
            try:
                kept = _letters(line)
            except RowError as error:
                kept, self._reason = b"", self._reason or str(error)
            size_bytes = len(kept)
        if not self._is_open and (size_bytes or self._reason):
            reason = self._reason
            self._open()
            self._reason = reason or "text before the first header, which begins with '>'"
        self._size_bytes += size_bytes
        self._sequence += kept
        if self._reason or self._size_bytes > self._max_row_bytes + len(_STOP):
            del self._sequence[:-1]


def too_long(size_bytes: int, max_row_bytes: int) -> str:
    """The reason why a record is bad whose sequence is longer than allowed."""
    return f"sequence of {size_bytes} bytes; allowed: {max_row_bytes} (--max-row-bytes)"


def _letters(line: bytes) -> bytes:
    """A line of a sequence without white space.

    Raises:
        RowError: it isn't UTF-8, or has a carriage return that doesn't end it.
    """
    line = line.rstrip(_SPACES)
    if b"\r" in line:
        raise RowError(_RETURN_INSIDE)
    if line.isascii():
        return line.translate(None, _SPACES)
    try:
        return "".join(line.decode().split()).encode()
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8: byte 0x{line[error.start]:02x} in its sequence") from error


def read_fasta(chunks: Iterable[bytes], file: str, options: SourceOptions) -> Iterator[SourceBatch]:
    """Yield a row for each record, in batches; a chunk that completes no record gives an empty batch.

    Args:
        chunks: the content.
        file: the label for the rows.
        options: only `max_row_bytes`, `batch_rows` and `reads_ids` matter here.
    """
    records = Records(file, options.max_row_bytes, reads_ids=options.reads_ids)
    # A line may be longer than its letters: as in GenBank, every tenth may be followed by a space.
    line_bytes = options.max_row_bytes + options.max_row_bytes // 8 + len(_STOP)
    for lines in chain(split_lines(chunks, line_bytes, keep_returns=True), [None]):
        batch: SourceBatch = []
        for row in records.end() if lines is None else records.push(lines):
            batch.append(row)
            if len(batch) == options.batch_rows:
                yield batch
                batch = []
        yield batch


def check_fasta(lines: Iterable[bytes | LongLine]) -> None:
    """Refuse an input that isn't FASTA.

    Args:
        lines: its first lines.

    Raises:
        DamagedInputError: they contain text, and no header.
    """
    few = [line.beginning if isinstance(line, LongLine) else line for line in lines]
    if any(line.strip() and not line.startswith(_COMMENT) for line in few) and not any(map(_is_header, few)):
        raise DamagedInputError(
            f"is not FASTA: its first {counted(len(few), 'line has', 'lines have')} no header, which begins with '>'; "
            "name its format with --format"
        )


def looks_like_fasta(head: bytes) -> bool:
    """Whether an input begins with a header, and all other lines at its beginning are of sequences.

    They are judged together, because a sequence may be a few letters long.

    Args:
        head: its first bytes; the last line may be cut off.
    """
    lines = (line.strip() for line in head.removeprefix(BYTE_ORDER_MARK).split(b"\n", _LINES)[:_LINES])
    some = [line for line in lines if line and not line.startswith(_COMMENT)]
    sequences = [line for line in some if not _is_header(line)]
    if not sequences or not _is_header(some[0]):
        return False
    joined = b"".join(sequences)
    is_mixed = _MIXED(joined) is not None and max(map(len, sequences)) >= _NO_WORD
    return is_mixed or _SEQUENCES(joined) is not None


def looks_like_fastq(head: bytes) -> bool:
    """Whether an input begins with a record of FASTQ: a name, a sequence, a plus, and as many qualities as letters."""
    lines = [line.strip() for line in head.removeprefix(BYTE_ORDER_MARK).split(b"\n", 4)[:4]]
    if len(lines) < 4 or not (lines[0].startswith(b"@") and lines[2].startswith(b"+")):  # noqa: PLR2004 - lines of a record
        return False
    return lines[1].isalpha() and len(lines[1]) == len(lines[3])


def looks_like_genbank(head: bytes) -> bool:
    """Whether an input begins with a record of GenBank."""
    return re.match(rb"LOCUS {2,}\S+ +\d+ (bp|aa)\b", head.removeprefix(BYTE_ORDER_MARK)) is not None


def part_of_sequence(content: bytes) -> str:
    """The letters in a part of a record.

    Args:
        content: the part, with the record's header if it begins there.
    """
    if _is_header(content):
        _, _, content = content.partition(b"\n")
    return content.translate(None, _SPACES).decode(errors="ignore")


def _is_header(line: bytes) -> bool:
    return line.startswith(HEADER)
