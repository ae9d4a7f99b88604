"""Ctrl-C, SIGTERM and a closed terminal end a command in order: what the command has started ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unrolled.process.signals import Echoes
from unrolled.telemetry import json_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


class Terminated(KeyboardInterrupt):
    """A SIGTERM or SIGHUP, which is handled like Ctrl-C, but has another exit status.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2
#: Of Ctrl-C: what a first one has begun to end is not to be interrupted by itself.
echoes = Echoes()


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

    def interrupt(number: int, _: FrameType | None) -> None:
        if not echoes.is_one(number):
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # a worker that has ended lets nothing interrupt it
            signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` in the main thread at the first SIGTERM or SIGHUP, so that `with` blocks end what they began.

    Later signals change nothing until the process ends. A handler that a signal has already is kept, and so is what
    nohup has done with SIGHUP.
    """
    main = threading.current_thread() is threading.main_thread()
    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]
    if not main or not numbers:
        yield
        return
    came = False

    def terminate(number: int, _: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            leave_terminal(number)
            raise Terminated(number)

    for one in numbers:
        signal.signal(one, terminate)
    try:
        yield
    finally:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN if came else signal.SIG_DFL)


def leave_terminal(number: int) -> None:
    """At SIGHUP, let what is written to a terminal that is gone go nowhere: an error would end what ends in order."""
    if number != signal.SIGHUP:
        return
    for stream in (_STANDARD_OUTPUT, _STANDARD_ERROR):
        try:
            os.write(stream, b"")
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
