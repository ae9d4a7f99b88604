"""The broker of a running `unrolled run`, recorded in its output directory."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from unrolled.errors import JobError, RequestError
from unrolled.queue.broker_url import check_broker_url

#: Written by `unrolled run` while its own broker lives: the broker's URL, one line.
BROKER_FILE = "_broker"
_LONGEST_URL = 4096
_SOCKET = "redis+socket://"


def find_broker(given: str | None, out: Path) -> str | None:
    """The broker that was named, else the one that `unrolled run` recorded; None where there is neither.

    Raises:
        JobError: the record holds no broker's URL.
    """
    if given:
        return given
    path = out / BROKER_FILE
    try:
        with path.open("rb") as file:
            recorded = file.read(_LONGEST_URL).decode(errors="replace").strip()
    except OSError:
        return None
    try:
        url = check_broker_url(recorded)
    except (RequestError, ValueError):
        raise JobError(f"{path}: holds no broker's URL; remove it, or name the broker with --broker") from None
    # A run that was killed leaves its record, but its watchdog removes the socket.
    gone = url.startswith(_SOCKET) and not Path(unquote(url.removeprefix(_SOCKET))).exists()
    return None if gone else url
