"""A process of a round, and its log."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from nursery import Hatched

#: How long a process may take to end after a signal asked it to, before it is killed.
END_SECONDS = 20.0
#: How a command may end: in order, with an error in one line, or by the signal that it was sent.
ALLOWED = frozenset({0, 1, 3, 124, 130, 143, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT})
#: What no log may contain: what a worker says where something fails unexpectedly; and of a command,
#: a traceback. (Celery logs one where a connection breaks.)
FORBIDDEN = ("unexpected failure", "the ledger's answer can't be read")
TRACEBACK = "Traceback (most recent call last)"


@dataclass(eq=False)
class Command:
    """A process that was started in a round.

    Attributes:
        name: of the log, without its number.
        process: as started.
        log: what it said.
        told: whether it was sent a signal that ends it.
        started: when, on the monotonic clock.
        judged: whether its end was looked at.
    """

    name: str
    process: Hatched
    log: Path
    told: bool = False
    started: float = field(default_factory=time.monotonic)
    judged: bool = False

    @property
    def running(self) -> bool:
        """Whether it hasn't ended."""
        return self.process.poll() is None

    @property
    def status(self) -> int | None:
        """Its exit status; negative for the signal that ended it; None while it runs."""
        return self.process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if number in {signal.SIGTERM, signal.SIGINT, signal.SIGKILL}:
            self.told = True
        if self.running:
            self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it has ended."""
        self.send(number)
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def text(self) -> str:
        """What it said."""
        return self.log.read_text(errors="replace")

    def why_wrong(self) -> str | None:
        """What is wrong with its end; None where nothing is."""
        if self.status not in ALLOWED:
            return f"{self.log.name} ended with status {self.status}"
        forbidden = FORBIDDEN if self.name.startswith("worker") else (*FORBIDDEN, TRACEBACK)
        found = [text for text in forbidden if text in self.text()]
        if found:
            return f"{self.log.name} says {found[0]!r}"
        return self._why_unreadable() if self.name.startswith("worker") else None

    def _why_unreadable(self) -> str | None:
        """The first line of a worker's log that is no JSON object; a kill may cut the last one."""
        *lines, _ = self.text().split("\n")
        for line in lines:
            try:
                readable = isinstance(json.loads(line), dict)
            except ValueError:
                readable = False
            if not readable:
                return f"{self.log.name} has a line that is no JSON object: {line[:200]!r}"
        return None
