"""`unrolled wait` beside a job, given again whenever it has ended; what it says is checked."""

from __future__ import annotations

import json
import time

from command import Command
from stage import Stage
from truth import Snapshot, snapshot
from watcher import Watcher

from unrolled.job import names

#: Seconds between the end of one and the start of the next, unless somebody wants to hear it.
PAUSE_SECONDS = 2.0


class Waiter:
    """Waits for the job; with a broker, it also puts back what Redis has lost.

    Args:
        watcher: checks the claims.
        wanted: whether it begins with the job.

    Attributes:
        wanted: whether one must run.
        said: when one has last said that the job was complete, on the monotonic clock.
    """

    def __init__(self, watcher: Watcher, *, wanted: bool) -> None:
        self.wanted = wanted
        self.said = 0.0
        self._watcher = watcher
        self._command: Command | None = None
        self._before: Snapshot | None = None
        self._next_start = 0.0

    def hurry(self) -> None:
        """Have the next one start now."""
        self._next_start = 0.0

    def supervise(self, stage: Stage) -> None:
        """Start a wait, or look at what one has said."""
        if self._command and not self._command.running:
            self._judge(self._command)
            self._command, self._next_start = None, time.monotonic() + PAUSE_SECONDS
        due = self.wanted and self._command is None and time.monotonic() >= self._next_start
        if due and (stage.place / names.JOB).exists():
            self._before = snapshot(stage.place)
            words = ("wait", stage.out, "--json", "--every-seconds", "0.2")
            self._command = stage.unrolled(*words, broker=stage.scene.has_workers)

    def _judge(self, command: Command) -> None:
        last = command.text().splitlines()[-1:] or [""]
        if last[0].startswith("{") and json.loads(last[0]).get("finished") and self._before:
            self._watcher.check_claim(command.log.name, self._before)
            self.said = command.started
