"""Worker processes of one machine, kept running."""

# Over 150 lines: one class, whose processes are started, watched and ended together.

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from math import ceil
from typing import TYPE_CHECKING, Self

from producer.local.watchdog import Watchdog
from producer.terminal.last_words import last_words
from producer.terminal.lines import warn
from unrolled.errors import UnrolledError
from unrolled.settings.machine_memory import memory_note
from unrolled.settings.worker_options import WorkerOptions
from unrolled.store.disk.refusals import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from producer.local.deaths import Deaths

#: Exit statuses of a worker whose settings, model or engine are unusable; starting another would fail in the same way.
UNUSABLE = (1, 2, os.EX_TEMPFAIL)
#: How long a start may take. After that, an exit status of `UNUSABLE` is a death like any other.
START_SECONDS = 20.0
TICK_SECONDS = 0.1
#: How long they may take to end after their grace: they give back what they hold, and close their engine.
ENDING_SECONDS = 35.0
#: How long they have at a second signal.
HURRY_SECONDS = 5
#: Seconds between repeated calls of `on_failure`; the main thread may be unable to act on the first.
REMINDER_SECONDS = 5.0


class Workers:
    """Starts workers, starts a dead one again, and stops them all at the end. None of them outlives this process.

    Args:
        count: how many.
        environment: the workers' settings, as `UNROLLED_*` variables, so that no secret is on a command line.
        logs: directory for `worker-<n>.log`.
        on_failure: called in another thread when the workers can't go on, and again until the block ends.
        deaths: judges whether one that died is started again.
        check_model: raises an UnrolledError if new workers would compute with another model.

    Attributes:
        failure: why the workers can't go on; None while they can.
    """

    def __init__(
        self,
        count: int,
        environment: Mapping[str, str],
        logs: Path,
        on_failure: Callable[[], None],
        deaths: Deaths,
        check_model: Callable[[], None],
    ) -> None:
        self.failure: UnrolledError | None = None
        self._environment = {**os.environ, **environment}
        grace = self._environment.get("UNROLLED_GRACE_SECONDS") or WorkerOptions().grace_seconds
        self._stop_seconds = float(grace) + ENDING_SECONDS
        self._logs = logs
        self._on_failure = on_failure
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self._started = [0.0] * count
        self._deaths = deaths
        self._died = 0
        self._check_model = check_model
        self._stop, self._hurry = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._watchdog: Watchdog | None = None

    def __enter__(self) -> Self:
        """Start the workers.

        Raises:
            TransientError: the logs' directory can't be made.
            UnrolledError: the logs can't be written, or no process can be started.
        """
        try:
            with explained(f"create {self._logs}"):
                self._logs.mkdir(exist_ok=True)
            for number in range(len(self._processes)):
                self._start(number)
            self._thread.start()
        except BaseException as error:  # also one from a signal: nothing else ends what was started
            self._end()
            if isinstance(error, OSError):
                raise UnrolledError(f"the workers can't be started: {error}") from error
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers; they finish the shards that they hold, or give them back."""
        self._end()

    def hurry(self) -> None:
        """Have the workers give back what they hold; may be called by a signal handler while they are stopped."""
        self._hurry.set()

    @property
    def running(self) -> int:
        """How many workers there are now."""
        return len(self._running())

    def _end(self) -> None:
        self._stop.set()
        try:
            if self._thread.is_alive():
                self._thread.join()
            self._terminate()
        finally:
            if self._watchdog is not None:
                # It kills the whole group: a signal may have come between a worker's start and its entry in the list.
                self._watchdog.end()

    def _terminate(self) -> None:
        """Send SIGTERM to the workers that run, and kill those that take too long."""
        running, hurried = self._running(), False
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._stop_seconds
        while running and time.monotonic() < deadline:
            if self._hurry.is_set() and not hurried:
                hurried, deadline = True, time.monotonic() + HURRY_SECONDS
                for process in running:
                    # At a second signal, a worker gives its shards back at once; another SIGTERM may merge with it.
                    process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running[0].wait(TICK_SECONDS)
            running = [process for process in running if process.poll() is None]
        for process in running:
            process.kill()
            process.wait()

    def _running(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self._processes if process and process.poll() is None]

    def _start(self, number: int) -> None:
        if self._watchdog is not None and self._watchdog.is_dead():  # other workers stay in the group that it has left
            self._watchdog = None
        if self._watchdog is None:
            self._watchdog = Watchdog(ceil(self._stop_seconds))
        with self._log(number).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "producer", "worker"],
                env={**self._environment, **_own_port(self._environment, number)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._watchdog.group,
            )
        self._processes[number] = process
        self._started[number] = time.monotonic()
        self._watchdog.watch(process.pid)

    def _supervise(self) -> None:
        while not self._stop.wait(TICK_SECONDS):
            for number, process in enumerate(self._processes):
                if process is None or process.poll() is None:
                    continue
                lived = time.monotonic() - self._started[number]
                unusable = process.returncode in UNUSABLE and lived < START_SECONDS
                hopeless = self._deaths.count(lived)
                if unusable or hopeless:
                    self._fail("\n".join(filter(None, [hopeless, self._last_words(number, process.returncode)])))
                    return
                try:
                    self._check_model()
                    self._start(number)
                except (OSError, UnrolledError) as error:
                    again = ". The same command goes on from here" if isinstance(error, OSError) else ""
                    self._fail(f"the worker died and can't be started again: {error}{again}")
                    return
                self._tell_of_death(number, process.returncode)

    def _tell_of_death(self, number: int, status: int) -> None:
        """Say that a worker died, at the first, the second, the fourth, the eighth death, and so on."""
        self._died += 1
        if self._died & (self._died - 1):
            return
        verb = "died" if status < 0 else "ended"
        died = f"a worker {verb} ({_how(status)}), and was started again"
        if self._died > 1:
            died = f"workers {verb} {self._died} times (the last one: {_how(status)}), and were started again"
        if status < 0:  # one that ends by itself gives back what it holds
            lease = float(self._environment.get("UNROLLED_LEASE_SECONDS") or WorkerOptions().lease_seconds)
            died += f"; what it held, if anything, is queued again after {lease:g} seconds and a few more"
        warn(f"{died}; its log: {self._log(number)}")

    def _fail(self, reason: str) -> None:
        self.failure = UnrolledError(reason)
        self._on_failure()
        while not self._stop.wait(REMINDER_SECONDS):
            self._on_failure()

    def _last_words(self, number: int, status: int) -> str:
        log = self._log(number)
        last = ""
        with contextlib.suppress(OSError):
            # `run` itself has set its workers' variables.
            last = last_words(log.read_text(errors="replace")).partition(" (set in the environment: ")[0]
        last = last or "no output"
        return f"the worker doesn't run ({_how(status)}): {last}{memory_note(last)}\nIts log: {log}"

    def _log(self, number: int) -> Path:
        return self._logs / f"worker-{number}.log"


def _how(status: int) -> str:
    """How a process ended, from its exit status."""
    return f"exit status {status}" if status >= 0 else f"signal {-status}"


def _own_port(environment: Mapping[str, str], number: int) -> dict[str, str]:
    """The variable with the port of one worker's metrics: the next ones after the given port, which is this process's.

    Args:
        environment: the settings of all workers.
        number: the worker's number, from 0.
    """
    port = int(environment.get("UNROLLED_METRICS_PORT") or 0)
    return {"UNROLLED_METRICS_PORT": str(port + 1 + number)} if port else {}
