"""Files that are written under a hidden name, before they get the name that readers look for.

After a crash there may be a hidden leftover, which `sweep_leftovers` removes once no process is writing it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import stat
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from unrolled.store.disk.direct_file import direct_file
from unrolled.store.disk.refusals import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LEFTOVER = re.compile(r"\..+\.tmp", re.DOTALL)
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


@contextlib.contextmanager
def hidden_file(directory: int, name: str) -> Iterator[tuple[str, BinaryIO]]:
    """A new locked file under a hidden name, which is removed at the end if it is still there.

    Args:
        directory: the descriptor of the directory.
        name: that the file is for.

    Yields:
        The hidden name, and the file, open for writing.
    """
    # Host and process are for the person who finds the file; the random part alone makes the name unique.
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:30]
    temporary = f".{name}.{host}-{os.getpid()}-{os.urandom(8).hex()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        try:
            # The lock lasts until the file is closed or the process dies. Without locks, age alone decides.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield temporary, file
        finally:
            # A name that can't be removed now is swept later, and must not hide how the writing ended.
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)


def fill(file: BinaryIO, write: Callable[[BinaryIO], object], *, cached: bool) -> None:
    """Write the content of a new file and make it durable.

    Args:
        file: open for writing, empty.
        write: gives the content to the binary file it is called with.
        cached: whether the content goes through the page cache and stays there. A large file that is not read soon
            displaces other files from the cache, and copying it there is most of the processor time of writing it.
    """
    if cached:
        write(file)
        file.flush()
        os.fsync(file.fileno())
        return
    with direct_file(file.fileno()) as direct:
        write(cast("BinaryIO", direct))  # which has all the methods that writers use
        direct.flush()
    os.fsync(file.fileno())
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # it is advice
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """The descriptor of a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def sync_directory(directory: int) -> None:
    """Make the names in a directory durable, given its descriptor."""
    try:
        os.fsync(directory)
    except OSError as error:
        # Some network file systems have no such call: their names are durable at once, or never known to be.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise


def sweep_leftovers(directory: Path, older_than_seconds: float) -> list[Path]:
    """Remove the hidden files of processes that died.

    A file is removed if nothing was written to it for some time and no living process holds its lock.

    Args:
        directory: where files are written.
        older_than_seconds: seconds since the last write; this alone decides where there are no locks.

    Returns:
        The files that were removed.

    Raises:
        TransientError: the directory can't be read or written.
    """
    removed = []
    with explained(f"sweep {directory}"), os.scandir(directory) as entries:
        # A folder may have a million names, of which few are hidden.
        for path in [directory / entry.name for entry in entries if entry.name[0] == "."]:
            if _LEFTOVER.fullmatch(path.name) and _is_abandoned(path, older_than_seconds):
                path.unlink(missing_ok=True)
                removed.append(path)
    return sorted(removed)


def _is_abandoned(path: Path, older_than_seconds: float) -> bool:
    try:
        status = path.lstat()
        # Opening anything but a file may wait for ever.
        if not stat.S_ISREG(status.st_mode) or time.time() - status.st_mtime < older_than_seconds:
            return False
        with _opened_for_lock(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # it has got its name, or was removed
        return False
    except OSError as error:
        return error.errno in _WITHOUT_LOCKS
    return True


def _opened_for_lock(path: Path) -> BinaryIO:
    # NFS grants an exclusive lock on a file that is open for writing only; flock(2), "NFS details".
    try:
        return path.open("r+b")
    except PermissionError:  # another user's: a local disk locks what can only be read, too
        return path.open("rb")
