"""What is read of an input that another program is still writing."""

import os
import socket
from pathlib import Path

import pytest

from producer.sources.errors import DamagedInputError
from producer.sources.streams.live import READ_BYTES, Ending, follow_chunks


def test_what_was_read_before_an_error_is_given():
    """After a signal as before: it can't be read again."""
    reader, writer = socket.socketpair()
    with reader, reader.makefile("rb", buffering=0) as file:
        reader.sendall(b"nobody reads this, so the writer's end is an error")
        writer.sendall(b"one\n" * 5000)
        writer.close()
        ending = Ending()
        ending.wanted.set()
        found = list[bytes]()
        with pytest.raises(DamagedInputError, match="can't be read"):
            found.extend(follow_chunks(file, 1.0, ending))
    assert b"".join(found) == b"one\n" * 5000
    assert not ending.came


@pytest.mark.parametrize("leaves", [False, True])
def test_what_is_in_the_pipe_is_read_at_the_end_or_left(leaves):
    """A run whose turn is over leaves it to the next one; a signal that comes later changes nothing."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as file, os.fdopen(writing, "wb", buffering=0) as pipe:
        ending = Ending()
        pipe.write(b"one\ntw")
        chunks = follow_chunks(file, 1.0, ending)
        assert next(chunks) == b"one\ntw"
        pipe.write(b"o\nthree\nfo")
        if leaves:
            ending.leave()
        ending.wanted.set()
        ending.leave()
        assert list(chunks) == ([b"o\n"] if leaves else [b"o\nthree\nfo"])
        assert ending.came


def test_a_writer_that_goes_on_and_on_is_left():
    """Of what it writes, no more is read than a pipe can hold, and a chunk."""
    with Path("/dev/zero").open("rb", buffering=0) as file:
        ending = Ending()
        ending.wanted.set()
        assert 1 << 20 <= sum(map(len, follow_chunks(file, 1.0, ending))) <= (2 << 20) + READ_BYTES
