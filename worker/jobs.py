"""The jobs that a worker has met, and where they lie."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import JobError, TransientError
from unrolled.job import JobDirectory, open_job

if TYPE_CHECKING:
    from unrolled.ledger import Ledger


class Jobs:
    """Finds a job's directory and checks that it is what the queue says.

    The queue is not trusted with a path: the directory must hold a `job.json` whose own content and place give the
    job's key, so only who can write there can name it.

    Args:
        ledger: of the model that this worker serves.
        root: where directories must lie; None for anywhere.
    """

    def __init__(self, ledger: Ledger, root: Path | None) -> None:
        self._ledger = ledger
        self._root = root.resolve() if root else None
        self._lock = threading.Lock()
        self._known: dict[str, JobDirectory] = {}

    def find(self, job_key: str) -> JobDirectory:
        """The job's directory.

        Raises:
            JobError: it isn't the job's, lies outside of the root, or asks for another model.
            TransientError: it isn't there, or can't be read now.
        """
        with self._lock:
            known = self._known.get(job_key)
        if known:
            return known
        directory = self._open(job_key)
        with self._lock:
            self._known[job_key] = directory
        return directory

    def known(self) -> list[JobDirectory]:
        """All jobs that were found so far."""
        with self._lock:
            return list(self._known.values())

    def _open(self, job_key: str) -> JobDirectory:
        text = self._ledger.job_directory(job_key)
        if text is None:
            raise TransientError(f"job {job_key} isn't registered in Redis; run its `unrolled enqueue` again")
        path = Path(os.path.abspath(text))
        if self._root and not path.resolve().is_relative_to(self._root):
            raise JobError(f"job {job_key} asks for {path}; this worker writes below {self._root} only (--output-root)")
        if not (path / "job.json").exists():
            raise TransientError(f"{path} holds no job.json; mount or restore the job's directory")
        directory = open_job(path)
        if directory.job.fingerprint != self._ledger.fingerprint:
            raise JobError(
                f"job {job_key} asks for model {directory.job.fingerprint}; "
                f"this worker serves model {self._ledger.fingerprint}: start one with --model of the job's"
            )
        if directory.key != job_key:
            raise JobError(f"job {job_key} names {path}, but the job there is {directory.key}; the entry is forged or stale")
        return directory
