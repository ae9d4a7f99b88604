"""A file whose content goes to the disk past the page cache."""

import ctypes
import errno
import mmap
import os
import resource
import sys

import numpy as np
import pytest
from support import skips

from unrolled.store.disk.direct_file import GATHERED_BYTES, direct_file


def written(descriptor, pieces):
    with direct_file(descriptor) as file:
        assert [file.write(piece) for piece in pieces] == [memoryview(piece).nbytes for piece in pieces]
        file.flush()


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [1],
        [GATHERED_BYTES],
        [GATHERED_BYTES - 1, 2, GATHERED_BYTES],
        [0, 4096, 3 * GATHERED_BYTES + 5, 0, 1],
        [1000] * 3000,
    ],
)
def test_the_content_is_what_was_written(tmp_path, sizes):
    """In order and whole, wherever the pieces end."""
    pieces = [os.urandom(size) for size in sizes]
    with (tmp_path / "file").open("xb") as file:
        written(file.fileno(), pieces)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_any_buffer_is_taken(tmp_path):
    """Numbers are written as the bytes that they are."""
    numbers = memoryview(bytes(range(240))).cast("I", (6, 10))
    with (tmp_path / "file").open("xb") as file:
        written(file.fileno(), [memoryview(np.zeros(0, np.float32)), numbers])
    assert (tmp_path / "file").read_bytes() == bytes(range(240))


def test_it_goes_on_after_a_flush(tmp_path):
    """What follows a flush doesn't begin at a block; it is written through the page cache."""
    pieces = [os.urandom(size) for size in (10, 2 * GATHERED_BYTES)]
    with (tmp_path / "file").open("xb") as file, direct_file(file.fileno()) as direct:
        for piece in pieces:
            direct.write(piece)
            direct.flush()
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_a_system_that_refuses_direct_writes(tmp_path):
    """Off a block's boundary each does; the content goes through the page cache then."""
    content = os.urandom(2 * GATHERED_BYTES + 7)
    with (tmp_path / "file").open("xb", buffering=0) as file:
        file.write(b"x")
        written(file.fileno(), [content])
    assert (tmp_path / "file").read_bytes() == b"x" + content


def test_a_write_that_is_cut_short_goes_on(tmp_path):
    """A limit in the middle of a block lets a part through; the rest meets the limit, and says so."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with (tmp_path / "file").open("xb") as file, pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            written(file.fileno(), [bytes(GATHERED_BYTES)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "file").stat().st_size <= 1000


def pages_in_memory(path):
    """How many of a file's pages are in the page cache; to read the file would bring them there."""
    size = path.stat().st_size
    found = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        answer = ctypes.CDLL(None).mincore(ctypes.byref(start), ctypes.c_size_t(size), found)
        del start  # or the map can't be closed
    assert answer == 0
    return sum(page & 1 for page in found)


@skips.unless(sys.platform == "linux", "only Linux shows what it has in its page cache")
def test_most_of_the_content_never_sees_the_page_cache(tmp_path):
    """What was handed over isn't in the page cache, even before it could have been dropped."""
    path = tmp_path / "file"
    with path.open("xb") as file, direct_file(file.fileno()) as direct:
        if not direct.is_direct:
            skips.skip_here("this file system has no direct writes")
        direct.write(bytes(GATHERED_BYTES))
        assert path.stat().st_size == GATHERED_BYTES
        assert pages_in_memory(path) == 0
        direct.flush()
        file.write(bytes(GATHERED_BYTES))
    assert pages_in_memory(path) > 0
