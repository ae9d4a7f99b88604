"""How rows of unequal length become padded batches of few shapes.

Rows come longest first. A batch is as wide as its longest row, rounded up to one of `TIMES`, and holds one of
few numbers of rows, so the shapes that an engine ever sees are known before it starts. Rows longer than
`CHUNK` come a chunk at a time.

What is padded is never masked: a forward LSTM's state after a token doesn't depend on what follows it, so it
is enough to throw the padded steps away.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Steps of 1, then 4, then 8: rounding adds nothing up to 32 tokens, and a tenth at the very most beyond.
TIMES = (*range(1, 33), *range(36, 65, 4), *range(72, 129, 8))
CHUNK = TIMES[-1]

# TensorFlow's CPU kernels give a row the same bits in any batch whose rows are a multiple of this: 16 floats
# are one AVX-512 register, so no element falls to a scalar remainder, and no product is a matrix-vector one.
FEWEST_ROWS = 16
# Rows of a batch, in FEWEST_ROWS: powers of two and the half-way steps between them.
_MULTIPLES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256])


class Limits(NamedTuple):
    """What a batch may be, and what a step costs.

    Attributes:
        batch_tokens: upper bound of rows x time, padding included. One row is allowed whatever its time.
        rows: upper bound of rows.
        step_cost: a step costs as much as this many rows more, however few there are; in rows.
    """

    batch_tokens: int
    rows: int
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
    cheapest cut, with batches beginning at every FEWEST_ROWS-th row only; it takes some 10 us for each.

    Args:
        lengths: int64 (rows,), falling, each in 1..CHUNK.
        limits: bounds and cost. Where they allow fewer than FEWEST_ROWS rows, batches are as small as that.
        start: the first row that is not computed yet.

    Returns:
        Batches from `start` to the end, in order.
    """
    if start >= len(lengths):
        return []
    times = np.array(TIMES)[np.searchsorted(TIMES, lengths[start:])]
    most = np.maximum(1, np.minimum(limits.rows, limits.batch_tokens // times))  # rows, if a batch began here
    unit = min(FEWEST_ROWS, 1 << (int(most[0]).bit_length() - 1))
    times, most = times[::unit], most[::unit]
    choices = np.searchsorted(_MULTIPLES, most // unit, side="right")
    cells = len(times)
    cost = np.zeros(cells + 1)  # of everything from this cell on
    taken = np.zeros(cells, np.int64)
    for cell in range(cells - 1, -1, -1):
        multiples = _MULTIPLES[: choices[cell]]
        total = (
            times[cell] * (multiples * unit + limits.step_cost) + cost[np.minimum(cell + multiples, cells)]
        )
        best = int(total.argmin())
        cost[cell], taken[cell] = total[best], multiples[best]
    batches = []
    cell = 0
    while cell < cells:
        first, rows = start + cell * unit, int(taken[cell]) * unit
        batches.append(Batch(first, min(first + rows, len(lengths)), Shape(rows, int(times[cell]))))
        cell += int(taken[cell])
    return batches
