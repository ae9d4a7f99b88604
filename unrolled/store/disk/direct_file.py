"""A file whose content goes to the disk past the page cache, where the system lets it.

The page cache copies what is written into pages that it has to find and account for, and frees them later. For a large
file that is not read soon, that is most of the processor time of writing it. With a direct write (`O_DIRECT`), the disk
fetches the content from the program's memory. The write must begin and end, in memory and in the file, where the disk's
blocks do, so the content is gathered first.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes that are gathered for one write: a multiple of any disk's block, and few enough to stay in a core's cache.
GATHERED_BYTES = 1 << 20


class DirectFile:
    """Writes to the end of a file from its start on; durable only when its caller makes it so.

    Args:
        descriptor: of an empty file, open for writing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        # Private, for shared memory is slower to fill; it begins at a page, as a direct write asks.
        self._memory = mmap.mmap(-1, GATHERED_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._gathered = memoryview(self._memory)
        self._filled = 0
        self._direct = _set_direct(descriptor, wanted=True)

    @property
    def is_direct(self) -> bool:
        """Whether the next full buffer goes past the page cache, as far as the system has said so far."""
        return self._direct

    def write(self, content: bytes | memoryview) -> int:
        """Take all of the content; the number of its bytes.

        Raises:
            OSError: the system refused this write, or an earlier one.
        """
        size, done = memoryview(content).nbytes, 0
        given = memoryview(content).cast("B") if size else b""  # an empty view can't be cast
        while done < size:
            count = min(size - done, GATHERED_BYTES - self._filled)
            self._gathered[self._filled : self._filled + count] = given[done : done + count]
            self._filled += count
            done += count
            if self._filled == GATHERED_BYTES:
                self._hand_over()
        return size

    def flush(self) -> None:
        """Hand over what was gathered; as no whole number of blocks, it and what follows go through the page cache."""
        self._end_direct()
        self._hand_over()

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def close(self) -> None:
        """Free the memory; the descriptor stays open."""
        self._gathered.release()
        self._memory.close()

    def _hand_over(self) -> None:
        done = 0
        while done < self._filled:
            try:
                with self._gathered[done : self._filled] as left:
                    done += os.write(self._descriptor, left)
            except OSError as error:
                # Some systems take the flag and refuse the write, and what a full disk cut short isn't whole blocks.
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._end_direct()
        self._filled = 0

    def _end_direct(self) -> None:
        if self._direct:
            _set_direct(self._descriptor, wanted=False)
            self._direct = False


@contextlib.contextmanager
def direct_file(descriptor: int) -> Iterator[DirectFile]:
    """A `DirectFile`, closed at the end."""
    file = DirectFile(descriptor)
    try:
        yield file
    finally:
        file.close()


def _set_direct(descriptor: int, *, wanted: bool) -> bool:
    """Whether the file's writes are direct now; never where the system or the file system has no direct writes."""
    direct = getattr(os, "O_DIRECT", 0)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~direct
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | direct if wanted else flags)
    except OSError:
        return False
    return wanted and direct != 0
