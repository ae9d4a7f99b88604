"""Output arrays, kept for the next shard: fresh memory costs a page fault every 4 KiB."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A kept array serves a shard of at least this share of its length, so that little of it lies idle.
SMALLEST_SHARE = 0.75
#: A fresh array has room for a shard this much longer: shards are cut alike, but not to the token, and one that is a
#: row longer than the last must find the last one's array fitting. Pages that nobody writes to take no memory.
SPARE_SHARE = 1 / 16


class Buffers:
    """Float32 (tokens, units) arrays that are used again.

    Args:
        units: width of a row.
        budget_bytes: most bytes of arrays, used and kept; those in use alone may exceed it, and then none is kept.
    """

    def __init__(self, units: int, budget_bytes: int) -> None:
        self._units = units
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._free: list[NDArray[np.float32]] = []
        self._used = 0

    def take(self, tokens: int) -> NDArray[np.float32]:
        """An array of float32 (tokens, units), its content undefined."""
        with self._lock:
            fitting = [i for i, array in enumerate(self._free) if SMALLEST_SHARE * len(array) <= tokens <= len(array)]
            if fitting:
                whole = self._free.pop(min(fitting, key=lambda i: len(self._free[i])))
            else:
                capacity = tokens + int(tokens * SPARE_SHARE)
                self._make_room(4 * capacity * self._units)
                whole = np.empty((capacity, self._units), np.float32)
            self._used += whole.nbytes
        return whole[:tokens]

    def give(self, array: NDArray[np.float32]) -> None:
        """Take an array back, once; the giver must not touch it again."""
        whole = array.base
        if not isinstance(whole, np.ndarray):
            raise TypeError("give back what `take` gave, not a copy of it")
        with self._lock:
            if any(kept is whole for kept in self._free):
                raise ValueError("this array was given back before")
            self._used -= whole.nbytes
            self._free.append(whole)
            self._make_room(0)

    @property
    def bytes_held(self) -> int:
        """Bytes of all arrays, used and kept."""
        with self._lock:
            return self._used + sum(array.nbytes for array in self._free)

    def _make_room(self, size_bytes: int) -> None:
        """Let go of the arrays that were kept longest until so many bytes fit beside the others."""
        while self._free and self._used + sum(array.nbytes for array in self._free) + size_bytes > self._budget:
            self._free.pop(0)
