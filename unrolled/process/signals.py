"""Signals that ask a process to stop: which is a second one, by which a person asks for haste, and which isn't."""

import signal
import time

#: Seconds within which a signal that comes again is an echo. No person presses Ctrl-C twice as quickly.
ECHO_SECONDS = 0.05


class Echoes:
    """Tells signals that come again by themselves from those that somebody sends again.

    GNU timeout sends its signal to its command, and then to their group, of which the command is one; a program that
    passes Ctrl-C on does so too. When a terminal is closed, its shell and the system may each send SIGHUP, and systemd
    may send it after SIGTERM.
    """

    def __init__(self) -> None:
        self._came: dict[int, float] = {}

    def is_one(self, number: int) -> bool:
        """Note that a signal came, and tell whether it is an echo: of the same one just before, or SIGHUP after any."""
        now, before = time.monotonic(), dict(self._came)
        self._came[number] = now
        if number == signal.SIGHUP and before:
            return True
        return number in before and now - before[number] <= ECHO_SECONDS
