"""How rows of unequal length become padded batches of few shapes.

Rows come longest first. A batch is as wide as its longest row, rounded up to one of `TIMES`, and holds one of
few numbers of rows, so the shapes that an engine ever sees are known before it starts. Rows longer than
`CHUNK` come a chunk at a time where every layer reads forward; where one reads backward, rows of up to `WHOLE`
tokens at most come whole, and longer ones layer by layer (`layer_by_layer`).

What is padded is never masked: a state after a token doesn't depend on what the layer reads later, and in a
backward pass too the padding is read last. So it is enough to throw the padded steps away.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Steps of 1, then 4, then an eighth to a sixteenth of the width: rounding adds nothing up to 32 tokens, and a
# tenth at the very most beyond.
_SHORT = (*range(1, 33), *range(36, 65, 4), *range(72, 129, 8))
TIMES = (*_SHORT, *range(144, 257, 16), *range(288, 513, 32), *range(576, 1025, 64))
CHUNK, WHOLE = _SHORT[-1], TIMES[-1]

# Rows of a batch: powers of two, and the half-way steps between. Sixteen floats are the widest register, so
# with multiples of 16 rows no element falls to a kernel's scalar remainder, which may round in another way.
FEWEST_ROWS = 16
ROW_COUNTS = tuple(FEWEST_ROWS * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256))


class Limits(NamedTuple):
    """What a batch may be, and what a step costs.

    Attributes:
        batch_tokens: upper bound of rows x time, padding included. One row is allowed whatever its time.
        row_counts: the numbers of rows that batches may have, ascending, each a multiple of FEWEST_ROWS.
        step_cost: a step costs as much as this many rows more, however few there are; in rows.
    """

    batch_tokens: int
    row_counts: tuple[int, ...]
    step_cost: int


class Shape(NamedTuple):
    """Rows and time steps of one padded batch."""

    rows: int
    time: int


class Batch(NamedTuple):
    """Rows start..stop of the sorted ones, in a batch of this shape; what it has over them are fillers."""

    start: int
    stop: int
    shape: Shape


def plan(lengths: NDArray[np.int64], limits: Limits, start: int = 0) -> list[Batch]:
    """Cut rows into the batches that cost least together.

    A batch costs time x (rows + step_cost). Dynamic programming from the last row to the first finds the
    cheapest cut, with batches beginning at every FEWEST_ROWS-th row only; it takes 10 us for each.

    Args:
        lengths: int64 (rows,), falling, each in 1..WHOLE.
        limits: bounds and cost. Where not even the first of row_counts fits, it takes a power of two.
        start: the first row that is not computed yet.

    Returns:
        Batches from `start` to the end, in order.
    """
    if start >= len(lengths):
        return []
    times = np.array(TIMES)[np.searchsorted(TIMES, lengths[start:])]
    most = np.maximum(1, limits.batch_tokens // times)  # rows, if a batch began here
    counts = np.array(limits.row_counts)
    unit = min(FEWEST_ROWS, _power_of_two_below(int(most[0])))
    times, most = times[::unit], most[::unit]
    fitting = np.searchsorted(counts, most, side="right")
    cells = len(times)
    cost = np.zeros(cells + 1)  # of everything from this cell on
    taken = np.zeros(cells, np.int64)  # rows
    for cell in range(cells - 1, -1, -1):
        rows = counts[: fitting[cell]] if fitting[cell] else np.array([_power_of_two_below(int(most[cell]))])
        total = times[cell] * (rows + limits.step_cost) + cost[np.minimum(cell + rows // unit, cells)]
        best = int(total.argmin())
        cost[cell], taken[cell] = total[best], rows[best]
    batches = []
    cell = 0
    while cell < cells:
        first, count = start + cell * unit, int(taken[cell])
        batches.append(Batch(first, min(first + count, len(lengths)), Shape(count, int(times[cell]))))
        cell += count // unit
    return batches


def total_cost(batches: list[Batch], limits: Limits) -> int:
    """What a plan costs, in steps of one row."""
    return sum(time * (rows + limits.step_cost) for _, _, (rows, time) in batches)


def _power_of_two_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)
