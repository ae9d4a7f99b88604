"""An object that is read by ranges, as a binary file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from unrolled.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable


class ObjectFile(io.RawIOBase):
    """Reads ranges of an object on demand; each `read` is one range.

    Args:
        size_bytes: of the object.
        fetch: gives the bytes `[start:stop]`, which are in the object; None where the object is gone.
        tail: the object's last bytes, which are not fetched again.
    """

    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes | None], tail: bytes = b"") -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._fetch = fetch
        self._tail = tail
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, which may be beyond the end; the new position."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if begin + offset < 0:
            raise ValueError(f"position {begin + offset} is before the beginning of the file")
        self._position = begin + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes from the position on, all that are left by default; fewer only at the end."""
        if self.closed:
            raise ValueError("read of a closed file")
        left = max(0, self._size_bytes - self._position)
        count = left if size is None or size < 0 else min(size, left)
        if not count:
            return b""
        start, stop = self._position, self._position + count
        begin_of_tail = self._size_bytes - len(self._tail)
        if start >= begin_of_tail:
            content: bytes | None = self._tail[start - begin_of_tail : stop - begin_of_tail]
        else:
            content = self._fetch(start, stop)
        if content is None or len(content) != count:
            found = "is gone" if content is None else f"gave {len(content)} bytes"
            raise TransientError(f"bytes {start} to {stop} were asked for, and the object {found}; open it again")
        self._position = stop
        return content

    def readall(self) -> bytes:
        """All that is left."""
        return self.read()

    def readinto(self, buffer: object) -> int:
        """Fill a buffer; the number of bytes."""
        view = memoryview(cast("bytearray", buffer)).cast("B")
        content = self.read(len(view))
        view[: len(content)] = content
        return len(content)


def native_file(file: ObjectFile) -> BinaryIO:
    """The file as pyarrow reads it."""
    import pyarrow as pa  # noqa: PLC0415 - takes longer to load than all that a store does otherwise

    return cast("BinaryIO", pa.PythonFile(file, mode="r"))
