"""A real S3 server that keeps its buckets in a directory, and goes wrong where a test says so."""

import enum
import io
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import localbucket


class Answer(enum.Enum):
    """What becomes of one request."""

    CONFLICT = (409, "ConditionalRequestConflict")
    EXISTS_IN_VAIN = (412, "PreconditionFailed")
    SLOW_DOWN = (503, "SlowDown")
    BROKEN = (500, "InternalError")
    THROTTLED = (429, "TooManyRequests")
    FORBIDDEN = (403, "AccessDenied")
    UNAUTHORIZED = (401, "InvalidToken")
    NOT_IMPLEMENTED = (501, "NotImplemented")
    REDIRECT = (301, "PermanentRedirect")
    OTHER_REGION = (400, "AuthorizationHeaderMalformed")
    LOST_REQUEST = "the connection ends before the request has its effect"
    LOST_ANSWER = "the connection ends after the request had its effect"
    HALF_ANSWER = "the connection ends in the middle of the answer"
    EXISTS_AFTER = "412, after the request had its effect"
    LATE = "the connection ends, and the request has its effect when `late` is set"


class Request(NamedTuple):
    """One request."""

    method: str
    path: str
    condition: str | None
    size: int
    digest: str | None


class BucketServer:
    """The server, and the faults of the next requests.

    Attributes:
        url: of the server.
        directory: of its buckets.
        bucket: the name of the newest one.
        faults: for each method, what becomes of the next requests; nothing goes wrong where the list is empty.
        requests: of all requests so far.
        ignores_conditions: whether it replaces objects, as old servers do.
        late: lets late requests have their effect.
    """

    def __init__(self, directory: Path, port: int = 0) -> None:
        self.directory = directory
        self.faults: dict[str, list[Answer | None]] = {}
        self.requests: list[Request] = []
        self.ignores_conditions = False
        self.late = threading.Event()
        self.late_done = threading.Event()
        self.bucket = ""
        self.new_bucket("bucket")
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"control": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def new_bucket(self, name: str) -> None:
        """Make a bucket, with nothing to go wrong. A listing costs what is in its bucket."""
        self.bucket = name
        (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.faults = {}
        self.requests.clear()

    def environment(self) -> dict[str, str]:
        """Variables with which the AWS command line would use the server."""
        return client_environment(self.url)

    def answer_to(self, method: str) -> Answer | None:
        """The fault of the request that has just arrived; None for none."""
        faults = self.faults.get(method)
        return faults.pop(0) if faults else None

    def wait_until_late(self) -> None:
        """Return when a late request is to have its effect."""
        self.late.wait()

    def run(self) -> None:
        """Serve until `stop`."""
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(localbucket.S3Handler):
    control: BucketServer

    def setup(self) -> None:
        self.has_finished = threading.Event()
        super().setup()
        # An answer is written in two pieces; without this the second waits for the client's acknowledgement.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def data_root(self) -> Path:
        return self.control.directory

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def _dispatch(self, action) -> None:
        control = self.control
        condition, size = self.headers.get("If-None-Match"), int(self.headers.get("Content-Length", 0))
        digest = self.headers.get("x-amz-content-sha256")
        control.requests.append(Request(self.command, self.path, condition, size, digest))
        if control.ignores_conditions:
            del self.headers["If-None-Match"]
        answer = control.answer_to(self.command)
        if answer is None:
            super()._dispatch(action)
            return
        self.close_connection = True
        if isinstance(answer.value, tuple):
            self._read_body()
            status, code = answer.value
            self._send_error(localbucket.S3Error(localbucket.HTTPStatus(status), code, "as the test says"))
        elif answer is Answer.LATE:
            body = self._read_body()
            self.connection.shutdown(socket.SHUT_RDWR)
            threading.Thread(target=self._act_late, args=(action, body), daemon=True).start()
        elif answer is Answer.LOST_REQUEST:
            self._read_body()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._act_and_lose(action, answer)

    def _act_and_lose(self, action, answer: Answer) -> None:
        out, self.wfile = self.wfile, io.BytesIO()
        super()._dispatch(action)
        written, self.wfile = self.wfile.getvalue(), out
        if answer is Answer.EXISTS_AFTER:
            self._send_error(localbucket.S3Error(localbucket.HTTPStatus(412), "PreconditionFailed", "as the test says"))
            return
        if answer is Answer.HALF_ANSWER:
            self.wfile.write(written[: len(written) // 2])
            self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        super().finish()
        self.has_finished.set()

    def _act_late(self, action, body: bytes) -> None:
        self.control.wait_until_late()
        self.has_finished.wait()  # it closes the files of the connection, and must not close those of this action
        self.rfile, self.wfile = io.BytesIO(body), io.BytesIO()
        super()._dispatch(action)
        self.control.late_done.set()


def client_environment(url: str) -> dict[str, str]:
    """Variables with which the AWS command line would use the server at a URL."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key-id-of-a-test",
        "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
        "AWS_REGION": "us-east-1",
    }


@contextmanager
def bucket_server(directory: Path) -> Iterator[BucketServer]:
    """A server, running meanwhile."""
    server = BucketServer(directory)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


class BucketProcess:
    """A server in a process of its own, to be killed; its objects are on the disk and outlive it.

    Args:
        directory: of its buckets.
        script: serves a directory at a port, and prints its URL; by default this file, in which nothing goes wrong.
        words: more arguments of the script.

    Attributes:
        url: of the server, the same after `start` again.
    """

    def __init__(self, directory: Path, script: str = __file__, *words: str) -> None:
        self._directory = directory
        self._port = 0
        self._script = script
        self._words = words
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Serve, on the port of before."""
        command = [sys.executable, self._script, str(self._directory), str(self._port), *self._words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        self._port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


if __name__ == "__main__":
    process_server = BucketServer(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.write(f"{process_server.url}\n")
    sys.stdout.flush()
    process_server.run()
