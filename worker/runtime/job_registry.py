"""The jobs that a worker has met, and their directories."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import JobError, TransientError
from unrolled.job.directory import JobDirectory, open_job
from unrolled.store.hidden_file import sweep_leftovers
from worker.errors import AwayError

if TYPE_CHECKING:
    from unrolled.queue.ledger import Ledger

log = logging.getLogger(__name__)

#: A hidden file that wasn't written to for this many leases, and this many seconds at least, is a dead process's.
LEFTOVER_LEASES, LEFTOVER_SECONDS = 4, 60.0
#: Linux's PATH_MAX.
MAX_PATH_BYTES = 4096


class JobRegistry:
    """Finds a job's directory, and checks that it is the one whose key the queue names.

    A path in Redis is not trusted: the directory must contain a `job.json` whose content and place give the job's key.
    So a path only works if its author can also write to the directory.

    Args:
        ledger: of the model that this worker serves.
        root: all job directories must be below it; None allows any.
    """

    def __init__(self, ledger: Ledger, root: Path | None) -> None:
        self._ledger = ledger
        self._root = root.resolve() if root else None
        self._lock = threading.Lock()
        self._known: dict[str, JobDirectory] = {}
        self._next_sweep: dict[str, float] = {}
        self._leftover_seconds = max(LEFTOVER_SECONDS, LEFTOVER_LEASES * ledger.lease_seconds)

    def find(self, job_key: str) -> JobDirectory:
        """The job's directory.

        Raises:
            JobError: the directory isn't the job's, isn't below the root, or asks for another model.
            AwayError: the directory isn't available, or can't be read now.
        """
        with self._lock:
            known = self._known.get(job_key)
        directory = known or self._open(job_key)
        with self._lock:
            self._known[job_key] = directory
        self._sweep_leftovers(directory)
        return directory

    def known(self) -> list[JobDirectory]:
        """All jobs that were found so far."""
        with self._lock:
            return list(self._known.values())

    def _open(self, job_key: str) -> JobDirectory:
        text = self._ledger.job_directory(job_key)
        if text is None:
            raise AwayError(f"job {job_key} isn't registered in Redis; run its `unrolled enqueue` again")
        path = _checked_path(job_key, text)
        if self._root and not path.resolve().is_relative_to(self._root):
            raise JobError(f"job {job_key} asks for {path}; this worker writes below {self._root} only (--output-root)")
        if not os.path.exists(path / "job.json"):  # noqa: PTH110 - also False where the place can't be looked at
            raise AwayError(f"{path} contains no job.json; mount or restore the job's directory")
        try:
            directory = open_job(path)
        except TransientError as error:
            raise AwayError(str(error)) from error
        if directory.job.fingerprint != self._ledger.fingerprint:
            raise JobError(
                f"job {job_key} asks for model {directory.job.fingerprint}; "
                f"this worker serves model {self._ledger.fingerprint}: start one with --model of the job's"
            )
        if directory.key != job_key:
            raise JobError(
                f"job {job_key} names {path}, but the job there is {directory.key}; the entry is forged or stale"
            )
        return directory

    def _sweep_leftovers(self, directory: JobDirectory) -> None:
        """Remove what dead processes left behind, when a job is met and regularly while it runs."""
        now = time.monotonic()
        with self._lock:
            if now < self._next_sweep.get(directory.key, 0.0):
                return
            self._next_sweep[directory.key] = now + self._leftover_seconds
        for place in (directory.path, *(directory.path / name for name in ("_pending", "_quarantine", "_dead"))):
            try:
                removed = sweep_leftovers(place, self._leftover_seconds)
            except TransientError as error:
                log.info("%s; trying again later", error)
            else:
                if removed:
                    log.info("removed %d unfinished file(s) of dead processes from %s", len(removed), place)


def _checked_path(job_key: str, text: str) -> Path:
    try:
        fits = "\0" not in text and len(os.fsencode(text)) <= MAX_PATH_BYTES
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise JobError(f"job {job_key} names {text[:80]!r}; a path of up to {MAX_PATH_BYTES:,} bytes is expected")
    return Path(os.path.abspath(text))  # noqa: PTH100 - links stay: the key is made of the producer's path
