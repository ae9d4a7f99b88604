"""The five operations that a job needs of the place it is in, the same on a disk, in a bucket and in memory.

Every object is created whole, under a name that no other object has, and is never changed and never replaced. Nothing
else is assumed of a store: no lock, no append, no rename, no time of change, no order of names.
"""

from __future__ import annotations

import enum
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol, TypeAlias, runtime_checkable

#: Gives an object's content to the binary file it is called with, of which it may use `write` alone.
Writer: TypeAlias = Callable[[BinaryIO], object]
#: An object's content: small ones as bytes, large ones written piece by piece.
Content: TypeAlias = bytes | Writer


class Creation(enum.Enum):
    """The two answers to `create`. Whether an object that exists is the caller's own is not known, nor needed."""

    CREATED = "created"
    EXISTS = "exists"


@runtime_checkable
class Store(Protocol):
    """Objects by name. `str()` of a store is its path or URL, without credentials, for texts that people read.

    No object has the name of another's folder, since a disk can't have both. All methods may be called by several
    threads at once. Each of them raises:
        RequestError: the name is refused.
        TransientError: the store can't be reached, is full, or refuses; the text says which object, why, and what to
            do. An object may or may not have been created or deleted then, now or later: call again.
    """

    def create(self, name: str, content: Content) -> Creation:
        """Create an object, if there is none of this name.

        When this returns, with either answer, a whole object is durable under the name. When the process dies before,
        either there is one or there is none, never half of one. An object that exists is left as it is. What a
        `Writer` raises goes through, and nothing is created.
        """
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """The bytes `[start:stop]` of an object, fewer where it is shorter; None where there is no object."""
        ...

    def open(self, name: str) -> BinaryIO | None:
        """An object as a file to read and to seek in, for pyarrow and for all that takes a binary file.

        It is a `pyarrow.NativeFile`: read natively on a disk; in a bucket each read is one request, so wrap it in
        `io.BufferedReader` for small reads. None where there is no object.
        """
        ...

    def list(self, folder: str = "") -> Iterator[str]:
        """The names of the objects in a folder, without those of the folders in it, in no promised order.

        Names arrive a page at a time, so memory is flat. An object that is created or deleted meanwhile may be listed
        or not. Names are listed as they are, also those that `read` refuses; hidden ones (`.name`) are not.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete an object, if it exists."""
        ...

    def sync(self, folder: str = "") -> None:
        """Make durable what others have created in a folder; without effect in a bucket, where it is durable."""
        ...


def collected(content: Content) -> bytes:
    """The whole content in memory."""
    if not callable(content):
        return content
    file = io.BytesIO()
    content(file)
    return file.getvalue()
