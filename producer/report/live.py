"""A report of a running job, served to a browser on this machine; it reads the job, and writes nothing.

Only names that can't be another site's are answered (the Host header must be an address, or localhost), so that no page
of another site can read the report by pointing a name of its own at this machine.
"""

# Over 150 lines: the page, its server and who may ask are one path.

from __future__ import annotations

import errno
import hashlib
import ipaddress
import socket
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from producer.report.page.page import policy, render
from unrolled.errors import OptionError, UnrolledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from producer.report.facts import Shown
    from producer.report.gathering import Gathering

#: Seconds between two questions of a page, and between two looks at the job however many pages ask.
EVERY_SECONDS = 2.0
#: A map is made again after this time, or this many times as long as it took, whichever is longer.
MAP_SECONDS, MAP_TIMES = 10.0, 20.0


class LivePage:
    """The page of a job as it is now, made when somebody asks for it.

    Args:
        begin: begins to read the job.
    """

    def __init__(self, begin: Callable[[], Gathering]) -> None:
        self._begin = begin
        self._gathering = begin()
        self._lock = threading.Lock()
        self._looked = self._mapped = float("-inf")
        self._took = 0.0
        self._shown: Shown | None = None
        self._content = b""
        self._vectors = -1

    def content(self) -> bytes:
        """The page's bytes; they are equal while nothing changes.

        Raises:
            UnrolledError: the job can't be read now.
        """
        with self._lock:
            now = time.monotonic()
            if self._shown is None or now - self._looked >= EVERY_SECONDS / 2:
                if self._gathering.spoilt:
                    self._gathering = self._begin()
                self._gathering.look()
                self._content = render(self._now(), EVERY_SECONDS).encode()
                self._looked = time.monotonic()
            return self._content

    def _now(self) -> Shown:
        """Everything as it is now, but for a map that isn't older than it may be."""
        began = time.monotonic()
        fresh = self._vectors == self._gathering.vectors
        due = began - self._mapped >= max(MAP_SECONDS, MAP_TIMES * self._took)
        if self._shown is not None and self._shown.state_map is not None and (fresh or not due):
            self._shown = self._gathering.shown(self._shown.state_map)
            return self._shown
        self._vectors, self._shown = self._gathering.vectors, self._gathering.shown()
        self._mapped = time.monotonic()
        self._took = self._mapped - began
        return self._shown


class LiveServer(ThreadingHTTPServer):
    """Serves one page.

    Args:
        page: the page.
        host: the address to listen at.
        port: the port; 0 for any that is free.

    Raises:
        OptionError: the address can't be listened at.
    """

    daemon_threads = True

    def __init__(self, page: LivePage, host: str, port: int) -> None:
        self.page = page
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Handler)
        except UnicodeError as error:  # in names, which are encoded
            raise OptionError(f"{host!r} is no name of a host; give another --host") from error
        except OSError as error:
            is_host = isinstance(error, socket.gaierror) or error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL)
            other = "--host" if is_host else "--port"
            raise OptionError(
                f"{host}:{port} can't be used ({error.strerror or error}); give another {other}"
            ) from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "unrolled", ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        if not is_ours(self.headers.get("Host", ""), self.server.server_address[0]):
            self._send(HTTPStatus.FORBIDDEN, b"The Host header names another machine; use localhost or an address.\n")
        elif self.path.partition("?")[0] != "/":
            self._send(HTTPStatus.NOT_FOUND, b"There is one page: /\n")
        else:
            try:
                content = self.server.page.content()
            except UnrolledError as error:
                self._send(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode())
                return
            except Exception as error:  # noqa: BLE001 - a browser that gets no answer can't show what is wrong
                said = f"The report can't be made ({type(error).__name__}: {error}).\n"
                self._send(HTTPStatus.INTERNAL_SERVER_ERROR, said.encode())
                return
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            if self.headers.get("If-None-Match") == tag:
                self._send(HTTPStatus.NOT_MODIFIED, b"", tag)
            else:
                self._send(HTTPStatus.OK, content, tag, "text/html; charset=utf-8", body=body)

    def _send(
        self,
        status: HTTPStatus,
        content: bytes,
        tag: str = "",
        kind: str = "text/plain; charset=utf-8",
        *,
        body: bool = True,
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Security-Policy": f"{policy(live=True)}; frame-ancestors 'none'",
            "Content-Type": kind,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
            **({"ETag": tag} if tag else {}),
        }
        if status is not HTTPStatus.NOT_MODIFIED:
            headers["Content-Length"] = str(len(content))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """A question every two seconds is nothing to tell."""


def is_ours(host: str, listening: object) -> bool:
    """Whether a Host header names this server: localhost, an address, or this machine where it listens for others."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    name = name.removeprefix("[").removesuffix("]").lower()
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        return True
    try:
        local = ipaddress.ip_address(str(listening)).is_loopback
    except ValueError:
        local = True
    return not local and name in (socket.gethostname().lower(), socket.getfqdn().lower())
