"""A job's objects: every operation is tried again until the store has done it, or its caller gives up."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from unrolled.errors import TransientError
from unrolled.store.store import Creation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.patience import Steadily
    from unrolled.store.store import Content, Store

T = TypeVar("T")


class Objects:
    """The objects of one job.

    Every method raises what `steadily` raises when it gives up, such as GivenBackError in a worker that stops.

    Attributes:
        store: the store that has the job.
        steadily: runs an action until it works.
    """

    def __init__(self, store: Store, steadily: Steadily) -> None:
        self.store = store
        self.steadily = steadily
        self._reading, self._writing = f"read from {store}", f"write to {store}"

    def create(self, name: str, content: Content) -> bool:
        """Make sure that an object exists, whole and durable: this one, or one that was created before.

        Args:
            name: the object's name.
            content: bytes, or a function that writes them into a file and that may be called again.

        Returns:
            True if this call has created the object. False if it exists, perhaps because an earlier try of this call
            created it: read it, because only its content counts.
        """
        return self.steadily(self._writing, lambda: self.store.create(name, content) is Creation.CREATED)

    def settle(self, name: str, content: bytes) -> bytes:
        """Create a small object unless it exists, and return the content that it has from now on."""

        def attempt() -> bytes:
            if self.create(name, content):
                return content
            if (found := self.read(name)) is None:  # deleted since, or not visible yet
                raise TransientError(f"{self.store}/{name} exists, and can't be seen yet")
            return found

        return self.steadily(f"see {name}", attempt)

    def read(self, name: str) -> bytes | None:
        """An object's content; None if it doesn't exist, or can't be seen yet."""
        return self.steadily(self._reading, lambda: self.store.read(name))

    def exists(self, name: str) -> bool:
        """Whether an object exists and can be seen."""
        return self.steadily(self._reading, lambda: self.store.read(name, 0, 1) is not None)

    def list(self, folder: str) -> Iterator[str]:
        """The names of all objects in a folder, in no order; objects created or deleted meanwhile may be included."""
        return iter(self.read_names(folder, list))

    def read_names(self, folder: str, read: Callable[[Iterator[str]], T]) -> T:
        """The result of `read` for the names of all objects in a folder; `read` may be called again."""
        return self.steadily(self._reading, lambda: read(self.store.list(folder)))

    def delete(self, name: str) -> None:
        """Delete an object that other objects have made superfluous; it may be missing."""
        self.steadily(self._writing, lambda: self.store.delete(name))

    def sync(self, *folders: str) -> None:
        """Make the objects in folders durable, also those of other processes, before anything depends on them."""
        for folder in folders:
            self.steadily(self._writing, lambda folder=folder: self.store.sync(folder))  # type: ignore[misc]
