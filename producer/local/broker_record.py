"""The broker of a running `unrolled run`, recorded beside its job."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from producer.jobs.status import OwnRun
from producer.terminal.lines import tell
from unrolled.errors import JobError, RequestError, as_argument
from unrolled.job import names
from unrolled.queue.broker_url import check_broker_url, without_secret
from unrolled.store.bucket_url import is_url
from unrolled.store.store import Creation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.protocol.opening import OpenJob

#: Written by `unrolled run` while its own broker lives: the broker's URL, one line. No part of the job.
BROKER_FILE = f"{names.FOLDER}/broker"
_LONGEST_URL = 4096
_SOCKET = "redis+socket://"
_CONNECT_SECONDS = 2.0


def record_of(out: str) -> Path | None:
    """Where the broker of a job is recorded; None where the job is in a bucket, which no `unrolled run` shares."""
    return None if is_url(out) else Path(out) / BROKER_FILE


def find_broker(given: str | None, out: str) -> str | None:
    """The broker that was named, else the one that `unrolled run` recorded; None where there is neither.

    Args:
        given: the URL that was named; None where none was.
        out: the job's output directory, or the URL of a prefix in a bucket.

    Raises:
        JobError: what is recorded is no broker of a run.
    """
    path = record_of(out)
    if given or path is None:
        return given
    try:
        with path.open("rb") as file:
            recorded = file.read(_LONGEST_URL).decode(errors="replace").strip()
    except OSError:
        return None
    # Only a socket of this machine is one of `run`'s. Anybody who can write to OUT could otherwise make this user
    # connect elsewhere.
    try:
        url = check_broker_url(recorded) if recorded.startswith(_SOCKET) else ""
    except (RequestError, ValueError):
        url = ""
    if not url:
        raise JobError(f"{path}: names no broker of `unrolled run`; remove it, or name the broker with --broker")
    return url if _answers(unquote(url.removeprefix(_SOCKET))) else None


def _answers(path: str) -> bool:
    """Whether a server has a socket open. A run that was killed leaves its record, and a killed server its socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_SECONDS)
        try:
            client.connect(path)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:  # it is busy, or another user's
            return True
    return True


def own_run(out: str, broker: str | None) -> OwnRun:
    """Whether an `unrolled run` with a broker of its own is at work on a job on this machine.

    Args:
        out: the job's output directory, or the URL of a prefix in a bucket.
        broker: the URL of the broker that is asked about the job; None where none is.
    """
    try:
        its = find_broker(None, out)
    except JobError:
        return OwnRun.UNSEEN
    if its is None:
        return OwnRun.UNSEEN
    return OwnRun.HERE if broker in (None, its) else OwnRun.ELSEWHERE


def tell_beside_run(out: str, broker: str) -> None:
    """Tell a user who queues a job in a broker if a run with a broker of its own is at work on it."""
    if own_run(out, broker) is OwnRun.ELSEWHERE:
        tell(
            f"{out}: an `unrolled run` with a broker and workers of its own is at work on this job (or "
            "on the original, if this is a copy of it). Workers of the "
            "broker named here would compute the same shards, and each is published once. When the job is complete, "
            f"`unrolled cancel {as_argument(out)}` with that broker takes out what still waits there"
        )


def check_alone(job: OpenJob) -> None:
    """Refuse to run a job with a broker of its own that another run on this machine has one for.

    Raises:
        JobError: there is another run, or what is recorded is no broker.
    """
    if alive := find_broker(None, job.place):
        raise JobError(
            f"{job.place}: another `unrolled run` is working on it (its broker is {without_secret(alive)}); wait "
            "for it with `unrolled wait`, or stop it. If this is a copy of the directory that it is working on, remove "
            f"{record_of(job.place)}"
        )


@contextmanager
def recorded(url: str, job: OpenJob) -> Iterator[None]:
    """Let `status` and `wait` in other terminals find a broker that lives only as long as this process.

    Raises:
        JobError: as `check_alone`.
        TransientError: the record can't be written.
    """
    path = record_of(job.place)
    if path is None:
        yield
        return
    try:  # from here on: a signal may arrive right after the record is written
        while job.objects.store.create(BROKER_FILE, url.encode()) is Creation.EXISTS:
            check_alone(job)
            path.unlink(missing_ok=True)
        yield
    finally:
        with suppress(OSError):  # another's, where this one was taken for one that a killed run has left
            if path.read_bytes() == url.encode():
                path.unlink()
