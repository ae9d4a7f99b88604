"""The file by which a supervisor sees that a worker is well: it is written again and again."""

# Over 150 lines: one file, from the check of its name to its removal.

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import OptionError

_KEY = "on_board"
#: Bytes of a larger file than any of this kind.
_MOST_BYTES = 256
#: What is wrong with the file of two workers: one that hangs would look well while the other writes.
_SHARED = "another worker writes it"
#: How long a worker that has just been told to stop may still have the file of its successor.
HANDOVER_SECONDS = 5.0
_PAUSE_SECONDS = 0.1


class HealthFile:
    """The health file of one worker, which has a lock on it, so that no other worker writes it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._locked: BinaryIO | None = None

    def claim(self) -> None:
        """Lock the file before anything is written to it, so that of two workers that start at once one is refused.

        A file that this makes looks old: this worker isn't well yet.

        Raises:
            OptionError: another worker has it.
        """
        try:
            self._locked = _lock(self.path)
            if self._locked is not None and not os.fstat(self._locked.fileno()).st_size:
                os.utime(self._locked.fileno(), (0, 0))
        except OSError as error:  # its writing tells of another error
            if error.errno == errno.EBUSY:
                raise _refusal(self.path, _SHARED) from error

    def write(self, on_board: int) -> None:
        """Say that this worker is well, and how many shards it holds.

        Raises:
            OSError: the file can't be written, or another worker writes it.
        """
        if self._locked is None or not self._is_there(self._locked):
            self._unlock()
            self._locked = _lock(self.path)
        self.path.write_text(json.dumps({_KEY: on_board}))

    def remove(self) -> None:
        """Take the file away: a worker that has stopped isn't well."""
        if self._locked is not None and self._is_there(self._locked):
            with suppress(OSError):
                self.path.unlink()
        self._unlock()

    def _unlock(self) -> None:
        if self._locked is not None:
            self._locked.close()
            self._locked = None

    def _is_there(self, locked: BinaryIO) -> bool:
        """Whether the file with the lock has its name still."""
        try:
            return os.path.samestat(os.fstat(locked.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def check_health_file(path: Path) -> None:
    """Refuse a file that can't be written, that is another one, whose content would be lost, or that isn't free.

    Raises:
        OptionError: it is refused.
    """
    if path.is_dir():
        found = "is a directory"
    elif not path.parent.is_dir():
        found = "its directory doesn't exist"
    elif path.exists() and not path.is_file():
        found = "is a pipe, a socket or a device, and no file"
    elif path.is_file() and not _may_be_replaced(path):
        found = "exists, and no worker has written it"
    elif not (directory := Path(os.path.realpath(path)).parent).is_dir():
        found = "it is a link into a directory that doesn't exist"
    elif not os.access(path if path.exists() else directory, os.W_OK):
        found = "this user may not write it" if path.exists() else "this user may not write in its directory"
    elif path.is_file() and not _is_free(path):
        found = _SHARED
    else:
        return
    raise _refusal(path, found)


def _refusal(path: Path, found: str) -> OptionError:
    return OptionError(f"--health-file {path}: {found}; name a new file in a directory that this worker can write to")


def _may_be_replaced(path: Path) -> bool:
    try:
        size = path.stat().st_size
        return not size or (size < _MOST_BYTES and list(json.loads(path.read_bytes())) == [_KEY])
    except (OSError, ValueError, TypeError):
        return False


def _is_free(path: Path) -> bool:
    """Whether no worker writes a file, now or as soon as one that is ending has ended."""
    until = time.monotonic() + HANDOVER_SECONDS
    while path.exists():
        try:
            locked = _lock(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                break  # its writing tells of another error
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE_SECONDS)
            continue
        if locked is not None:
            locked.close()
        break
    return True


def _lock(path: Path) -> BinaryIO | None:
    """Lock a file; None where its file system has no locks.

    Raises:
        OSError: another process has locked it, or it can't be opened.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise OSError(errno.EBUSY, _SHARED, str(path)) from error
        return None
    return file
