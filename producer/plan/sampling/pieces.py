"""Pieces of the input that a plan reads: some stored bytes, and the rows in them, each with the part that is in them.

A row that reaches over an edge of a piece counts with that part of it alone. So every stored byte of an input has the
same chance to be looked at, however long its row is, and sums over pieces are estimates of sums over the input.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol

from producer.sources.formats.fasta import part_of_sequence
from producer.sources.formats.json_escapes import unescaped
from producer.sources.rows import PARTLY_READ, SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.sources.discovery import SourceFile
    from producer.sources.options import SourceOptions
    from producer.sources.rows import BadRow

#: Of a longer row at the edge of a piece, only a part is tokenized, and its tokens are counted in proportion.
WHOLE_ROW_BYTES = 256 * 1024
#: Bytes of a part that is tokenized.
PART_BYTES = 64 * 1024
#: Token ids, and what is between them in any format: not so many blanks as there may be between words.
_NUMBERS = re.compile(rb"(?:[0-9]+[ ,\t\[\]]{0,8})+")
_SPACES = bytes.maketrans(b",\t[]", b"    ")
_BLANK = re.compile(rb"\s")
#: Characters of the longest word that is made whole at the end of a part.
WORD = 100
#: Bytes before a part that show whether it begins inside an escape, or inside a number.
BYTES_BEFORE = 64


class Seen(NamedTuple):
    """A row that was seen.

    Attributes:
        row: the row; of a long one, a part.
        share: the part of the row that is in the piece, above 0 and at most 1.
        whole: how many times as long the whole row is as `row`; 1 where it is the whole row.
        begins: whether the row begins in the piece.
        part_of: of a part of a row that is in several pieces: the label of its input and where it begins there.
    """

    row: SourceRow | BadRow
    share: float = 1.0
    whole: float = 1.0
    begins: bool = True
    part_of: tuple[str, int] | None = None


class Piece(NamedTuple):
    """A piece of the input.

    Attributes:
        size_bytes: stored bytes that it stands for.
        rows: the rows in it, in order.
        unit: the number of the unit that it is a piece of, where its input has units.
        repeated: whether nothing is left of this unit: all that was read of it is drawn again, and `rows` is empty.
    """

    size_bytes: float
    rows: list[Seen]
    unit: int = 0
    repeated: bool = False


class Frame(Protocol):
    """Inputs that are sampled in one way.

    Attributes:
        size_bytes: stored bytes of them all.
        from_the_start: whether a part of an input can only be read from its start on.
        unread: why the rest of some inputs can't be read, by their labels.
        rows: how many rows they have, bad ones included; None where that isn't known.
    """

    @property
    def size_bytes(self) -> int: ...  # noqa: D102 - see above

    @property
    def from_the_start(self) -> bool: ...  # noqa: D102 - see above

    @property
    def unread(self) -> dict[str, str]: ...  # noqa: D102 - see above

    @property
    def rows(self) -> int | None: ...  # noqa: D102 - see above

    def pieces(self) -> Iterator[Piece]:
        """Yield pieces that are spread over the inputs, whenever it is stopped; all of them, where it isn't stopped."""
        ...

    def consecutive(self) -> Iterator[Piece]:
        """Yield pieces that follow each other, from a place inside the inputs on."""
        ...


def spread(number: int) -> float:
    """The number-th of points that are evenly spread in [0, 1), however many of them are taken, from 0.

    Source: van der Corput's sequence, the binary digits of the number in reverse order behind the point.
    """
    point, half = 0.0, 0.5
    while number:
        point += half * (number & 1)
        number >>= 1
        half /= 2
    return point


def part_of_row(source: SourceFile, before: bytes, content: bytes, after: bytes, options: SourceOptions) -> SourceRow:
    """A row that holds a part of a long one, whose tokens are about as many for each byte.

    Args:
        source: its file.
        before: the last `BYTES_BEFORE` bytes of the row before this part, or fewer where there aren't as many.
        content: the part.
        after: the next `WORD` bytes of the row, or fewer where there aren't as many.
        options: how the file is read.
    """
    if source.format == "fasta":
        return SourceRow(source.label, 0, None, part_of_sequence(content), None, PARTLY_READ)
    # The first number may have begun before this part; it is counted there.
    begun = content.lstrip(b"0123456789") if before[-1:].isdigit() else content
    numbers = max(_NUMBERS.findall(begun), key=len, default=b"")
    may_be_ids = options.kind == "tokens" or (options.kind != "text" and source.format != "text")
    # Before and behind the numbers, there may be an id and other fields.
    if may_be_ids and 2 * len(numbers) > len(begun):
        ids = [int(number[:10]) for number in numbers.translate(_SPACES).split()]
        return SourceRow(source.label, 0, None, None, ids, PARTLY_READ)
    before, content = _whole_words(before, content, after)
    text = content.decode(errors="ignore")
    if source.format == "jsonl":
        text = unescaped(before.decode(errors="ignore"), text)
    return SourceRow(source.label, 0, None, text, None, PARTLY_READ)


def _whole_words(before: bytes, content: bytes, after: bytes) -> tuple[bytes, bytes]:
    """What is before a part, and the words that begin in it; nothing is changed at an end without a blank near it."""
    if before[-1:].strip() and (blank := _BLANK.search(content, 0, WORD)):
        before, content = blank[0], content[blank.end() :]
    if content[-1:].strip() and (blank := _BLANK.search(after)):
        content += after[: blank.start()]
    return before, content
