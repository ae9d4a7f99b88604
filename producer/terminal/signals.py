"""SIGTERM as an orderly end: what a command has started ends with it, as with Ctrl-C."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Whatever handles Ctrl-C handles it too; the exit status differs."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the main thread at the first SIGTERM, for `with` blocks to end what they began.

    Later ones change nothing, up to the process's end. Where SIGTERM has a handler or is ignored, that stays.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    came = False

    def terminate(_: int, __: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if came else signal.SIG_DFL)
