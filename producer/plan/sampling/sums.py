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
#: A length that is estimated from all parts of a row, in which words may be cut, may be so many times as large, or as
#: small; and one from some parts.
_FACTOR, _FACTOR_OF_SOME = 1.02, 1.5


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

    A part doesn't show in which field of the row it is. So if one is bad, the row may be bad, or may not; only a row of
    which each part is bad surely is.

    Attributes:
        is_bad: whether a part is bad.
        is_refused: whether all of it is too long for a model that pads rows, as `judged` has found.
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

    def judged(
        self, weight: Callable[[float], float] | None, limits: Limits, bad_share: float
    ) -> tuple[NDArray[np.float64], str]:
        """What judging the row as a whole changes in the sums, and why it is too long; "" if it isn't.

        Args:
            weight: how many rows of the input a row in a piece of so many bytes stands for; None if all were read.
            limits: of the model.
            bad_share: the share of the other rows in parts that may be bad.
        """
        shares = np.array([share * (weight(size) if weight else 1) for size, _, share, _ in self._parts])
        share, sums = shares.sum(), shares @ np.array([values for _, values, _, _ in self._parts])
        length = round(float(np.average([length for *_, length in self._parts], weights=shares)))
        factor = _FACTOR if sum(share for _, _, share, _ in self._parts) > _ALL else _FACTOR_OF_SOME
        seems_empty = factor == _FACTOR_OF_SOME and not length  # its other parts may have tokens
        padded, found, reason = limits.padding, sums.copy(), ""
        if padded is not None and not self.is_bad and length > padded.length:
            reason, self.is_refused = padded.why_too_long(length), True
            found[:] = 0
            found[_AT["quarantined"]], found[_AT["size"]] = share, sums[_AT["size"]]
            found[_AT["perhaps_bad"]] = share * (weight is not None)
        else:
            good = sums[_AT["rows"]]
            found[_AT["longer"]] = good * (length > limits.max_length)
            found[_AT["empty"]] = good * (not length)
            found[_AT["bare"]] = good * (not sums[_AT["vectors"]])
            found[_AT["perhaps_longer"]] = good * (seems_empty or _is_near(length, limits.max_length, factor))
        if factor == _FACTOR_OF_SOME:
            found[_AT["perhaps_empty"]] = share * seems_empty
            found[_AT["perhaps_bad"]] = max(found[_AT["perhaps_bad"]], share * bad_share)
            found[_AT["in_bad_rows"]] = sums[_AT["size"]] * bad_share
        is_surely_bad = factor == _FACTOR and not sums[_AT["rows"]]
        is_near = padded is not None and _is_near(length, padded.length, factor)
        if not is_surely_bad and (self.is_bad or is_near):
            found[_AT["perhaps_bad"]], found[_AT["in_bad_rows"]] = share, sums[_AT["size"]]
        return found - sums, reason


def _is_near(length: float, limit: int, factor: float) -> bool:
    return length != limit and limit / factor <= length <= limit * factor
