"""The content of an object, gathered in memory before it is sent to a bucket, which must know its length first."""

from __future__ import annotations

import contextlib
import mmap
from collections import deque
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from unrolled.store.store import Content

#: Bytes of a piece of memory. The system may begin it anywhere, so some of it is beside the large pages.
PIECE_BYTES = 8 << 20
#: Pieces that are kept for the next objects: those of seven parts of usual size, since several are sent at once.
KEPT_PIECES = 64
#: Not all systems have them.
_LARGE_PAGES, _TAKE_IF_SHORT = getattr(mmap, "MADV_HUGEPAGE", None), getattr(mmap, "MADV_FREE", None)

_kept: deque[mmap.mmap] = deque(maxlen=KEPT_PIECES)


class Gathered:
    """A content as a whole.

    The system clears memory before it hands it out, which takes more processor time than to fill it. So memory is used
    again, but never while a request may still be reading it: with other bytes in it, that would create a wrong object.
    While it waits to be used again, the system may take it back.

    Args:
        content: of an object; a `Writer` is called now, and what it raises goes through.

    Attributes:
        pieces: the content, in order.

    Raises:
        MemoryError: there is no memory for it.
    """

    def __init__(self, content: Content) -> None:
        self.pieces: list[bytes] | list[memoryview]
        self._memory: list[mmap.mmap] = []
        if callable(content):
            file = _Pieces(self._memory)
            content(cast("BinaryIO", file))
            self.pieces = file.filled()
        else:
            self.pieces = [content]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def abandon(self) -> None:
        """Note that a request may be reading the content for an unknown time, so its memory isn't used again."""
        self._memory = []

    def release(self) -> None:
        """Let other contents have the memory, if it wasn't abandoned and is read no more. There are no pieces then."""
        memory, self._memory = self._memory, []
        if not memory:
            return
        try:
            for piece in self.pieces:
                cast("memoryview", piece).release()
        except BufferError:  # a request still reads it, and should have been answered at its end only
            return
        self.pieces = []
        _kept.extend(each for each in memory if _advise(each, _TAKE_IF_SHORT))


class _Pieces:
    """The end of a file, of which `write` alone may be used."""

    def __init__(self, memory: list[mmap.mmap]) -> None:
        self._memory = memory
        self._full: list[memoryview] = []
        self._piece = memoryview(b"")
        self._filled = 0

    def write(self, content: bytes | memoryview) -> int:
        size, done = memoryview(content).nbytes, 0
        given = memoryview(content).cast("B") if size else b""  # an empty view can't be cast
        while done < size:
            if self._filled == len(self._piece):
                self._full.append(self._piece)
                self._memory.append(_memory())
                self._piece, self._filled = memoryview(self._memory[-1]), 0
            count = min(size - done, len(self._piece) - self._filled)
            self._piece[self._filled : self._filled + count] = given[done : done + count]
            self._filled += count
            done += count
        return size

    def filled(self) -> list[memoryview]:
        """All that was written."""
        with self._piece:
            return [*self._full, self._piece[: self._filled]]


def _memory() -> mmap.mmap:
    with contextlib.suppress(IndexError):
        return _kept.pop()
    try:
        memory = mmap.mmap(-1, PIECE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the system has no {PIECE_BYTES >> 20} MiB of memory") from error
    _advise(memory, _LARGE_PAGES)
    return memory


def _advise(memory: mmap.mmap, advice: int | None) -> bool:
    """Whether the system has taken the advice."""
    if advice is not None:
        with contextlib.suppress(OSError):
            memory.madvise(advice)
            return True
    return False
