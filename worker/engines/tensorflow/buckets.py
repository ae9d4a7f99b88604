"""Plans padded batches of few shapes for rows of unequal length.

Rows are sorted by length, longest first. A batch is as wide as its longest row, rounded up to one of `TIMES`, and has
one of a few numbers of rows, so all shapes are known before the engine starts. If every layer reads forward, rows
longer than `CHUNK` are computed a chunk at a time. If a layer reads backward, rows of up to `WHOLE` tokens are computed
whole, and longer ones layer by layer (`layer_by_layer`).

Padding needs no mask: a state after a token doesn't depend on what the layer reads later, and padding is read last, in
a backward pass too. So the padded steps are dropped afterwards.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Steps of 1, then 4, then an eighth to a sixteenth of the width: rounding adds nothing up to 32 tokens, and at most a
# tenth beyond.
_SHORT = (*range(1, 33), *range(36, 65, 4), *range(72, 129, 8))
TIMES = (*_SHORT, *range(144, 257, 16), *range(288, 513, 32), *range(576, 1025, 64))
CHUNK, WHOLE = _SHORT[-1], TIMES[-1]

# Rows of a batch: powers of two, and the numbers half-way between. The widest register has 16 floats, so with multiples
# of 16 rows no element is left to a kernel's scalar loop, which may round differently.
FEWEST_ROWS = 16
ROW_COUNTS = tuple(FEWEST_ROWS * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256))


class Limits(NamedTuple):
    """The limits of a batch, and the cost of a step.

    Attributes:
        batch_tokens: the most rows x time, padding included. A single row may have more.
        row_counts: the numbers of rows that batches may have, ascending, each a multiple of FEWEST_ROWS.
        step_cost: the constant part of a step's cost, in rows: a step of n rows costs as much as n + step_cost rows.
    """

    batch_tokens: int
    row_counts: tuple[int, ...]
    step_cost: int


class Shape(NamedTuple):
    """Rows and time steps of one padded batch."""

    rows: int
    time: int


class Batch(NamedTuple):
    """Rows start..stop of the sorted rows, in a batch of this shape, which is filled up with empty rows."""

    start: int
    stop: int
    shape: Shape


def plan(lengths: NDArray[np.int64], limits: Limits, start: int = 0) -> list[Batch]:
    """Cut rows into the batches whose total cost is lowest.

    A batch costs time x (rows + step_cost). Dynamic programming from the last row to the first finds the cheapest cut
    among those where batches begin at multiples of FEWEST_ROWS rows; it takes 10 us for each of these.

    Args:
        lengths: int64 (rows,), descending, each in 1..WHOLE.
        limits: the limits and the cost. If even the first of row_counts is too large, a batch has a power of two rows.
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
    cost = np.zeros(cells + 1)  # cost of everything from this cell on
    taken = np.zeros(cells, np.int64)  # rows of the batch that begins at this cell
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
    """The cost of a plan, in steps of one row."""
    return sum(time * (rows + limits.step_cost) for _, _, (rows, time) in batches)


def _power_of_two_below(number: int) -> int:
    return 1 << (number.bit_length() - 1)
