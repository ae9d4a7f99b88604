"""Worker processes of one machine, kept running."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from unrolled.errors import UnrolledError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: Exit status of a worker that can't start: trying again wouldn't help.
UNUSABLE = 2
#: A worker that ran at least this long before it died may be started again without counting.
LONG_ENOUGH_SECONDS = 60.0
#: Deaths in a row, each soon after the start, before the job is stopped. More than a poison shard may cause.
MOST_DEATHS = 20
TICK_SECONDS = 0.1
STOP_SECONDS = 60.0


class Workers:
    """Starts workers, starts a dead one again, and stops them all at the end.

    Args:
        count: how many.
        environment: `UNROLLED_*` variables: settings travel this way, so that no secret is in a command line.
        logs: directory for `worker-<n>.log`.
        on_failure: called once, in another thread, when going on is pointless; the reason is `failure`.
    """

    def __init__(self, count: int, environment: Mapping[str, str], logs: Path, on_failure: Callable[[], None]) -> None:
        self.failure: UnrolledError | None = None
        self._environment = {**os.environ, **environment}
        self._logs = logs
        self._on_failure = on_failure
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self._started = [0.0] * count
        self._deaths = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        """Start them."""
        self._logs.mkdir(exist_ok=True)
        for number in range(len(self._processes)):
            self._start(number)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop them: what is on board is finished or given back."""
        self._stop.set()
        self._thread.join()
        running = [process for process in self._processes if process and process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, number: int) -> None:
        with self._log(number).open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [sys.executable, "-m", "worker"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is this process's to hear, and to pass on
            )
        self._started[number] = time.monotonic()

    def _watch(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            for number, process in enumerate(self._processes):
                if process is None or process.poll() is None:
                    continue
                if time.monotonic() - self._started[number] > LONG_ENOUGH_SECONDS:
                    self._deaths = 0
                self._deaths += 1
                if process.returncode == UNUSABLE or self._deaths > MOST_DEATHS:
                    self._fail(number, process.returncode)
                    return
                self._start(number)

    def _fail(self, number: int, status: int) -> None:
        log = self._log(number)
        last = "no output"
        with contextlib.suppress(OSError):
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            last = lines[-1] if lines else last
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        self.failure = UnrolledError(f"the worker doesn't run ({how}): {last}\nIts log: {log}")
        self._on_failure()

    def _log(self, number: int) -> Path:
        return self._logs / f"worker-{number}.log"
