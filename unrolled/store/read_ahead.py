"""Reading an object from its start to its end, some ranges ahead of the reader."""

from __future__ import annotations

import io
import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple, cast

from unrolled.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.patience import Steadily

#: Bytes of the first range, which is all that a check of an object's beginning costs, and of the largest ones. Each
#: range is four times as long as the one before.
FIRST_BYTES, MOST_BYTES = 1 << 18, 1 << 21
#: Ranges that are asked for before they are read. A connection is open only while a range is on its way, however long
#: the reader takes.
RANGES_AHEAD = 4


class _Range(NamedTuple):
    start: int
    stop: int
    content: Future[bytes]


class ReadAhead(io.RawIOBase):
    """A binary file that is read from its start to its end; about 10 MiB of it are in memory.

    Args:
        size_bytes: of the object.
        fetch: gives the bytes `[start:stop]`; called by other threads. A range that fails is fetched again from its
            beginning.
        steadily: tries a range until it has arrived.
        name: of the object, for people.
    """

    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes], steadily: Steadily, name: str) -> None:
        super().__init__()
        self._size_bytes = size_bytes
        self._fetch = fetch
        self._steadily = steadily
        self._name = name
        self._ranges: deque[_Range] = deque()
        self._asked = 0  # bytes from the start that were asked for
        self._next_bytes = FIRST_BYTES
        self._current = memoryview(b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer, or a part of it; the number of bytes, which is 0 at the end alone."""
        view = memoryview(cast("bytearray", buffer)).cast("B")
        if not self._current:
            self._current = memoryview(self._next())
        count = min(len(view), len(self._current))
        view[:count] = self._current[:count]
        self._current = self._current[count:]
        return count

    def close(self) -> None:
        """Ask for nothing more."""
        self._asked = self._size_bytes
        self._ranges.clear()
        super().close()

    def _next(self) -> bytes:
        is_first = not self._asked
        if not self._ranges:
            self._ask()
        if not self._ranges:
            return b""
        wanted = self._ranges.popleft()
        while not is_first and len(self._ranges) < RANGES_AHEAD and self._asked < self._size_bytes:
            self._ask()
        content: Future[bytes] | None = wanted.content

        def arrived() -> bytes:
            nonlocal content
            asked = content or in_thread(self._fetch, wanted.start, wanted.stop)
            try:
                return asked.result()
            except TransientError:
                content = None
                raise

        return self._steadily(f"read {self._name}", arrived)

    def _ask(self) -> None:
        start, stop = self._asked, min(self._asked + self._next_bytes, self._size_bytes)
        if stop > start:
            self._ranges.append(_Range(start, stop, in_thread(self._fetch, start, stop)))
            self._asked, self._next_bytes = stop, min(4 * self._next_bytes, MOST_BYTES)


def in_thread(fetch: Callable[[int, int], bytes], start: int, stop: int) -> Future[bytes]:
    """Fetch a range in a thread of its own, so that Ctrl-C needn't wait for a server that gives no answer."""
    content: Future[bytes] = Future()

    def run() -> None:
        try:
            content.set_result(fetch(start, stop))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that wants the result
            content.set_exception(error)

    threading.Thread(target=run, name="read-ahead", daemon=True).start()
    return content
