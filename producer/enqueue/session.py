"""One run of `enqueue`: its progress, its signals, and its garbage collection."""

from __future__ import annotations

import gc
import signal
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from producer.enqueue.pipeline import submit
from producer.queue.shard_queue import ShardQueue
from producer.terminal.progress import Progress, progress
from unrolled.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.enqueue.submission import Prepared
    from producer.enqueue.summary import Summary

#: New objects after which the garbage collector looks for cycles; a shard has a few thousand rows.
_OBJECTS_PER_COLLECTION = 50_000


def enqueue(prepared: Prepared, broker: str, namespace: str, max_queued_tokens: int) -> Summary:
    """Cut and queue the rows of a job, and show on standard error how far it is.

    Args:
        prepared: the job, whose checks are done.
        broker: URL of the Redis server.
        namespace: prefix of every key.
        max_queued_tokens: token ids that may wait or be computed at once.

    Raises:
        UnrolledError: an input broke off or can't be used, or the broker refuses this user; the same call continues
            where this one ended.
    """
    with progress("queueing") as bar, _stop_signals(live=prepared.submission.source.follow) as stopped:
        for notice in prepared.plan.notices:
            bar.say(notice)
        shown, patience = _Shown(bar, prepared.plan.size_bytes), Patience(bar.say)
        queue = ShardQueue(prepared.directory, broker, namespace, patience, max_queued_tokens)
        with closing(queue), _rare_collections():
            return submit(prepared, queue, patience, shown.each, shown.on_bytes, stopped)


class _Shown:
    """Shows the tokens queued so far, and guesses their total from the share of bytes read."""

    def __init__(self, bar: Progress, size_bytes: int | None) -> None:
        self._bar = bar
        self._size_bytes = size_bytes
        self._read_bytes = 0

    def on_bytes(self, count: int) -> None:
        self._read_bytes += count

    def each(self, summary: Summary) -> None:
        total = None
        if self._size_bytes and self._read_bytes:
            total = summary.tokens * max(self._size_bytes, self._read_bytes) // self._read_bytes
        self._bar.update(done_tokens=summary.tokens, done_rows=summary.rows, total_tokens=total)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage seldom, and not among existing objects: there are many rows, and none of them is in a cycle."""
    threshold, *others = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *others)
    try:
        yield
    finally:
        gc.set_threshold(threshold, *others)
        gc.unfreeze()


@contextmanager
def _stop_signals(*, live: bool) -> Iterator[threading.Event]:
    """On a live input, let the first Ctrl-C or SIGTERM end the input, and what was read still be queued.

    The second one interrupts.
    """
    stopped = threading.Event()
    if not live or threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    before: dict[int, Any] = {}

    def stop(number: int, _: object) -> None:
        stopped.set()
        signal.signal(number, before[number] or signal.SIG_DFL)

    for name in (signal.SIGINT, signal.SIGTERM):
        before[name] = signal.signal(name, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
