"""A broker that is killed, restarted and looked into."""

import shutil
import signal
import socket
from pathlib import Path

from producer.local.broker import EmbeddedBroker


class RestartableBroker(EmbeddedBroker):
    """The embedded broker, for tests and benchmarks that do to it what a person or a machine may do to a server.

    Args:
        directory: keeps the append-only file and the log, and stays; without one they are temporary.
        port: listen on 127.0.0.1 at this TCP port, without a password, and on no socket; 0 picks a free one.
    """

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        super().__init__()
        self._kept_directory = directory
        self._port = port

    @property
    def url(self) -> str:
        """The address in Celery's form."""
        return super().url if self._port is None else f"redis://127.0.0.1:{self._port}/0"

    @property
    def process_id(self) -> int:
        """The server's process."""
        assert self._server is not None, "not running"
        return self._server.pid

    def start(self) -> None:
        """Start the server on its data, unless it runs already, and wait until it answers."""
        if self._server is None:
            self._start()

    def stop(self) -> None:
        """End the server in order, and remove what is temporary."""
        self._end(signal.SIGTERM)
        self._stop()

    def kill(self) -> None:
        """End the server as a crash would; `start` brings it back at the same address."""
        self._end(signal.SIGKILL)

    def restart(self, *, keep_data: bool = True) -> None:
        """End the server in order if it runs; start it at the same address, with its data or empty."""
        self._end(signal.SIGTERM)
        if not keep_data:
            shutil.rmtree(self._data / "appendonlydir", ignore_errors=True)
        self.start()

    @property
    def _data(self) -> Path:
        return self._kept_directory or super()._data

    def _options(self) -> list[str]:
        options = super()._options()
        if self._port is None:
            return options
        self._port = self._port or _free_port()
        return ["--bind", "127.0.0.1", "--port", str(self._port), *options[options.index("--appendonly") :]]

    def _ping(self) -> bytes:
        """The reply to PING where it is this server that answers, not a stranger at its port."""
        if self._port is None:
            return super()._ping()
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as client:
                client.sendall(b"INFO server\r\nPING\r\n")
                with client.makefile("rb") as replies:
                    size_bytes = int(replies.readline().removeprefix(b"$"))
                    is_ours = b"\r\nprocess_id:%d\r\n" % self.process_id in replies.read(size_bytes + 2)
                    return replies.readline() if is_ours else b""
        except (OSError, ValueError):
            return b""


def _free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
