"""A file whose content goes to the disk past the page cache."""

import errno
import os
import resource

import numpy as np
import pytest

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


def test_most_of_the_content_never_sees_the_page_cache(tmp_path):
    """What was handed over is not there before anybody lets it go."""
    if not hasattr(os, "RWF_NOWAIT"):
        pytest.skip("machine: only Linux shows what it has in its page cache")
    with (tmp_path / "file").open("xb") as file, direct_file(file.fileno()) as direct:
        if not direct.is_direct:
            pytest.skip("machine: this file system has no direct writes")
        direct.write(bytes(GATHERED_BYTES))
        with (tmp_path / "file").open("rb") as reader:
            try:
                found = os.preadv(reader.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT)
            except BlockingIOError:
                found = 0
            except OSError as error:
                pytest.skip(f"machine: this file system doesn't show it: {error}")
        assert found == 0
