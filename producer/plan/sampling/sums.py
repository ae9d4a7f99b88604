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
#: those of them that weren't looked at, and rows, good or bad, of which parts were.
SUMS = (
    "rows", "quarantined", "id_bytes", "automatic", "token_ids", "tokens", "empty", "longer", "long_tokens", "vectors",
    "bare", "size", "left_out", "partly_read",
)  # fmt: skip
#: Those whose errors aren't known if more than a little was left out, which may be unlike the beginnings of its rows.
OF_ALL_TOKENS = ("token_ids", "tokens", "long_tokens", "vectors")
_AT = {name: at for at, name in enumerate(SUMS)}


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

    A part doesn't show in which field of the row it is. So if some are bad, the row counts as bad in proportion.

    Attributes:
        is_refused: whether all of it is too long for a model that pads rows, as `judged` has found.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[float, NDArray[np.float64], float, float]] = []
        self.is_refused = False

    def add(self, size_bytes: float, values: NDArray[np.float64], share: float, length: float) -> None:
        """Add a part.

        Args:
            size_bytes: of the piece of the input that it is in.
            values: those of `SUMS`.
            share: the part of the row that it is.
            length: real tokens of the row, as the part shows it.
        """
        self._parts.append((size_bytes, values, share, length))

    def judged(self, weight: Callable[[float], float], limits: Limits) -> tuple[NDArray[np.float64], str]:
        """What judging the row as a whole changes in the sums, and why it is too long; "" if it isn't.

        Args:
            weight: how many rows of the input a row in a piece of so many bytes stands for.
            limits: of the model.
        """
        shares = np.array([share * weight(size) for size, _, share, _ in self._parts])
        share, sums = shares.sum(), shares @ np.array([values for _, values, _, _ in self._parts])
        length = round(float(np.average([length for *_, length in self._parts], weights=shares)))
        padding, found, good = limits.padding, sums.copy(), sums[_AT["rows"]]
        if padding is not None and not sums[_AT["quarantined"]] and length > padding.length:
            self.is_refused = True
            found[:] = 0
            found[_AT["quarantined"]] = found[_AT["partly_read"]] = share
            found[_AT["size"]] = sums[_AT["size"]]
            return found - sums, padding.why_too_long(length)
        found[_AT["longer"]] = good * (length > limits.max_length)
        found[_AT["empty"]] = good * (not length)
        found[_AT["bare"]] = good * (not sums[_AT["vectors"]])
        return found - sums, ""
