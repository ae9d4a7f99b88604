"""A temporary file for an input that is not a file, or is compressed, and needs random access."""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from producer.sources.errors import DamagedInputError
from unrolled.store.lock import lock_file

#: A larger compressed input isn't unpacked for a look at its first rows.
MOST_LOOK_BYTES = 1 << 26
_PREFIX = "unrolled-input-"
#: A younger file may be one whose process is about to lock it.
_OLD_SECONDS = 60.0


@contextmanager
def spooled(chunks: Iterable[bytes]) -> Iterator[Path]:
    """Write chunks to a temporary file, which is removed at the end of the block.

    It is locked until then: files without a lock were left by processes that were killed, and are removed first.

    Raises:
        DamagedInputError: the chunks raise it, or the file can't be written.
    """
    where = disk_directory() or tempfile.gettempdir()
    _sweep(Path(where))
    with tempfile.NamedTemporaryFile(prefix=_PREFIX, dir=where) as file:
        with suppress(OSError):  # without locks in the file system, no sweep removes it either
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
        except OSError as error:
            raise DamagedInputError(
                f"can't be unpacked into {where} ({error.strerror}); make room there, or set TMPDIR"
            ) from error
        yield Path(file.name)


def disk_directory() -> str | None:
    """The directory for a run's large files: on a disk, because the system's temporary directory may be in memory.

    None if the user has set TMPDIR, or that directory isn't usable: the system's one is to be used.
    """
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) and "TMPDIR" not in os.environ else None  # noqa: S108 - names are drawn


def _sweep(folder: Path) -> None:
    """Remove the files of processes that were killed."""
    for left in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # its process is alive
            about = left.lstat()
            is_own = stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid()
            if is_own and about.st_mtime < time.time() - _OLD_SECONDS:
                with lock_file(left):
                    left.unlink()
