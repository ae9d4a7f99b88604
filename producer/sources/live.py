"""Chunks of an input that is still being written."""

import os
import select
from collections.abc import Iterator
from typing import BinaryIO

from producer.sources.errors import DamagedInputError

_READ_BYTES = 64 * 1024


def follow_chunks(file: BinaryIO, tick_seconds: float) -> Iterator[bytes]:
    """Yield what arrives, as soon as it arrives, until the other side closes.

    Waiting in `select` needs no thread: nothing is taken from the pipe before it is asked for, so nothing
    is lost when the reader stops.

    Args:
        file: a pipe, terminal or socket; nothing may have been read from its buffer.
        tick_seconds: an empty chunk is yielded when nothing arrived for this long.

    Raises:
        DamagedInputError: reading failed.
    """
    descriptor = file.fileno()
    while True:
        try:
            ready, _, _ = select.select([descriptor], [], [], tick_seconds)
            if not ready:
                yield b""
                continue
            chunk = os.read(descriptor, _READ_BYTES)
        except OSError as error:
            raise DamagedInputError(f"can't be read ({error.strerror or error})") from error
        if not chunk:
            return
        yield chunk
