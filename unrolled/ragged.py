"""Rows of unequal length in two flat arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ragged(NamedTuple):
    """Token ids of many rows, end to end.

    Attributes:
        values: int32 (tokens,), the ids of all rows.
        offsets: int64 (rows + 1,), where each row begins; row r is values[offsets[r]:offsets[r + 1]].
    """

    values: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 (rows,): the number of tokens in each row."""
        return np.diff(self.offsets)

    def take(self, start: int, stop: int) -> "Ragged":
        """Rows start..stop, sharing the values' memory."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Ragged(self.values[first:last], self.offsets[start : stop + 1] - first)
