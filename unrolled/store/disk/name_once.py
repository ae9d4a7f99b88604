"""Giving a file a name that no other file has: the one step that decides who has created an object on a disk."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys

from unrolled.errors import RequestError

_WITHOUT_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}
_RENAME_NOREPLACE = 1
_REFUSAL = (
    "this file system can't name a file without replacing another: it has no hard links; use a directory on a local"
    " disk or on NFS, or a bucket"
)


def name_once(directory: int, temporary: str, name: str) -> bool:
    """Give a file its name, unless there is one of that name; whether it got it.

    It may keep its temporary name as well.

    Args:
        directory: the descriptor of the directory that both names are in.
        temporary: the file's name so far.
        name: the name it is to have.

    Raises:
        RequestError: the file system has no way to name a file without replacing another.
        OSError: the system refused.
    """
    try:
        os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        # FAT and exFAT have no links. A kernel renames without replacing as one step where it alone changes the
        # directory: on a block device, and not on a network file system whose server may know of a newer file.
        if error.errno not in _WITHOUT_LINKS:
            raise
        if _is_on_block_device(directory):
            return rename_once(directory, temporary, name)
        raise RequestError(_REFUSAL) from error
    return True


def rename_once(directory: int, temporary: str, name: str) -> bool:
    """`name_once` by a rename. It is for file systems that the running kernel alone changes.

    Raises:
        RequestError: as `name_once`.
        OSError: as `name_once`.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise RequestError(_REFUSAL)
    if rename(directory, os.fsencode(temporary), directory, os.fsencode(name), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number in {errno.EINVAL, errno.ENOSYS}:
        raise RequestError(_REFUSAL)
    raise OSError(number, os.strerror(number))


def _is_on_block_device(directory: int) -> bool:
    with contextlib.suppress(OSError):
        return sys.platform == "linux" and os.major(os.fstat(directory).st_dev) != 0
    return False
