"""The jobs whose directory a worker can't use now, each reported once when that begins and once when it ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.errors import UnrolledError
    from unrolled.queue.member import Member

log = logging.getLogger(__name__)

#: Jobs that are remembered: after that many others, a job that never came back is forgotten, and reported again.
MOST_JOBS = 1024
#: Leases after which a reason is old: the shard was tried again meanwhile, here or by another worker.
_RECENT_LEASES = 2.5


class AwayJobs:
    """Reports jobs that are away, and jobs that are back.

    Args:
        lease_seconds: after which a shard of a job that is away is tried again.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._lock = threading.Lock()
        self._away: dict[str, tuple[str, float]] = {}  # why and when last, in the order in which they were met

    def add(self, member: Member, error: UnrolledError) -> None:
        """Report that a shard's job can't be used, unless that is known."""
        with self._lock:
            if member.job_key in self._away:
                self._away[member.job_key] = str(error), time.monotonic()
                return
            while len(self._away) >= MOST_JOBS:
                del self._away[next(iter(self._away))]
            self._away[member.job_key] = str(error), time.monotonic()
        log.warning(
            "%s: %s; shards of its job wait, and are tried again about every %.0f s",
            member,
            error,
            self._lease_seconds,
        )

    def reasons(self) -> dict[str, str]:
        """Why each job that is away can't be used: job key → text. What another worker may have mended isn't named."""
        old = time.monotonic() - _RECENT_LEASES * self._lease_seconds
        with self._lock:
            return {job_key: why for job_key, (why, at) in self._away.items() if at >= old}

    def remove(self, job_key: str) -> None:
        """Report that a job can be used again, if it was away."""
        with self._lock:
            if job_key not in self._away:
                return
            del self._away[job_key]
        log.warning("job %s: its directory is back", job_key)
