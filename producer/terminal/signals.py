"""Ctrl-C and SIGTERM end a command in order: what the command has started ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unrolled.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(KeyboardInterrupt):
    """A SIGTERM, which is handled like Ctrl-C, but has another exit status."""


_STANDARD_ERROR = 2


def announce(line: str) -> None:
    """Write a line to standard error from a signal handler, where nothing that takes a lock may be called."""
    with contextlib.suppress(OSError):
        if json_log.is_active():
            os.write(_STANDARD_ERROR, json_log.line_of("INFO", line).encode())
            return
        start = "\r\x1b[K" if os.isatty(_STANDARD_ERROR) else ""  # a bar may have been drawn there
        os.write(_STANDARD_ERROR, f"{start}{line}\n".encode())


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at Ctrl-C while the block runs, where `producer.__main__` has switched that off.

    Before and after, Ctrl-C ends the process without a word: a traceback would be all that it could say.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the main thread at the first SIGTERM, so that `with` blocks end what they began.

    Later signals change nothing until the process ends. A handler that SIGTERM has already is kept.
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
