"""An exclusive lock on a file, which ends with the process that holds it."""

import fcntl
import os
import time
from pathlib import Path
from typing import BinaryIO

_POLL_SECONDS = 0.05
_LARGEST_STANDARD = 2


def lock_file(path: Path, wait_seconds: float = 0.0, mode: int = 0o666, *, create: bool = True) -> BinaryIO:
    """Lock a file.

    Args:
        path: the file; its content doesn't matter.
        wait_seconds: how long to wait for another holder.
        mode: permissions of a new file.
        create: whether the file is created if it doesn't exist.

    Returns:
        The open file. The lock ends when it is closed here and in every process that inherited it.

    Raises:
        BlockingIOError: another process holds the lock.
        OSError: the file can't be opened, or its file system has no locks.
    """
    # Over NFS, only what is open for writing can be locked.
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), mode)
    if descriptor <= _LARGEST_STANDARD:
        descriptor = _above_standard(descriptor)
    file = os.fdopen(descriptor, "rb")
    deadline = time.monotonic() + wait_seconds
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_POLL_SECONDS)
            else:
                return file
    except BaseException:
        file.close()
        raise


def _above_standard(descriptor: int) -> int:
    """The file under another number: a process that inherits a standard stream's would have the stream instead."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LARGEST_STANDARD + 1)
    finally:
        os.close(descriptor)
