"""The rest of a worker that receives only messages which it must leave to other workers."""

from __future__ import annotations

import threading

#: Seconds of the first rest, and of the longest. Meanwhile a thread takes no message, and other workers get them.
FIRST_REST, LONGEST_REST = 0.05, 2.0


class Rest:
    """Rests of the threads of one worker, each twice as long as the one before."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._seconds = FIRST_REST

    def take(self) -> float:
        """Let this thread rest; returns for how many seconds."""
        with self._lock:
            seconds, self._seconds = self._seconds, min(2 * self._seconds, LONGEST_REST)
        self._stopped.wait(seconds)
        return seconds

    def end(self) -> None:
        """Begin with a short rest the next time, because a message could be used."""
        with self._lock:
            self._seconds = FIRST_REST

    def stop(self) -> None:
        """End all rests, for good."""
        self._stopped.set()
