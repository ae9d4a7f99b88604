"""How many steps of a pool are computed, because rows that begin alike share them."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from unrolled.model.layer import LayerConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.model.token_map import MapConfig


def computed_share(rows: Sequence[NDArray[np.int32]], layers: Sequence[LayerConfig | MapConfig]) -> float:
    """The share of the tokens of a pool that the fused engine computes, a mean over recurrent layers and directions.

    Layers of one direction are computed together. The first of these stages shares what rows begin with, or what they
    end with where it reads them backward; what is above it depends on the whole row, so only equal rows are shared.

    Args:
        rows: real token ids of each row of the pool.
        layers: from the first to the last one whose states are stored. Maps don't count.

    Returns:
        1 where nothing is shared, or there is no token.
    """
    tokens = sum(row.size for row in rows)
    if not tokens:
        return 1.0
    directions = [layer.direction for layer in layers if isinstance(layer, LayerConfig)]
    stages = [(direction, len(list(same))) for direction, same in groupby(directions)]
    stages = [stage for direction, count in stages for stage in _single(direction, count)]
    distinct = list({row.tobytes(): row for row in rows}.values())
    done = passes = 0
    for number, (direction, count) in enumerate(stages):
        both = direction == "bidirectional"
        ways = [False, True] if both else [direction == "backward"]
        for backward in ways:
            steps = _distinct_beginnings(distinct, backward=backward) if not number else sum(r.size for r in distinct)
            done += steps * count
            passes += count
    return done / passes / tokens


def _single(direction: str, count: int) -> list[tuple[str, int]]:
    """The stages of some layers of one direction: bidirectional ones are a stage each."""
    return [(direction, 1)] * count if direction == "bidirectional" else [(direction, count)]


def _distinct_beginnings(rows: Sequence[NDArray[np.int32]], *, backward: bool) -> int:
    """The number of distinct non-empty beginnings of rows; of reversed rows, if `backward`."""
    # The order of big-endian bytes is that of the numbers, so rows that share most are neighbours.
    ordered = sorted((row[::-1] if backward else row).astype(">i4").tobytes() for row in rows)
    arrays = [np.frombuffer(row, ">i4") for row in ordered]
    return sum(row.size for row in arrays) - sum(_shared(*pair) for pair in pairwise(arrays))


def _shared(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """How many tokens two rows begin with together."""
    most = min(one.size, other.size)
    if not most or one[0] != other[0]:
        return 0
    differs = one[:most] != other[:most]
    first = int(differs.argmax())
    return first if differs[first] else most
