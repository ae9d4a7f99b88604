"""A store in memory, for tests and simulations: it stops before every operation, and fails where its user asks for it.

It can act as a disk, where a new name is durable only when its folder has been synced and a look-up may lag, or as a
bucket, where both are immediate but each request may be refused, lost or late.
"""

# One file, though long: what may go wrong and the store that does so are read together.

from __future__ import annotations

import enum
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple, TypeAlias

from unrolled.errors import TransientError
from unrolled.store.names import check_folder, check_name, check_own_name, folder_of
from unrolled.store.object_file import ObjectFile, native_file
from unrolled.store.settle import UnknownOutcomeError, settle
from unrolled.store.store import Content, Creation, collected

#: Changes that a lagging look-up may fail to see.
REMEMBERED_CHANGES = 64


class Operation(NamedTuple):
    """The next step, which nothing interrupts. One call may take several steps.

    Attributes:
        kind: `create` on a disk is followed by a `sync` of the folder; in a bucket, where the answer is not "created",
            by a `read` and another `create`. Each page of a listing is a `list`.
        name: of the object, or of the folder for `list` and `sync`.
    """

    kind: Literal["create", "read", "list", "delete", "sync"]
    name: str


class Fault(enum.Enum):
    """The fault of an operation."""

    REFUSED = "503: it has no effect"
    CONFLICT = "409: another request for the name is under way; it has no effect"
    LOST_REQUEST = "a time-out: it has no effect"
    LOST_ANSWER = "a time-out: it has its effect"
    LATE = "a time-out: it has its effect later, when `deliver` is called"
    EXISTS = "412 for one's own object, since the request was sent twice: it has its effect"
    FULL = "the disk is full: it has no effect"
    CRASH_BEFORE = "the process dies before it has an effect"
    CRASH_AFTER = "the process dies after it has had its effect"


@dataclass(frozen=True, slots=True)
class Lag:
    """A `read` or `list` that doesn't see the last changes of the store.

    Attributes:
        unseen: number of changes. A name that was created in them is not there; one that was deleted in them still
            is listed, but not read.
    """

    unseen: int


#: Is called before each operation, by the thread that wants it: it may wait, raise, or say how the operation fails.
Hook: TypeAlias = Callable[[Operation], Fault | Lag | None]

_WITHOUT_EFFECT = {Fault.REFUSED, Fault.CONFLICT, Fault.LOST_REQUEST, Fault.FULL, Fault.LATE}


class Crash(BaseException):
    """The process dies here: no exception of the product, so that nothing handles it as one."""


class MemoryStore:
    """Objects in memory.

    Args:
        hook: is asked before each operation.
        is_disk: whether it acts as a disk rather than as a bucket.
        page: names in one page of a listing.
    """

    def __init__(self, hook: Hook | None = None, *, is_disk: bool = False, page: int = 1000) -> None:
        self._hook = hook
        self._is_disk = is_disk
        self._page = page
        self._lock = threading.RLock()
        self._objects: dict[str, bytes] = {}
        self._changes: deque[tuple[str, bytes | None]] = deque(maxlen=REMEMBERED_CHANGES)
        self._volatile: dict[str, bytes | None] = {}  # what a power cut may bring back
        self._late: list[tuple[Operation, bytes]] = []

    def __str__(self) -> str:
        return "memory:"

    def __repr__(self) -> str:
        return f"<MemoryStore {self}>"

    def create(self, name: str, content: Content) -> Creation:
        """See `Store.create`."""
        check_own_name(name)
        body = collected(content)
        if self._is_disk:
            try:
                creation = self._attempt(name, body)
            except UnknownOutcomeError as error:
                raise TransientError(f"cannot create {self}/{name}: {error}") from error
            self.sync(folder_of(name))
            return creation
        return settle(
            f"{self}/{name}",
            lambda: self._attempt(name, body),
            lambda: self.read(name, 0, 1) is not None,
            # Simulated time costs nothing.
            sleep=lambda _: None,
            clock=lambda: 0.0,
        )

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """See `Store.read`."""
        check_name(name)
        unseen = self._look(Operation("read", name))
        with self._lock:
            if any(changed == name and before is None for changed, before in self._last_changes(unseen)):
                return None
            content = self._objects.get(name)
        return None if content is None else content[start:stop]

    def open(self, name: str) -> BinaryIO | None:
        """See `Store.open`."""
        content = self.read(name)
        if content is None:
            return None
        return native_file(ObjectFile(len(content), lambda start, stop: self.read(name, start, stop)))

    def list(self, folder: str = "") -> Iterator[str]:
        """See `Store.list`."""
        check_folder(folder)
        last = ""
        while True:
            unseen = self._look(Operation("list", folder))
            with self._lock:
                page = [name for name in self._names_in(folder, unseen) if name > last][: self._page]
            yield from page
            if len(page) < self._page:
                return
            last = page[-1]

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        check_own_name(name)
        try:
            self._change(Operation("delete", name), b"")
        except UnknownOutcomeError as error:
            raise TransientError(f"cannot delete {self}/{name}: {error}") from error

    def sync(self, folder: str = "") -> None:
        """See `Store.sync`."""
        check_folder(folder)
        if not self._is_disk:
            return
        try:
            self._change(Operation("sync", folder), b"")
        except UnknownOutcomeError as error:
            raise TransientError(f"cannot sync {self}/{folder}: {error}") from error

    # What follows is for the simulation: it happens to the store, and is no operation.

    def contents(self) -> dict[str, bytes]:
        """All objects as they are now."""
        with self._lock:
            return dict(self._objects)

    @property
    def late(self) -> Sequence[Operation]:
        """The operations that have still to have their effect, by number."""
        with self._lock:
            return [operation for operation, _ in self._late]

    def deliver(self, number: int) -> Operation:
        """Let a late operation have its effect; a `create` has none where an object of its name exists."""
        with self._lock:
            operation, body = self._late.pop(number)
            self._affect(operation, body)
        return operation

    def power_cut(self, is_undone: Callable[[str], bool]) -> Sequence[str]:
        """Undo changes that were not synced, and forget late operations; the names of the changes that were undone.

        Args:
            is_undone: says of each name whose change was not synced whether the power cut takes the change back.
        """
        with self._lock:
            undone = [name for name in self._volatile if is_undone(name)]
            for name in undone:
                before = self._volatile[name]
                self._objects.pop(name, None)
                if before is not None:
                    self._objects[name] = before
            self._volatile.clear()
            self._late.clear()
            self._changes.clear()
        return undone

    def _ask(self, operation: Operation) -> Fault | Lag | None:
        answer = self._hook(operation) if self._hook else None
        if answer is Fault.CRASH_BEFORE:
            raise Crash
        return answer

    def _look(self, operation: Operation) -> int:
        """Ask before looking; the number of changes that aren't seen."""
        answer = self._ask(operation)
        if answer is Fault.CRASH_AFTER:
            raise Crash
        if isinstance(answer, Fault):
            raise TransientError(f"cannot {operation.kind} {self}/{operation.name}: {answer.value}")
        return answer.unseen if answer else 0

    def _attempt(self, name: str, body: bytes) -> Creation:
        return Creation.CREATED if self._change(Operation("create", name), body) else Creation.EXISTS

    def _change(self, operation: Operation, body: bytes) -> bool:
        """Ask, then change; whether that had an effect, as far as the answer says."""
        fault = self._ask(operation)
        if fault is Fault.LATE:
            with self._lock:
                self._late.append((operation, body))
        if isinstance(fault, Fault) and fault in _WITHOUT_EFFECT:
            raise UnknownOutcomeError(fault.value)
        with self._lock:
            changed = self._affect(operation, body)
        if fault is Fault.CRASH_AFTER:
            raise Crash
        if fault is Fault.LOST_ANSWER:
            raise UnknownOutcomeError(fault.value)
        return changed and fault is not Fault.EXISTS

    def _affect(self, operation: Operation, body: bytes) -> bool:
        kind, name = operation
        if kind == "sync":
            for changed in [changed for changed in self._volatile if folder_of(changed) == name]:
                del self._volatile[changed]
            return True
        if (name in self._objects) == (kind == "create"):
            return False
        before = self._objects.pop(name, None)
        self._changes.append((name, before))
        if self._is_disk:
            self._volatile.setdefault(name, before)
        if kind == "create":
            self._objects[name] = body
        return True

    def _last_changes(self, number: int) -> Sequence[tuple[str, bytes | None]]:
        return [*self._changes][max(0, len(self._changes) - number) :] if number else ()

    def _names_in(self, folder: str, unseen: int) -> Sequence[str]:
        names = {name for name in self._objects if folder_of(name) == folder}
        for name, before in reversed(self._last_changes(unseen)):
            if folder_of(name) == folder:
                names.discard(name)
                if before is not None:
                    names.add(name)
        return sorted(names)
