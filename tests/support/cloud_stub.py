"""A server that answers as Google's and Azure's do to the few requests of a store, and keeps what they said."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

DATE = "Fri, 27 Nov 2026 12:00:00 GMT"
HEADERS = {"ETag": '"e"', "Last-Modified": DATE, "x-goog-generation": "1"}


class CloudStub:
    """One bucket or container of a cloud.

    Attributes:
        url: of the server.
        objects: its objects, by their names in the bucket.
        puts: the headers of each PUT, with lower-case names.
        ranges: the ranges that were asked for.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[dict[str, str]] = []
        self.ranges: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    stub: CloudStub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_PUT(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.stub.puts.append(headers)
        body = self._body()
        is_azure = "x-ms-blob-type" in headers
        condition = (
            headers.get("if-none-match") == "*" if is_azure else headers.get("x-goog-if-generation-match") == "0"
        )
        if condition and self._name() in self.stub.objects:
            self._answer(409 if is_azure else 412, b"")
            return
        self.stub.objects[self._name()] = body
        self._answer(201 if is_azure else 200, b"", HEADERS)

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query or "comp" in query:
            self._list(query["prefix"][0], is_azure="comp" in query)
            return
        content = self.stub.objects.get(self._name())
        wanted = self.headers.get("Range") or self.headers.get("x-ms-range")
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif wanted is None:
            self._answer(200, content, HEADERS)
        else:
            self.stub.ranges.append(wanted)
            self._answer_range(content, *wanted.removeprefix("bytes=").split("-"))

    def do_DELETE(self) -> None:
        self._answer(204 if self.stub.objects.pop(self._name(), None) is not None else 404, b"")

    def do_POST(self) -> None:
        """Azure's deletes, which are a batch of requests in one."""
        (path,) = re.findall(r"^DELETE (\S+)", self._body().decode(), re.MULTILINE)
        name = unquote(urlsplit(path).path).lstrip("/").partition("/")[2]
        status = "202 Accepted" if self.stub.objects.pop(name, None) is not None else "404 The blob does not exist"
        part = f"--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n--b--\r\n"
        self._answer(202, part.encode(), {"Content-Type": "multipart/mixed; boundary=b"})

    def _name(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer_range(self, content: bytes, first: str, last: str) -> None:
        size = len(content)
        start = int(first) if first else max(0, size - int(last))
        end = min(int(last), size - 1) if first and last else size - 1
        if start >= size:
            self._answer(416, b"")
            return
        self._answer(206, content[start : end + 1], HEADERS | {"Content-Range": f"bytes {start}-{end}/{size}"})

    def _list(self, prefix: str, *, is_azure: bool) -> None:
        found = {escape(name): len(body) for name, body in self.stub.objects.items() if name.startswith(prefix)}
        if is_azure:
            blobs = (
                f"<Blob><Name>{name}</Name><Properties><Last-Modified>{DATE}</Last-Modified><Content-Type>x</Content-Type>"
                f"<Content-Length>{size}</Content-Length><Etag>e</Etag></Properties></Blob>"
                for name, size in sorted(found.items())
            )
            text = f"<EnumerationResults><Blobs>{''.join(blobs)}</Blobs><NextMarker/></EnumerationResults>"
        else:
            contents = (
                f"<Contents><Key>{name}</Key><LastModified>2026-11-27T12:00:00Z</LastModified><ETag>e</ETag>"
                f"<Size>{size}</Size></Contents>"
                for name, size in sorted(found.items())
            )
            text = f"<ListBucketResult>{''.join(contents)}</ListBucketResult>"
        self._answer(200, text.encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def cloud_stub() -> Iterator[CloudStub]:
    """A server, running meanwhile."""
    stub = CloudStub()
    thread = threading.Thread(target=stub.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        stub.server.shutdown()
        stub.server.server_close()
        thread.join()
