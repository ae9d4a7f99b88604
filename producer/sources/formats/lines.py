"""Lines from chunks, and rows from lines."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from producer.sources.formats.fields import checked_id, decoded, spaced_tokens
from producer.sources.options import SourceOptions
from producer.sources.rows import BadRow, SourceBatch, SourceRow
from unrolled.errors import RowError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Bytes that are kept of a line that is longer than allowed.
_BEGINNING_BYTES = 2048

ParseLine = Callable[[bytes, int], SourceRow | BadRow]


@dataclass(frozen=True, slots=True)
class LongLine:
    """Represents a line that is longer than allowed; its bytes were dropped, except the first ones."""

    size_bytes: int
    max_row_bytes: int
    beginning: bytes = field(default=b"", compare=False, repr=False)

    @property
    def reason(self) -> str:
        """The reason why its row is bad."""
        return f"line of {self.size_bytes} bytes; allowed: {self.max_row_bytes} (--max-row-bytes)"


def split_lines(
    chunks: Iterable[bytes], max_row_bytes: int, *, keep_returns: bool = False
) -> Iterator[list[bytes | LongLine]]:
    r"""Yield, for each chunk, the lines that it completes, without their ends ("\n" or "\r\n").

    Only "\n" ends a line; the last line may lack it. A UTF-8 byte-order mark before the first line is dropped. At most
    one chunk and `max_row_bytes` are in memory.

    Args:
        chunks: the content; an empty chunk gives an empty list.
        max_row_bytes: longer lines become a LongLine.
        keep_returns: keep a "\r" before the "\n" as part of the line; it never counts to its length.
    """
    # One function of over 40 lines, because all of it reads and changes the line that has begun.
    held: list[bytes] = []  # the beginning of a line whose end hasn't been read yet
    held_bytes = 0  # keeps counting after the bytes were dropped
    last = b""  # the last one of them
    first = True

    def finished(line: bytes) -> bytes | LongLine:
        if first:
            line = line.removeprefix(BYTE_ORDER_MARK)
        size = len(line) - (line[-1:] == b"\r")
        if size > max_row_bytes:
            return LongLine(size, max_row_bytes, line[:_BEGINNING_BYTES])
        return line if keep_returns else line[:size]

    def joined() -> bytes | LongLine:
        line = b"".join(held)
        beginning = line.removeprefix(BYTE_ORDER_MARK if first else b"")
        size = held_bytes - (len(line) - len(beginning)) - (last == b"\r")
        dropped = LongLine(size, max_row_bytes, beginning[:_BEGINNING_BYTES])
        return finished(line) if len(line) == held_bytes else dropped

    for chunk in chunks:
        lines: list[bytes | LongLine] = []
        *ended, rest = chunk.split(b"\n")
        if ended:
            held.append(ended[0])
            held_bytes += len(ended[0])
            last = ended[0][-1:] or last
            lines.append(joined())
            first = False
            lines.extend(map(finished, ended[1:]))
            held, held_bytes = [], 0
        if rest:
            held_bytes += len(rest)
            last = rest[-1:]
            # `finished` removes a byte-order mark and a "\r".
            if held_bytes <= max_row_bytes + len(BYTE_ORDER_MARK) + 1:
                held.append(rest)
            else:
                held[:] = [_beginning((*held, rest))]
        yield lines
    only_mark = first and b"".join(held) == BYTE_ORDER_MARK
    if held_bytes and not only_mark:
        yield [joined()]


def _beginning(pieces: Iterable[bytes]) -> bytes:
    return b"".join(piece[:_BEGINNING_BYTES] for piece in pieces)[:_BEGINNING_BYTES]


def read_lines(
    chunks: Iterable[bytes], file: str, options: SourceOptions, parse: ParseLine, *, empty_rows: bool
) -> Iterator[SourceBatch]:
    """Yield a row for each line, in batches; an empty chunk gives an empty batch.

    Args:
        chunks: the content.
        file: the label for the rows.
        options: only `max_row_bytes` and `batch_rows` matter here.
        parse: makes a row from a line and its position.
        empty_rows: whether a line without a character is a row.
    """
    position = 0
    for found in split_lines(chunks, options.max_row_bytes):
        lines = found if empty_rows else [line for line in found if line]
        for start in range(0, len(lines) or 1, options.batch_rows):
            some = lines[start : start + options.batch_rows]
            yield [
                BadRow(file, at, None, line.reason) if isinstance(line, LongLine) else parse(line, at)
                for at, line in enumerate(some, position)
            ]
            position += len(some)


def text_parser(file: str, options: SourceOptions) -> ParseLine:
    """A function that makes a row from a line of text, or of token ids if `options.kind` is "tokens"."""
    is_tokens, has_id = options.kind == "tokens", options.id_first_word

    def parse(line: bytes, position: int) -> SourceRow | BadRow:
        id: str | None = None  # noqa: A001 - the field's name
        try:
            text = decoded(line)
            if has_id:
                id, text = _first_word(text)  # noqa: A001 - the field's name
            return SourceRow(file, position, id, *((None, spaced_tokens(text)) if is_tokens else (text, None)))
        except RowError as error:
            return BadRow(file, position, id, str(error))

    return parse


def _first_word(line: str) -> tuple[str, str]:
    """The first word of a line, as an id, and the rest."""
    words = line.split(None, 1)
    if not words:
        raise RowError("has no id: the line is empty, and its first word is to be the id")
    return checked_id(words[0]), words[1] if len(words) > 1 else ""
