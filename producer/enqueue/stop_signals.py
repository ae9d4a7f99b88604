"""How signals end a live input: what was read is put on disk and queued."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from producer.terminal.signals import announce, leave_terminal
from unrolled.process.signals import Echoes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from unrolled.patience import Patience

_STOPPING = (
    "Stopping: rows that have arrived are put on disk, and queued if the broker answers. Ctrl-C again stops at once."
)


@contextmanager
def stop_signals(asking: Patience, *, live: bool) -> Iterator[threading.Event]:
    """On a live input, Ctrl-C, SIGTERM and SIGHUP end the input: what was read is queued.

    A second Ctrl-C or SIGTERM interrupts; a second SIGHUP comes by itself when a terminal is closed.

    Args:
        asking: waits for the broker; it is stopped then, too.
        live: whether the input is live.
    """
    stopped = threading.Event()
    if not live or threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    before: dict[int, Any] = {}
    stop = _handler(stopped, before)

    def stop_asking() -> None:
        stopped.wait()
        asking.stop()

    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if one != signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN:  # which it is under nohup
            before[one] = signal.signal(one, stop)
    # Not in the handler, because the main thread, which it interrupts, may hold the lock of what it waits for.
    threading.Thread(target=stop_asking, name="stop", daemon=True).start()
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        stopped.set()  # ends the thread


def _handler(stopped: threading.Event, before: dict[int, Any]) -> Callable[[int, FrameType | None], None]:
    """The handler of all those signals.

    Args:
        stopped: is set by the first one.
        before: the handlers that a second one goes to.
    """
    echoes, came = Echoes(), set[int]()

    def stop(number: int, _: FrameType | None) -> None:
        leave_terminal(number)
        if echoes.is_one(number):
            return
        if number in came:
            signal.signal(number, before[number] or signal.SIG_DFL)
            signal.raise_signal(number)
            return
        came.add(number)
        announce(_STOPPING)
        stopped.set()

    return stop
