"""A store in a directory of a POSIX file system, local or on a network.

An object is a file. It is written under a hidden name in its folder, made durable, and linked to its own name, which
the file system (on NFS the server) does only where there is no file of that name.
"""

# Over 150 lines: one class, one method for each thing that a store does.

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from unrolled.errors import MisplacedError
from unrolled.store.disk.folders import Folders, make_directory
from unrolled.store.disk.hidden_file import fill, hidden_file, sweep_leftovers, sync_directory
from unrolled.store.disk.name_once import name_once
from unrolled.store.disk.refusals import READING, explained
from unrolled.store.names import check_folder, check_name, check_own_name, folder_of
from unrolled.store.store import Content, Creation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What helps where a directory can't be made, by the error's number: nothing was there that could come back.
_CANT_BE_MADE = {errno.ENOENT: "no directory can be made there, so name another place"}


class PosixStore:
    """Objects in a directory.

    Args:
        path: of the directory.
        make: whether the directory is made if it is missing. Without it, a missing directory is one that has to come
            back: it would be made on the wrong disk while its own isn't mounted.

    Attributes:
        path: of the directory.

    Raises:
        TransientError: the directory can't be made.
    """

    def __init__(self, path: str | Path, *, make: bool = False) -> None:
        self.path = Path(path)
        self._folders = Folders(self.path)
        if make:
            with explained(f"make {self.path}", _CANT_BE_MADE):
                make_directory(self.path)

    def __str__(self) -> str:
        text = str(self.path)
        return f"./{text}" if text.startswith("-") else text  # commands take it for an option without the "./"

    def __repr__(self) -> str:
        return f"PosixStore({str(self.path)!r})"

    def create(self, name: str, content: Content) -> Creation:
        """See `Store.create`. What a `Writer` gives is written past the page cache."""
        check_own_name(name)
        last = name.rpartition("/")[2]
        with explained(f"create {self}/{name}"), self._folders.opened(folder_of(name), make=True) as folder:
            creation = Creation.EXISTS
            if not _is_there(folder, last):  # which saves writing a large object in vain, and decides nothing
                with hidden_file(folder, last) as (temporary, file):
                    _fill(file, content)
                    if name_once(folder, temporary, last):
                        creation = Creation.CREATED
            # Another's object may not be durable yet either.
            sync_directory(folder)
        return creation

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """See `Store.read`."""
        check_name(name)
        with explained(f"read {self}/{name}", READING):
            try:
                file = open(self.path / name, "rb", opener=_open_file)  # noqa: SIM115 - a Path takes no opener
            except FileNotFoundError:
                self._check_missing(name)
                return None
            with file:
                file.seek(start)
                return file.read(None if stop is None else max(0, stop - start))

    def open(self, name: str) -> BinaryIO | None:
        """See `Store.open`."""
        import pyarrow as pa  # noqa: PLC0415 - takes longer to load than all that a store does otherwise

        check_name(name)
        path = self.path / name
        with explained(f"read {path}", READING):
            try:
                os.close(_open_file(path))
                return cast("BinaryIO", pa.OSFile(os.fsencode(path), "rb"))
            except FileNotFoundError:
                self._check_missing(name)
                return None

    def list(self, folder: str = "") -> Iterator[str]:
        """See `Store.list`."""
        check_folder(folder)
        with explained(f"list {self}/{folder}", READING):
            try:
                entries = os.scandir(self.path / folder)
            except FileNotFoundError:
                self._check_directory()
                return
            beginning = f"{folder}/" if folder else ""
            with entries:
                for entry in entries:  # of which there may be a million
                    name = entry.name
                    if name[0] != "." and _is_file(entry):
                        yield beginning + name

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        check_own_name(name)
        with explained(f"delete {self}/{name}"):
            try:
                with self._folders.opened(folder_of(name)) as folder:
                    os.unlink(name.rpartition("/")[2], dir_fd=folder)
            except FileNotFoundError:
                self._check_directory()

    def sync(self, folder: str = "") -> None:
        """See `Store.sync`. The names of the folder and of those it is in are made durable, too."""
        check_folder(folder)
        with explained(f"sync {self}/{folder}"):
            try:
                with self._folders.opened(folder, sync=True) as descriptor:
                    sync_directory(descriptor)
            except FileNotFoundError:
                self._check_directory()

    def sweep_leftovers(self, folder: str, older_than_seconds: float) -> Sequence[Path]:
        """Remove the hidden files of processes that died while they created objects; see `sweep_leftovers`.

        Raises:
            TransientError: the folder can't be read or written.
        """
        check_folder(folder)
        with explained(f"sweep {self}/{folder}"):
            try:
                with self._folders.opened(folder):  # which refuses one that leads elsewhere
                    return sweep_leftovers(self.path / folder, older_than_seconds)
            except FileNotFoundError:
                self._check_directory()
                return []

    def _check_directory(self) -> None:
        """Nothing can be known about names while the store itself is missing."""
        self.path.stat()

    def _check_missing(self, name: str) -> None:
        """A link to a file that is missing isn't a missing name: nothing can be created there.

        Raises:
            MisplacedError: there is such a link.
        """
        self._check_directory()
        path = self.path / name
        if os.path.islink(path):  # noqa: PTH114 - False, too, where it can't be seen
            target = os.path.realpath(path)
            raise MisplacedError(
                f"cannot read {path}: it is a symbolic link to {target}, which doesn't exist; bring that back, or "
                "remove the link"
            )


def _open_file(path: str | Path, _: int = 0) -> int:
    """The descriptor of a file for reading; of nothing else, since reading from a FIFO may wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # O_NONBLOCK has no effect on a file
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise MisplacedError(f"cannot read {path}: it is not a file; remove it")
    return descriptor


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _fill(file: BinaryIO, content: Content) -> None:
    if callable(content):
        fill(file, content, cached=False)
    else:
        fill(file, lambda file: file.write(content), cached=True)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return False
        raise
