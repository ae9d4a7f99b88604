"""A job's objects through all weathers: every operation is tried until the store has done it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.errors import TransientError
from unrolled.store.store import Creation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.patience import Steadily
    from unrolled.store.store import Content, Store


class Objects:
    """The objects of one job.

    Every method raises whatever `steadily` raises where it gives up, such as GivenBackError in a worker that stops.

    Attributes:
        store: where the job is.
        steadily: tries an action until it works.
    """

    def __init__(self, store: Store, steadily: Steadily) -> None:
        self.store = store
        self.steadily = steadily

    def create(self, name: str, content: Content) -> bool:
        """Make sure that an object is there, whole and durable: this one, or another that came first.

        Args:
            name: of the object.
            content: bytes, or what writes them into a file; may be asked for again.

        Returns:
            True where this call has created it. False where there is one, which may still be this call's: read
            it, for it is what counts.
        """
        return self.steadily(f"write to {self.store}", lambda: self.store.create(name, content) is Creation.CREATED)

    def settle(self, name: str, content: bytes) -> bytes:
        """Create a small object, and give what is under its name from now on."""

        def attempt() -> bytes:
            if self.create(name, content):
                return content
            if (found := self.read(name)) is None:  # deleted since, or not visible yet
                raise TransientError(f"{self.store}/{name} exists, and can't be seen yet")
            return found

        return self.steadily(f"see {name}", attempt)

    def read(self, name: str) -> bytes | None:
        """An object's content; None where there is none, or none to be seen yet."""
        return self.steadily(f"read from {self.store}", lambda: self.store.read(name))

    def exists(self, name: str) -> bool:
        """Whether an object is there, and can be seen."""
        return self.steadily(f"read from {self.store}", lambda: self.store.read(name, 0, 1) is not None)

    def list(self, folder: str) -> Iterator[str]:
        """The names of all objects in a folder, in no order; names that come or go meanwhile may be among them."""
        found = self.steadily(f"read from {self.store}", lambda: [listed.name for listed in self.store.list(folder)])
        return iter(found)

    def delete(self, name: str) -> None:
        """Delete an object that others have made superfluous; none is fine."""
        self.steadily(f"write to {self.store}", lambda: self.store.delete(name))

    def sync(self, *folders: str) -> None:
        """Make the contents of folders durable, also what others created, before anything depends on them."""
        for folder in folders:
            self.steadily(f"write to {self.store}", lambda folder=folder: self.store.sync(folder))  # type: ignore[misc]
