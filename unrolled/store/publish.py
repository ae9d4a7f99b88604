"""Files that appear whole or not at all.

A file is written under a hidden name in its own directory, made durable, and renamed. A reader never sees
half of one; after a crash there is the old file, the new one or none, and perhaps a hidden leftover that
`sweep_leftovers` removes. Two publishers of one name leave the file of either, whole.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from unrolled.errors import TransientError
from unrolled.store.direct_file import direct_file

_LEFTOVER = re.compile(r"\..+\.tmp")
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EROFS: "mount it writable",
    errno.ENOENT: "bring the directory back",
    errno.ESTALE: "mount the directory again",
    errno.EIO: "check the disk",
}


def publish(directory: Path, name: str, write: Callable[[BinaryIO], object], *, cached: bool = True) -> Path:
    """Make a file durable under its name, all at once, in place of one that is there.

    Args:
        directory: where the file is to be; it must exist.
        name: of the file, without a directory.
        write: gives the content to the binary file it is called with.
        cached: whether the content goes through the page cache and stays there. What is large and isn't read soon
            takes others' place in it, and most of the processor time of writing.

    Returns:
        The file's path.

    Raises:
        TransientError: the operating system refused; the text says which file, why and what to do. What
            `write` raises besides OSError goes through. Nothing is left behind either way.
    """
    path = directory / name
    try:
        with _hidden_file(directory, name) as (temporary, file):
            if cached:
                write(file)
                file.flush()
            else:
                _write_past_cache(file, write)
            os.fsync(file.fileno())
            if not cached:
                _let_go(file)
            temporary.replace(path)
            # The new name itself is durable only when its directory is.
            _sync_directory(directory)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "see to the directory")
        raise TransientError(
            f"cannot write {path}: {error.strerror or error}; {advice}, then it is tried again"
        ) from error
    return path


@contextlib.contextmanager
def _hidden_file(directory: Path, name: str) -> Iterator[tuple[Path, BinaryIO]]:
    """A new locked file of a name nobody else has; gone afterwards unless it was renamed."""
    # Host and process are for the person who finds one; the random part alone makes it unique.
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
    temporary = directory / f".{name}.{host}-{os.getpid()}-{os.urandom(8).hex()}.tmp"
    with temporary.open("xb") as file:
        try:
            # Held until the file is closed, so by the living only; without locks age alone decides.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)


def _write_past_cache(file: BinaryIO, write: Callable[[BinaryIO], object]) -> None:
    with direct_file(file.fileno()) as direct:
        write(cast("BinaryIO", direct))  # as much of one as those who write need
        direct.flush()


def _let_go(file: BinaryIO) -> None:
    """Take what is in the page cache of a durable file out of it, where the system can."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):  # advice
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no such call; their renames are as durable as they get.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def sweep_leftovers(directory: Path, older_than_seconds: float) -> list[Path]:
    """Remove the hidden files of publishers that died.

    A file goes if nothing was written to it for so long and no living process holds its lock.

    Args:
        directory: where files are published.
        older_than_seconds: seconds since the last write; this alone decides where there are no locks.

    Returns:
        What was removed.

    Raises:
        TransientError: the directory can't be read or written.
    """
    removed = []
    try:
        for path in sorted(directory.iterdir()):
            if _LEFTOVER.fullmatch(path.name) and _is_abandoned(path, older_than_seconds):
                path.unlink(missing_ok=True)
                removed.append(path)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "see to the directory")
        raise TransientError(f"cannot sweep {directory}: {error.strerror or error}; {advice}") from error
    return removed


def _is_abandoned(path: Path, older_than_seconds: float) -> bool:
    try:
        if time.time() - path.stat().st_mtime < older_than_seconds:
            return False
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # renamed or removed meanwhile
        return False
    except OSError as error:
        return error.errno in {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}
    return True


def publish_bytes(path: Path, content: bytes) -> None:
    """Make a small file durable, all at once, in place of one that is there.

    Raises:
        TransientError: as `publish`.
    """

    def write(file: BinaryIO) -> None:
        file.write(content)

    publish(path.parent, path.name, write)
