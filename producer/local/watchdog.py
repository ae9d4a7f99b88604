"""No process outlives its owner: a small shell script ends the others, whatever ended this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Whatever ends the owner, kill -9 included, closes this script's standard input; no thread, fork or signal handler of
# the owner takes part. One signal reaches the whole process group and nothing else. The process ids, one a line, only
# say how long to wait: $1 tenths of a second at most. $2 is the folder.
_SCRIPT = """
pids=
while read -r pid; do pids="$pids $pid"; done
trap '' TERM
kill -TERM 0
left=$1
for pid in $pids; do
    while [ "$left" -gt 0 ] && kill -0 "$pid"; do sleep 0.1; left=$((left - 1)); done
done
[ -z "$2" ] || rm -rf -- "$2"
kill -KILL 0
"""


class Watchdog:
    """Ends a group of processes when this process has ended.

    Ctrl-C on a terminal doesn't reach the group: it is meant for the owner, who still needs the processes while it
    stops.

    Args:
        seconds: how long the processes may take to end before they are killed.
        folder: removed after their end; None to remove nothing.

    Attributes:
        group: the group that processes have to join, for `subprocess.Popen(process_group=…)`. Its number can't become
            another group's while the watchdog, its leader, lives.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, seconds: int, folder: Path | None = None) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "sh", str(10 * seconds), folder or ""],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        self.group = self._process.pid

    def is_dead(self) -> bool:
        """Whether something has killed it; then no process can join its group any more."""
        dead = self._process.poll() is not None
        if dead and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        return dead

    def watch(self, process_id: int) -> None:
        """Wait for a process of the group before it is killed."""
        if self._process.stdin is not None:
            self._process.stdin.write(b"%d\n" % process_id)
            self._process.stdin.flush()

    def end(self) -> None:
        """Kill what is left of the group, and the watchdog itself."""
        with contextlib.suppress(ProcessLookupError):  # something has killed them all
            os.killpg(self.group, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
