"""The broker of a running `unrolled run`, recorded beside its job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from unrolled.errors import JobError, RequestError
from unrolled.job import names
from unrolled.queue.broker_url import check_broker_url
from unrolled.store.posix import PosixStore

if TYPE_CHECKING:
    from unrolled.protocol.opening import OpenJob

#: Written by `unrolled run` while its own broker lives: the broker's URL, one line. No part of the job.
BROKER_FILE = f"{names.FOLDER}/broker"
_LONGEST_URL = 4096
_SOCKET = "redis+socket://"


def record_of(job: OpenJob) -> Path | None:
    """Where the broker of a job is recorded; None where the job is in a bucket, which no `unrolled run` shares."""
    store = job.objects.store
    return store.path / BROKER_FILE if isinstance(store, PosixStore) else None


def find_broker(given: str | None, job: OpenJob) -> str | None:
    """The broker that was named, else the one that `unrolled run` recorded; None where there is neither.

    Raises:
        JobError: what is recorded is no URL.
    """
    path = record_of(job)
    if given or path is None:
        return given
    try:
        with path.open("rb") as file:
            recorded = file.read(_LONGEST_URL).decode(errors="replace").strip()
    except OSError:
        return None
    try:
        url = check_broker_url(recorded)
    except (RequestError, ValueError):
        raise JobError(f"{path}: holds no broker's URL; remove it, or name the broker with --broker") from None
    # A run that was killed leaves its record, but its server takes the socket away.
    gone = url.startswith(_SOCKET) and not Path(unquote(url.removeprefix(_SOCKET))).exists()
    return None if gone else url
