"""The tokens of a row whose vectors a job stores, if it doesn't store those of all tokens.

A row's positions depend on its real tokens alone. Three rules are known:

    word-ends   one vector for each word, of a model that reads characters: the state after the blank that follows the
                word or, if the model reads backward, after the blank that precedes it; of a model that reads both
                ways, the first half of a vector is from the one place and the second half from the other
    every:N     the tokens number N, 2 N, 3 N, … of the row, counted from 1
    last:K      the last K tokens of the row, or all of a shorter row
"""

# Over 150 lines: each rule with what it chooses, and its form in JSON and in words.

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from unrolled.errors import OptionError, RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from unrolled.tokenization.ragged import Ragged

ALL = "all"
WORD_ENDS, EVERY, LAST = RULES = ("word-ends", "every", "last")
FORWARD, BACKWARD, BOTH = "forward", "backward", "bidirectional"
#: More blanks than Unicode has.
_MOST_BLANKS = 64
_LARGEST = 2**31 - 1
_COUNTED = re.compile(r"(every|last):([1-9][0-9]{0,9})")
_ALLOWED = f"all, word-ends, every:N or last:K, with a number from 1 to {_LARGEST:,}"


@dataclass(frozen=True, slots=True)
class Positions:
    """A rule, with all that it needs to know.

    Attributes:
        rule: one of `RULES`.
        count: the number of "every" and "last"; None for "word-ends".
        blanks: for "word-ends" the ids of blanks, ascending: tokens that separate words.
        direction: for "word-ends" how the model reads: one that reads "backward" has read a word at the blank before
            it, and "bidirectional" layers at both blanks. None for the other rules.

    Raises:
        RequestError: a value is not allowed.
    """

    rule: str
    count: int | None = None
    blanks: tuple[int, ...] = ()
    direction: str | None = None

    def __post_init__(self) -> None:
        # Types are checked too, because job.json may contain anything; with `type`, because True is an int.
        if self.rule == WORD_ENDS:
            sound = self.count is None and self.direction in (FORWARD, BACKWARD, BOTH) and _are_blanks(self.blanks)
        else:
            sound = self.rule in RULES and type(self.count) is int and 1 <= self.count <= _LARGEST
            sound = sound and self.blanks == () and self.direction is None
        if not sound:
            raise RequestError(f"positions are {self.to_json()!s:.200}; allowed: {_ALLOWED}")

    def chosen(self, rows: Ragged) -> NDArray[np.bool_]:
        """Which tokens are chosen, bool (tokens,); where words are read from both ends, those after which they end.

        Args:
            rows: real tokens only.
        """
        import numpy as np  # noqa: PLC0415 - 0.1 s that a command which only reads a rule doesn't spend

        values, offsets, *_ = rows
        lengths = rows.lengths
        if self.rule == WORD_ENDS:
            return self._words(rows, backward=self.direction == BACKWARD)
        count = self.count or 1  # checked to be there
        numbers = np.arange(1, len(values) + 1) - np.repeat(offsets[:-1], lengths)  # of each token in its row, from 1
        if self.rule == EVERY:
            return np.asarray(numbers % count == 0)
        return np.asarray(numbers > np.repeat(lengths, lengths) - count)

    def choose(self, rows: Ragged, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The vectors at the chosen tokens, (chosen tokens, width); of words that are read from both ends, both halves.

        Args:
            rows: real tokens only.
            vectors: (tokens, width), one for each of them.
        """
        made = vectors[self.chosen(rows)]
        if self.direction == BOTH:
            half = vectors.shape[1] // 2
            made[:, half:] = vectors[self._words(rows, backward=True), half:]
        return made

    def _words(self, rows: Ragged, *, backward: bool) -> NDArray[np.bool_]:
        import numpy as np  # noqa: PLC0415 - as in `chosen`

        values, offsets, *_ = rows
        lengths = rows.lengths
        edges = np.zeros(len(values), np.bool_)  # where a row begins or, for words that are read forward, ends
        edges[offsets[:-1][lengths > 0] if backward else offsets[1:][lengths > 0] - 1] = True
        return _word_ends(np.isin(values, self.blanks), edges, backward=backward)

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON can contain it; `from_json` reads it."""
        if self.rule == WORD_ENDS:
            blanks = list(self.blanks) if isinstance(self.blanks, tuple) else self.blanks
            return {"rule": self.rule, "blanks": blanks, "direction": self.direction}
        return {"rule": self.rule, "count": self.count}

    @classmethod
    def from_json(cls, found: object) -> Self:
        """Read a rule, which is not trusted.

        Raises:
            RequestError: it isn't one.
        """
        if isinstance(found, dict) and found.keys() in ({"rule", "count"}, {"rule", "blanks", "direction"}):
            blanks = found.get("blanks", [])
            return cls(**{**found, "blanks": tuple(blanks) if isinstance(blanks, list) else blanks})
        raise RequestError(f"positions are {found!s:.200}; allowed: {_ALLOWED}")

    def __str__(self) -> str:
        return self.rule if self.rule == WORD_ENDS else f"{self.rule}:{self.count}"


def parse_positions(text: str) -> tuple[str, int | None]:
    """The rule that a user names, and its number: "all", "word-ends", "every:5", "last:1".

    Raises:
        OptionError: the text is none of these.
    """
    if text in (ALL, WORD_ENDS):
        return text, None
    found = _COUNTED.fullmatch(text)
    if found is None or int(found[2]) > _LARGEST:
        raise OptionError(f"positions {text!r:.80}: give {_ALLOWED}")
    return found[1], int(found[2])


def _are_blanks(blanks: object) -> bool:
    return (
        isinstance(blanks, tuple)
        and 0 < len(blanks) <= _MOST_BLANKS
        and all(type(one) is int and 0 < one <= _LARGEST for one in blanks)
        and all(a < b for a, b in pairwise(blanks))
    )


def _word_ends(blank: NDArray[np.bool_], edges: NDArray[np.bool_], *, backward: bool) -> NDArray[np.bool_]:
    """For each word the blank beside its last letter in the order of reading, or that letter if the row ends there.

    Args:
        blank: bool (tokens,), whether a token is a blank.
        edges: bool (tokens,), the last tokens of the rows in the order of reading.
        backward: whether rows are read from their ends.
    """
    if backward:
        return _word_ends(blank[::-1], edges[::-1], backward=False)[::-1]
    chosen = ~blank & edges
    # A blank that follows a letter of its own row.
    chosen[1:] |= blank[1:] & ~blank[:-1] & ~edges[:-1]
    return chosen
