"""The shards that a worker has on board."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.queue.member import Member


class Board:
    """The shards that a worker's threads try to claim, and those whose lease the worker has."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reached_for: set[Member] = set()
        self._held: dict[Member, float] = {}

    @contextlib.contextmanager
    def reach(self, member: Member) -> Iterator[bool]:
        """Give True to one thread at a time for each shard. When its block ends, the shard leaves the board."""
        with self._changed:
            first = member not in self._reached_for
            self._reached_for.add(member)
        try:
            yield first
        finally:
            if first:
                with self._changed:
                    self._reached_for.discard(member)
                    self._held.pop(member, None)
                    self._changed.notify_all()

    def take(self, member: Member) -> None:
        """Record that this worker has the lease of a shard; from now on the lease is renewed."""
        with self._changed:
            self._held[member] = time.monotonic()

    def held(self) -> dict[Member, float]:
        """The shards on board: member → when it was taken, on the monotonic clock."""
        with self._changed:
            return dict(self._held)

    def load(self) -> tuple[int, float]:
        """How many shards are on board, and for how many seconds the one that was taken first has been."""
        held = self.held()
        return len(held), max((time.monotonic() - since for since in held.values()), default=0.0)

    def wait_until_empty(self) -> None:
        """Wait until nothing is on board."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held)
