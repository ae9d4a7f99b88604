"""The colours of a map's points: by a number of each point, or by its group."""

from __future__ import annotations

import math
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Groups that have a colour of their own; smaller ones share one.
MOST_GROUPS = 8
#: Different numbers from which a label is a quantity rather than a name.
_MANY = 12
OTHERS = "others"


class Groups(NamedTuple):
    """A group for each point.

    Attributes:
        title: what the groups are, such as "source file".
        names: whole names of the groups, however long, the largest first; the last one may be `OTHERS`.
        counts: points in each.
        of: int32 (points,), the number of each point's group.
    """

    title: str
    names: list[str]
    counts: list[int]
    of: NDArray[np.int32]


class Scale(NamedTuple):
    """A number for each point.

    Attributes:
        title: what the numbers are, such as "length in tokens".
        values: float64 (points,); NaN where a point has none.
        logarithmic: whether the colours follow the logarithm.
    """

    title: str
    values: NDArray[np.float64]
    logarithmic: bool


def groups(title: str, names: Sequence[str]) -> Groups:
    """Groups by name: the largest by themselves, all others together."""
    counted = Counter(names)
    ordered = sorted(counted, key=lambda name: (-counted[name], name))
    kept = ordered if len(ordered) <= MOST_GROUPS else ordered[: MOST_GROUPS - 1]
    number = {name: at for at, name in enumerate(kept)}
    of = np.array([number.get(name, len(kept)) for name in names], np.int32)
    counts = [counted[name] for name in kept]
    if len(kept) < len(ordered):
        kept = [*kept, f"{len(ordered) - len(kept):,} {OTHERS}"]
        counts.append(len(names) - sum(counts))
    return Groups(title, kept, counts, of)


def scale(title: str, values: NDArray[np.float64]) -> Scale:
    """A scale over numbers, by their logarithm where they are positive and spread over more than a factor of 30."""
    real = values[np.isfinite(values)]
    wide = len(real) > 0 and float(real.min()) > 0 and float(real.max()) > 30 * float(real.min())
    return Scale(title, values, bool(wide))


def labels(title: str, values: Sequence[object]) -> Groups | Scale:
    """A label column: a scale where all values are numbers, and many of them; else groups.

    Args:
        title: the name of the column.
        values: of one type each, as the table has them; None where there is none. Texts are names, also of digits.
    """
    given = [value for value in values if value is not None]
    if all(isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) for value in given):
        numbers = np.array([math.nan if value is None else value for value in values], np.float64)
        if len(np.unique(numbers[np.isfinite(numbers)])) > _MANY:
            return scale(title, numbers)
    return groups(title, ["(none)" if value is None else str(value) for value in values])
