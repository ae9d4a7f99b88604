"""Chunks of an input that another program is still writing."""

import os
import select
from collections.abc import Iterator
from typing import BinaryIO

from producer.sources.errors import DamagedInputError

READ_BYTES = 64 * 1024


def follow_chunks(file: BinaryIO, tick_seconds: float) -> Iterator[bytes]:
    """Yield data as soon as it arrives, until the other side closes the input.

    Waiting in `select` needs no thread: data stays in the pipe until a chunk is requested, so none is lost when the
    reader stops.

    Args:
        file: a pipe, terminal or socket, from whose buffer nothing has been read.
        tick_seconds: an empty chunk is yielded when nothing has arrived for this long.

    Raises:
        DamagedInputError: the input can't be read.
    """
    descriptor = file.fileno()
    while True:
        try:
            ready, _, _ = select.select([descriptor], [], [], tick_seconds)
            if not ready:
                yield b""
                continue
            chunk = os.read(descriptor, READ_BYTES)
        except OSError as error:
            raise DamagedInputError(f"can't be read ({error.strerror or error})") from error
        if not chunk:
            return
        yield chunk
