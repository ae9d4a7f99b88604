"""Chunks of an input that another program is still writing."""

import os
import select
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from producer.sources.errors import DamagedInputError

READ_BYTES = 64 * 1024
#: The longest rest of a line that is read when the end is wanted.
_MOST_REST_BYTES = 1 << 20


@dataclass(slots=True)
class Ending:
    """How a live input ends before the other side closes it.

    Attributes:
        wanted: set when nothing more is to be read.
        came: whether nothing more will be read for this reason: what was read may be the beginning of a row.
    """

    wanted: threading.Event = field(default_factory=threading.Event)
    came: bool = False


def follow_chunks(file: BinaryIO, tick_seconds: float, ending: Ending, taken: bytes = b"") -> Iterator[bytes]:
    """Yield data as soon as it arrives, until the other side closes the input, or its end is wanted.

    Waiting in `select` needs no thread: data stays in the pipe until a chunk is requested, so none is lost when the
    reader stops.

    Args:
        file: a pipe, terminal or socket, from whose buffer nothing has been read.
        tick_seconds: an empty chunk is yielded when nothing has arrived for this long.
        ending: ends the input after a chunk and, where that is in the pipe, the rest of its last line.
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
        if not (byte := os.read(descriptor, 1)):
            return bytes(found), True
        found += byte
    return bytes(found), False
