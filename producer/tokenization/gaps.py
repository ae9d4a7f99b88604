"""Rows with padding between their tokens: most likely, id 0 is a token in the program that wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Tokens of rows that are short.
_SHORT = 256


def has_gap(ids: NDArray[np.int32]) -> bool:
    """Whether a row of token ids has padding between two tokens."""
    return not np.trim_zeros(ids).all()


def count_gaps(rows: Sequence[NDArray[np.int32]]) -> int:
    """How many rows of token ids have padding between two tokens."""
    # One look at all rows takes less time than one at each; of long rows, it would take memory.
    is_short = sum(row.size for row in rows) <= _SHORT * len(rows)
    padded = rows if not is_short or not rows or not np.concatenate(rows).all() else ()
    return sum(has_gap(row) for row in padded if not row.all())


def line_of_gaps(rows: int) -> str:
    """What such rows mean, for people.

    Args:
        rows: how many there are, at least one.
    """
    have = counted(rows, "row contains", "rows contain")
    return f"{have} the padding id 0 between tokens; if 0 is a token of yours, see docs/token_ids.md"
