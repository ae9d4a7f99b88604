"""Numbers that look random, made from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def scattered(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A number for each number, of which all bits depend on all of its bits (the finalizer of splitmix64).

    Args:
        numbers: uint64 (any shape).

    Returns:
        uint64 (the same shape); different numbers for different ones.
    """
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return found
