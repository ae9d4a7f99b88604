"""Admission of shards: as many on board together as fit in a budget of bytes, and a suspect only alone."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

from worker.errors import GivenBackError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Most shards on board together if each is too large for one pool: one is read, one computed, one written, and one
#: waits. Each keeps the engine busy for a long time and needs memory for the ids of all its rows meanwhile.
LARGE_ON_BOARD = 4


def size_on_board(vector_bytes: int, tokens: int, pool_tokens: int, budget_bytes: int) -> int:
    """Bytes of the budget that a shard takes.

    Args:
        vector_bytes: bytes of its outputs.
        tokens: tokens in it.
        pool_tokens: most tokens in one pool.
        budget_bytes: the budget.
    """
    return max(vector_bytes, budget_bytes // LARGE_ON_BOARD) if tokens > pool_tokens else vector_bytes


class Admission:
    """Admits shards in the order of their requests.

    A shard whose outputs alone exceed the budget is admitted when nothing else is on board, because it could never be
    computed otherwise.

    Args:
        budget_bytes: bytes of outputs that may be in flight: being read, computed or written.
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
        """Wait for room, and keep it until the block ends.

        Args:
            size_bytes: result of `size_on_board`.
            alone: whether nothing else may be on board.

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
                self._suspect_on_board = False  # a suspect on board is the only shard there
                self._changed.notify_all()

    @property
    def used_bytes(self) -> int:
        """Bytes of the budget that are taken now."""
        return self._used

    def close(self) -> None:
        """Admit no more shards, and let all waiting calls raise GivenBackError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, size_bytes: int, alone: bool) -> bool:
        if self._on_board == 0:
            return True
        return not alone and not self._suspect_on_board and self._used + size_bytes <= self._budget
