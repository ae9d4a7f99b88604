"""Pieces of inputs that are read from their start on, such as compressed files, and of row groups of tables."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, count
from typing import TYPE_CHECKING

from producer.plan.sampling.pieces import Piece, spread
from producer.sources.errors import DamagedInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: After this many draws in a row that brought nothing new, each unit that isn't read to its end is visited in turn.
_PATIENCE = 8


class Unit:
    """A part of the input that is read from its start to its end, or in pieces that are spread over it.

    Args:
        label: the input's.
        size_bytes: stored bytes.
        read: yields its pieces in order; whatever it raises ends it.
        spread: yields them in the order in which they are drawn; None for that of `read`.
        rows: how many rows it has; 0 where that isn't known.

    Attributes:
        is_spread: whether the first pieces are from all over it.
        reason: why it can't be read to its end; None where nothing says so.
        ended: whether nothing is left of it.
    """

    def __init__(
        self,
        label: str,
        size_bytes: int,
        read: Callable[[], Iterator[Piece]],
        spread: Callable[[], Iterator[Piece]] | None = None,
        rows: int = 0,
    ) -> None:
        self.is_spread = spread is not None
        self.label, self.rows = label, rows
        self.size_bytes = size_bytes
        self.reason: str | None = None
        self._read, self._spread = read, spread or read
        self._pieces: Iterator[Piece] | None = None
        self._seen_bytes = 0.0
        self.ended = False

    def again(self) -> Iterator[Piece]:
        """Yield all pieces from the start on."""
        yield from self._explained(self._read)

    def _explained(self, read: Callable[[], Iterator[Piece]]) -> Iterator[Piece]:
        try:
            yield from read()
        except (DamagedInputError, OSError) as error:
            self.reason = str(error)

    def draw(self) -> Piece | None:
        """The next piece; None where there is none."""
        self._pieces = self._pieces or self._explained(self._spread)
        piece = next(self._pieces, None)
        if piece is None:
            self.ended = True
            return None
        self._seen_bytes += piece.size_bytes
        self.ended = self._seen_bytes >= self.size_bytes
        return piece


class UnitFrame:
    """Units, of which large ones are drawn more often than small ones; see `Frame` for the attributes.

    Args:
        units: at least one.
        from_the_start: whether a unit is a whole input, and its pieces are drawn in order.
        rows: how many rows they all have; None where that isn't known.
    """

    def __init__(self, units: Sequence[Unit], *, from_the_start: bool, rows: int | None = None) -> None:
        self._units = units
        self._ends = list(accumulate(unit.size_bytes for unit in units))
        self.size_bytes = self._ends[-1] if units else 0
        self.from_the_start, self.rows = from_the_start, rows

    @property
    def unread(self) -> dict[str, str]:
        """See `Frame`."""
        return {unit.label: unit.reason for unit in self._units if unit.reason is not None}

    def pieces(self) -> Iterator[Piece]:
        """See `Frame.pieces`."""
        idle = 0
        for number in count():
            if idle >= _PATIENCE:
                break
            at = self._at(spread(number))
            piece = self._units[at].draw()
            idle = idle + 1 if piece is None else 0
            yield Piece(0.0, [], at, repeated=True) if piece is None else piece._replace(unit=at)
        for at, unit in enumerate(self._units):
            while not unit.ended:
                if (piece := unit.draw()) is not None:
                    yield piece._replace(unit=at)

    def consecutive(self) -> Iterator[Piece]:
        """See `Frame.consecutive`."""
        first = self._at(1 / 3)
        for number in range(len(self._units)):
            yield from self._units[(first + number) % len(self._units)].again()

    def _at(self, point: float) -> int:
        """The unit that holds the byte at this share of all bytes."""
        return min(bisect_right(self._ends, int(point * self.size_bytes)), len(self._units) - 1)
