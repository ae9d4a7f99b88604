"""An input on a disk."""

import os
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from producer.sources.errors import DamagedInputError
from unrolled.patience import Steadily


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file, or a pipe that has a name; the attributes are those of `Place`.

    Attributes:
        name: the path from the working directory if it is below it, also through a link, else from the root: one name,
            however the user spells it. Bytes that are not UTF-8 are escapes.
        path: the path to open.
        inode: device and number; a file with several names has one.
    """

    name: str
    path: str
    inode: tuple[int, int]
    size_bytes: int | None
    version: int
    is_distant: bool = False

    @classmethod
    def of(cls, path: str) -> "LocalFile":
        """The file at a path.

        Raises:
            OSError: there is none.
        """
        status = os.stat(path)  # noqa: PTH116 - names stay as given
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        return cls(shown(_from_here(path)), path, (status.st_dev, status.st_ino), size, status.st_mtime_ns)

    def open(self, steadily: Steadily) -> BinaryIO:
        """See `Place.open`."""
        del steadily
        try:
            return Path(self.path).open("rb")
        except OSError as error:
            raise DamagedInputError(f"can't be opened ({error.strerror or error})") from error

    def open_table(self, steadily: Steadily, *, mapped: bool) -> AbstractContextManager[Any]:
        """See `Place.open_table`."""
        import pyarrow as pa  # noqa: PLC0415 - pyarrow is slow to import

        del steadily
        path = os.fsencode(self.path)  # pyarrow encodes texts as UTF-8, which a name need not be
        file: AbstractContextManager[Any] = pa.memory_map(path) if mapped else pa.OSFile(path, "rb")
        return file


def shown(path: str) -> str:
    """A path with escapes for bytes that are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _from_here(path: str) -> str:
    try:
        whole, here = _whole(path), os.path.join(os.getcwd(), "")  # noqa: PTH109, PTH118 - paths are text
        if whole.startswith(here):
            return whole.removeprefix(here)
        # A link may lead to the working directory, as in the $PWD of a shell that went through it.
        status = os.stat(here)  # noqa: PTH116 - paths are text
        for folder in Path(whole).parents:
            if os.path.samestat(os.stat(folder), status):  # noqa: PTH116 - paths are text
                return os.path.relpath(whole, folder)
    except OSError:  # the working directory is gone
        return path
    return whole


def _whole(path: str) -> str:
    """The path from the root, without "..": behind a link, that leads out of where the link leads."""
    steps, whole = os.path.join(os.getcwd(), path).split("/"), "/"  # noqa: PTH109, PTH118 - paths are text
    if ".." not in steps:
        return os.path.abspath(path)  # noqa: PTH100 - as above
    for step in steps:
        if step == "..":
            leads_to = os.path.realpath(whole) if os.path.islink(whole) else whole  # noqa: PTH114 - as above
            whole = os.path.dirname(leads_to)  # noqa: PTH120 - as above
        elif step not in ("", "."):
            whole = os.path.join(whole, step)  # noqa: PTH118 - as above
    return whole
