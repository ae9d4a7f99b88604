"""Output arrays, kept for the next shard: fresh memory costs a page fault every 4 KiB."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Buffers:
    """Float32 (tokens, units) arrays that are used again.

    Args:
        units: width of a row.
        keep: most arrays that are kept while nobody uses them.
    """

    def __init__(self, units: int, keep: int) -> None:
        self._units = units
        self._keep = keep
        self._lock = threading.Lock()
        self._free: list[NDArray[np.float32]] = []

    def take(self, tokens: int) -> NDArray[np.float32]:
        """An array of float32 (tokens, units), its content undefined."""
        with self._lock:
            fitting = [i for i, array in enumerate(self._free) if tokens <= len(array) <= 2 * max(tokens, 1)]
            if fitting:
                return self._free.pop(min(fitting, key=lambda i: len(self._free[i])))[:tokens]
        return np.empty((tokens, self._units), np.float32)

    def give(self, array: NDArray[np.float32]) -> None:
        """Take an array back; the giver must not touch it again."""
        whole = array.base if isinstance(array.base, np.ndarray) else array
        with self._lock:
            self._free.append(whole)
            if len(self._free) > self._keep:
                self._free.pop(0)
