"""Files that appear whole or not at all."""

import errno
import os
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from unrolled.errors import TransientError
from unrolled.store.publish import publish


def names(directory):
    return [path.name for path in directory.iterdir()]


def failing(number):
    def write(file):
        file.write(b"half")
        raise OSError(number, os.strerror(number))

    return write


def test_a_file_is_published_and_replaced(tmp_path):
    """The name has the content that was written last, and its folder has nothing else."""
    assert publish(tmp_path, "part", lambda file: file.write(b"one")) == tmp_path / "part"
    publish(tmp_path, "part", lambda file: file.write(b"two"))
    assert (tmp_path / "part").read_bytes() == b"two"
    assert names(tmp_path) == ["part"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "raise the limit of the size of files"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EACCES, "let this user write"),
        (errno.EROFS, "mount it writable"),
        (errno.ESTALE, "mount the directory again"),
        (errno.EIO, "check the disk"),
        (errno.ENOSYS, "check the directory"),
    ],
)
def test_a_refusing_system_leaves_the_old_file(tmp_path, number, advice):
    """The former content stays, nothing half is left, and the text names file, reason and remedy."""
    publish(tmp_path, "part", lambda file: file.write(b"old"))
    with pytest.raises(TransientError, match=advice) as caught:
        publish(tmp_path, "part", failing(number))
    assert str(tmp_path / "part") in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert (tmp_path / "part").read_bytes() == b"old"
    assert names(tmp_path) == ["part"]


@pytest.mark.parametrize("cached", [True, False])
def test_a_file_over_the_limit_of_the_system(tmp_path, cached):
    """A refusal by the real system call is reported like the others."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(TransientError, match=os.strerror(errno.EFBIG)):
            publish(tmp_path, "part", lambda file: file.write(bytes(1 << 20)), cached=cached)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == []


def test_other_errors_go_through(tmp_path):
    """A mistake in the content is not taken for one of the disk, and leaves nothing either."""
    with pytest.raises(ZeroDivisionError):
        publish(tmp_path, "part", lambda _: 1 / 0)
    assert names(tmp_path) == []


def test_a_missing_directory_is_reported(tmp_path):
    """An output directory may be mounted again, so it is tried again."""
    with pytest.raises(TransientError, match=r"make the directory .*gone, or bring it back"):
        publish(tmp_path / "gone", "part", lambda file: file.write(b"x"))


def test_two_publishers_of_one_name_leave_one_whole_file(tmp_path):
    """The last writer wins; no reader sees a mixture."""
    contents = [bytes([number]) * 100_000 for number in range(20)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda content: publish(tmp_path, "part", lambda file: file.write(content)), contents))
    assert (tmp_path / "part").read_bytes() in contents
    assert names(tmp_path) == ["part"]


def in_page_cache(path):
    """Whether a file's first page can be read without the disk."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            return False


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="machine: only Linux shows what it has in its page cache")
def test_a_large_file_leaves_the_page_cache(tmp_path):
    """With cached=False its content is on the disk alone, and whole; else it stays where a reader finds it soon."""
    content = os.urandom(4 << 20)
    paths = {
        cached: publish(tmp_path, f"part-{cached}", lambda file: file.write(content), cached=cached)
        for cached in (True, False)
    }
    try:
        found = {cached: in_page_cache(path) for cached, path in paths.items()}
    except OSError as error:
        pytest.skip(f"machine: this file system doesn't show it: {error}")
    with paths[True].open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if in_page_cache(paths[True]):
        pytest.skip("machine: this file system has no other place than the page cache")
    assert found == {True: True, False: False}
    assert all(path.read_bytes() == content for path in paths.values())
