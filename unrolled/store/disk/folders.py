"""The folders of a store in a directory: opened without leaving it, made as they are needed, and durable by name.

A folder is opened step by step, and a symbolic link in place of one is refused, so no write leaves the directory.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from unrolled.store.disk.hidden_file import opened_directory, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """The folders in a directory.

    Args:
        path: of the directory, which itself may be a symbolic link.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._durable: set[str] = set()  # folders whose names this process has made durable

    @contextlib.contextmanager
    def opened(self, folder: str, *, make: bool = False, sync: bool = False) -> Iterator[int]:
        """The descriptor of a folder.

        Args:
            folder: its steps with slashes between them; "" for the directory itself.
            make: whether missing folders are made. The directory is never made.
            sync: whether the names of the folder and of those it is in are made durable; `make` implies it.

        Raises:
            OSError: the folder is missing, no directory, or refused.
        """
        with contextlib.ExitStack() as opened:
            descriptor = opened.enter_context(opened_directory(self._path))
            so_far = ""
            for step in folder.split("/") if folder else ():
                so_far += f"/{step}"
                inner = self._step(descriptor, step, so_far, make=make)
                opened.callback(os.close, inner)
                if (make or sync) and so_far not in self._durable:
                    # Who made the folder may have died before this.
                    sync_directory(descriptor)
                    self._durable.add(so_far)
                descriptor = inner
            yield descriptor

    def _step(self, descriptor: int, step: str, so_far: str, *, make: bool) -> int:
        try:
            return os.open(step, _DIRECTORY, dir_fd=descriptor)
        except FileNotFoundError:
            if not make:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(step, dir_fd=descriptor)
        self._durable.discard(so_far)
        return os.open(step, _DIRECTORY, dir_fd=descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and those it is in, durably.

    Raises:
        OSError: the system refused.
    """
    if not path.parent.is_dir():
        make_directory(path.parent)
    path.mkdir(exist_ok=True)
    # A directory that this user may not read is not one in which this name is new.
    with contextlib.suppress(PermissionError), opened_directory(path.parent) as parent:
        sync_directory(parent)
