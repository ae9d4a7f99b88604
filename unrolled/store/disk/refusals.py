"""Errors of the operating system, as errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from unrolled.errors import MisplacedError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.EROFS: "mount it writable",
    errno.ENOENT: "bring the directory back",
    errno.EEXIST: "put a directory in place of the file",
    errno.ENOTDIR: "each folder in it must be a directory and no symbolic link",
    errno.ELOOP: "each folder in it must be a directory and no symbolic link",
    errno.EISDIR: "remove the directory",
    errno.ESTALE: "mount the directory again",
    errno.EIO: "check the disk",
    errno.EFBIG: "raise the limit of the size of files (`ulimit -f`), or use a file system that takes such files",
    errno.EMFILE: "raise this process's limit of open files, with `ulimit -n`",
    errno.ENFILE: "raise the machine's limit of open files",
}
#: What helps where something can't be read, by the error's number.
READING = {
    errno.EACCES: "let this user read it",
    errno.EPERM: "let this user read it",
    errno.ELOOP: "remove the symbolic link in it that leads round in a circle, or through too many others",
}
#: The name belongs to something of another kind, which no waiting changes.
_MISPLACED = {errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.EISDIR}


@contextlib.contextmanager
def explained(action: str, advice: Mapping[int, str] | None = None) -> Iterator[None]:
    """Turn what the operating system refuses into an error that names the action, the reason and the remedy.

    Args:
        action: with the path, such as "write /data/out/part".
        advice: remedies by the error's number, where others than the usual ones help.

    Raises:
        TransientError: in place of an OSError; a MisplacedError where something of another kind is in the way.
    """
    try:
        yield
    except OSError as error:
        remedy = {**_ADVICE, **(advice or {})}.get(error.errno or 0, "check the directory")
        kind = MisplacedError if error.errno in _MISPLACED else TransientError
        raise kind(f"cannot {action}: {error.strerror or error}; {remedy}") from error
