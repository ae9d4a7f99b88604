"""TLS in front of a server that has none, as stunnel or a cloud's load balancer is."""

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

import trustme

CHUNK_BYTES = 2**16


class TlsProxy:
    """Takes TLS connections at a free port of 127.0.0.1 and passes on what is in them.

    Args:
        target: port of the server behind it.
        authority: signs the proxy's certificate.
    """

    def __init__(self, target: int, authority: trustme.CA) -> None:
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            _shut(each)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        self._open.add(plain)
        with plain, contextlib.suppress(OSError):  # no TLS, a certificate that isn't trusted, or a lost peer
            plain.settimeout(10)
            client = self._context.wrap_socket(plain, server_side=True)
            client.settimeout(None)
            self._open.add(client)
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                self._open.add(server)
                back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
                back.start()
                _pass_on(client, server)
                back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            target.sendall(chunk)
    _shut(source)
    _shut(target)


def _shut(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)


def authority(path: Path) -> trustme.CA:
    """A certificate authority whose certificate is at `path`."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(path))
    return made
