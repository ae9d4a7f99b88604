"""Output arrays, which are kept for the next shard because new memory costs a page fault every 4 KiB."""

from __future__ import annotations

import threading
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn

#: A kept block is used for a shard that fills at least this share of it, so that little memory is wasted.
SMALLEST_SHARE = 0.75
#: A new block is larger than its shard by this share. Shards are about as long as each other, and one that is a row
#: longer than the last one should fit into that one's block. Pages that are never written take no memory.
SPARE_SHARE = 1 / 16
#: Numbers in a cache line.
_LINE = 16


class Buffers:
    """Float32 arrays for the vectors of shards, which are used again for shards with any columns.

    A shard's arrays are in one block of memory, and each begins on a cache line. So 16 numbers are one line, which the
    fused engine can write without reading it first.

    Args:
        budget_bytes: the most bytes of all blocks, used and kept. If those in use are more, none is kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._free: list[NDArray[np.float32]] = []
        self._used = 0

    def take(self, columns: Sequence[VectorColumn], rows: int, tokens: int) -> list[NDArray[np.float32]]:
        """For each column an array, float32 (tokens or rows, width), with undefined contents."""
        shapes = [(column.vectors(rows, tokens), column.width) for column in columns]
        sizes = [_aligned(count * width) for count, width in shapes]
        block = self._take_block(sum(sizes) + _LINE)
        ends = list(accumulate(sizes, initial=-block.ctypes.data // block.itemsize % _LINE))
        return [
            block[begin : begin + count * width].reshape(count, width)
            for begin, (count, width) in zip(ends, shapes, strict=False)
        ]

    def give(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Take a shard's arrays back. The caller must not use them again.

        Raises:
            TypeError: these are not arrays that `take` gave.
            ValueError: they were given back before.
        """
        block = arrays[0].base
        if not isinstance(block, np.ndarray) or any(array.base is not block for array in arrays):
            raise TypeError("give back what `take` gave, not a copy of it")
        with self._lock:
            if any(kept is block for kept in self._free):
                raise ValueError("these arrays were given back before")
            self._used -= block.nbytes
            self._free.append(block)
            self._make_room(0)

    def _take_block(self, size: int) -> NDArray[np.float32]:
        with self._lock:
            fitting = [i for i, block in enumerate(self._free) if SMALLEST_SHARE * len(block) <= size <= len(block)]
            if fitting:
                block = self._free.pop(min(fitting, key=lambda i: len(self._free[i])))
            else:
                capacity = size + int(size * SPARE_SHARE)
                self._make_room(4 * capacity)
                block = np.empty(capacity, np.float32)
            self._used += block.nbytes
        return block

    @property
    def bytes_held(self) -> int:
        """Bytes of all blocks, used and kept."""
        with self._lock:
            return self._used + sum(block.nbytes for block in self._free)

    def _make_room(self, size_bytes: int) -> None:
        """Free the blocks that were kept longest, until this many bytes fit into the budget."""
        while self._free and self._used + sum(block.nbytes for block in self._free) + size_bytes > self._budget:
            self._free.pop(0)


def _aligned(size: int) -> int:
    """The size rounded up to whole cache lines, so that no two columns share one."""
    return -(-size // _LINE) * _LINE
