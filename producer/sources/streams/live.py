"""Chunks of an input that another program is still writing."""

import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from producer.sources.errors import DamagedInputError

READ_BYTES = 64 * 1024
#: The most that is read when the end is wanted, which is what a pipe can hold; and the longest rest of its last line.
_MOST_LEFT_BYTES = _MOST_REST_BYTES = 1 << 20


@dataclass(slots=True)
class Ending:
    """How a live input ends before the other side closes it.

    Attributes:
        wanted: set when nothing more is to be read than what has arrived.
        leaves: whether what has arrived isn't to be read either: another reader's turn has come, or no row is accepted.
        came: whether nothing more will be read for this reason: what was read may be the beginning of a row.
    """

    wanted: threading.Event = field(default_factory=threading.Event)
    leaves: bool = False
    came: bool = False

    def leave(self) -> None:
        """End the input at once, unless its end is wanted already."""
        self.leaves = self.leaves or not self.wanted.is_set()
        self.wanted.set()


def follow_chunks(file: BinaryIO, tick_seconds: float, ending: Ending, taken: bytes = b"") -> Iterator[bytes]:
    """Yield data as soon as it arrives, until the other side closes the input, or its end is wanted.

    Waiting in `select` needs no thread: data stays in the pipe until a chunk is requested. When the end is wanted, what
    is in the pipe is read, because its writer can't write it again; but of a writer that goes on and on, no more than a
    pipe holds.

    Args:
        file: a pipe, terminal or socket, from whose buffer nothing has been read.
        tick_seconds: an empty chunk is yielded when nothing has arrived for this long.
        ending: ends the input after what is in the pipe or, if that is to be left, after the rest of a line.
        taken: what was read from it before; the first chunk.

    Raises:
        DamagedInputError: the input can't be read.
    """
    descriptor, last = file.fileno(), taken[-1:]
    try:
        if taken:
            yield taken
        while not ending.wanted.is_set():
            ready, _, _ = select.select([descriptor], [], [], tick_seconds)
            chunk = os.read(descriptor, READ_BYTES) if ready else b""
            if ready and not chunk:
                return
            last = chunk[-1:] or last
            yield chunk
        left = 0 if ending.leaves else _MOST_LEFT_BYTES
        while left > 0 and select.select([descriptor], [], [], 0)[0]:
            if not (chunk := os.read(descriptor, READ_BYTES)):
                return
            last = chunk[-1:]
            left -= len(chunk)
            yield chunk  # now: after an error, or another signal, only what is in the pipe is lost
        rest, closed = _rest_of_line(descriptor) if last not in (b"", b"\n") else (b"", False)
        if rest:
            yield rest
    except OSError as error:
        raise DamagedInputError(f"can't be read ({error.strerror or error})") from error
    ending.came = not closed


def _rest_of_line(descriptor: int) -> tuple[bytes, bool]:
    """The rest of a line, as far as it is there, byte by byte, because nothing can be put back into a pipe.

    Returns:
        The bytes, and whether the other side has closed the input.
    """
    found = bytearray()
    while len(found) < _MOST_REST_BYTES and not found.endswith(b"\n"):
        if not select.select([descriptor], [], [], 0)[0]:
            break
        try:
            byte = os.read(descriptor, 1)
        except OSError:  # what was read of the line still counts
            break
        if not byte:
            return bytes(found), True
        found += byte
    return bytes(found), False
