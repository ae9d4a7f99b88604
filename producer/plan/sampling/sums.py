"""The sums over rows that a plan is made from, and those of rows that were seen in several parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from unrolled.model.padding import Padding

#: Sums over rows: good rows, bad rows, bytes of ids without the number in an automatic one, rows with an automatic one,
#: token ids, real ones, rows without a real one, rows longer than the model was made for, tokens of rows that
#: `LONG_ROW_TOKENS` calls long, tokens whose vectors are stored, rows without one of these, characters or token ids,
#: those of them that weren't looked at, those that are perhaps in a bad row, and rows of which the parts that were
#: looked at don't show whether they are bad, without a real token, or longer.
SUMS = (
    "rows", "quarantined", "id_bytes", "automatic", "token_ids", "tokens", "empty", "longer", "long_tokens", "vectors",
    "bare", "size", "left_out", "in_bad_rows", "perhaps_bad", "perhaps_empty", "perhaps_longer",
)  # fmt: skip
#: The rows in doubt that each sum has in its error.
DOUBTS = {
    "rows": "perhaps_bad", "quarantined": "perhaps_bad", "empty": "perhaps_empty", "bare": "perhaps_empty",
    "longer": "perhaps_longer",
}  # fmt: skip
#: Those whose errors aren't known if more than a little was left out, which may be unlike the beginnings of its rows,
#: or is perhaps in a bad row.
OF_ALL_TOKENS = ("token_ids", "tokens", "long_tokens", "vectors")
_AT = {name: at for at, name in enumerate(SUMS)}
#: Shares of a row that are all of it.
_ALL = 0.999
#: A length that is estimated from some parts of a row may be so many times as large, or as small.
_FACTOR = 1.5


class Limits(NamedTuple):
    """The lengths at which a model takes rows for other ones.

    Attributes:
        max_length: of longer rows, which are computed too.
        padding: if it pads rows; longer ones are bad then.
    """

    max_length: int
    padding: Padding | None


class RowInParts:
    """A row that was seen in several parts, each with the values of `SUMS` that it would have if all of it were so.

    Attributes:
        is_bad: whether a part is bad, and so the row.
        is_refused: whether it goes to quarantine, as `judged` has found.
        is_whole: whether the parts are all of it.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[float, NDArray[np.float64], float, float]] = []
        self.is_bad = self.is_refused = False

    def add(self, size_bytes: float, values: NDArray[np.float64], share: float, length: float) -> None:
        """Add a part.

        Args:
            size_bytes: of the piece of the input that it is in.
            values: those of `SUMS`.
            share: the part of the row that it is.
            length: real tokens of the row, as the part shows it.
        """
        self._parts.append((size_bytes, values, share, length))
        self.is_bad |= not values[0]

    @property
    def is_whole(self) -> bool:  # noqa: D102 - see above
        return sum(share for _, _, share, _ in self._parts) > _ALL

    def judged(
        self, weight: Callable[[float], float], limits: Limits, *, in_doubt: bool
    ) -> tuple[NDArray[np.float64], str]:
        """What judging the row as a whole changes in the sums, and why it is too long; "" if it isn't.

        Args:
            weight: how many rows of the input a row in a piece of so many bytes stands for.
            limits: of the model.
            in_doubt: whether a row may be bad in the parts that weren't seen.
        """
        shares = np.array([weight(size_bytes) * share for size_bytes, _, share, _ in self._parts])
        share, sums = shares.sum(), shares @ np.array([values for _, values, _, _ in self._parts])
        length = float(np.average([length for *_, length in self._parts], weights=shares))
        padded, found, reason = limits.padding, sums.copy(), ""
        if padded is not None and not self.is_bad and length > padded.length:
            reason = padded.why_too_long(round(length))
        self.is_refused = self.is_bad or bool(reason)
        if self.is_refused:
            found[:] = 0
            found[_AT["quarantined"]], found[_AT["size"]] = share, sums[_AT["size"]]
        else:
            found[_AT["longer"]] = share * (length > limits.max_length)
            found[_AT["empty"]] = share * (not length)
            found[_AT["bare"]] = share * (not sums[_AT["vectors"]])
        if not (self.is_whole or self.is_bad):
            found[_AT["perhaps_empty"]] = share * (not length)
            found[_AT["perhaps_longer"]] = share * (not length or _is_near(length, limits.max_length))
            if in_doubt or (padded is not None and _is_near(length, padded.length)):
                found[_AT["perhaps_bad"]], found[_AT["in_bad_rows"]] = share, sums[_AT["size"]]
        return found - sums, reason


def _is_near(length: float, limit: int) -> bool:
    return limit / _FACTOR <= length <= limit * _FACTOR
