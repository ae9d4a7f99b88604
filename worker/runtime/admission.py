"""Which shards may be on board together: a budget of bytes, and suspects alone."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

from worker.errors import GivenBackError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Shards that are computed in parts are on board at most so many together: one is read, one computed, one written, and
#: one waits. Each keeps the engine busy for long, and holds the ids of all of its rows meanwhile.
LARGE_ON_BOARD = 4


def size_on_board(vector_bytes: int, tokens: int, pool_tokens: int, budget_bytes: int) -> int:
    """Bytes of the budget that a shard is counted as.

    Args:
        vector_bytes: of its outputs.
        tokens: in it.
        pool_tokens: most tokens that are computed in one go.
        budget_bytes: of outputs in flight.
    """
    return max(vector_bytes, budget_bytes // LARGE_ON_BOARD) if tokens > pool_tokens else vector_bytes


class Admission:
    """Lets shards on board in the order in which they came.

    A shard whose outputs alone are over the budget is let on board with nothing beside it, for there is no other way
    to compute it.

    Args:
        budget_bytes: of outputs in flight.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._used = 0
        self._on_board = 0
        self._suspect_on_board = False
        self._closed = False

    @contextlib.contextmanager
    def admit(self, size_bytes: int, *, alone: bool = False) -> Iterator[None]:
        """Wait for room, hold it, give it back.

        Raises:
            GivenBackError: the worker is stopping.
        """
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            self._changed.wait_for(
                lambda: self._closed or (self._waiting[0] is ticket and self._fits(size_bytes, alone))
            )
            self._waiting.remove(ticket)
            self._changed.notify_all()
            if self._closed:
                raise GivenBackError
            self._used += size_bytes
            self._on_board += 1
            self._suspect_on_board = alone
        try:
            yield
        finally:
            with self._changed:
                self._used -= size_bytes
                self._on_board -= 1
                self._suspect_on_board = False  # one that is on board is the only one
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more, and send those away who wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, size_bytes: int, alone: bool) -> bool:
        if self._on_board == 0:
            return True
        return not alone and not self._suspect_on_board and self._used + size_bytes <= self._budget
