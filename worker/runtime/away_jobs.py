"""The jobs that a worker can't use now: each reported once when that begins and once when it ends.

Some of them it has refused: their directory is out of its reach, while other workers may reach it. It chooses none of
their shards, except one now and then to see whether that has changed.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.errors import UnrolledError
    from unrolled.queue.member import Member

log = logging.getLogger(__name__)

#: Jobs that are remembered: after that many others, a job that never came back is forgotten, and reported again.
MOST_JOBS = 1024
#: Leases after which a reason is old: the shard was tried again meanwhile, here or by another worker.
_RECENT_LEASES = 2.5
#: Seconds between two tries of a job that was refused: at first, and at most. Each pause is twice the one before, and
#: none is longer than a lease.
FIRST_TRY_SECONDS, LAST_TRY_SECONDS = 1.0, 30.0


@dataclass(slots=True)
class _Away:
    """A job that can't be used.

    Attributes:
        member: the shard that was met last.
        why: the reason then.
        met_at: when it was met.
        pause: seconds between two tries; 0 for a job that isn't refused.
        next_try: when one of its shards may be chosen.
    """

    member: Member
    why: str
    met_at: float
    pause: float = 0.0
    next_try: float = 0.0


class AwayJobs:
    """Reports jobs that are away, and jobs that are back.

    Args:
        lease_seconds: after which a shard of a job that is away is tried again.
        clock: seconds, never going back.
    """

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease_seconds = lease_seconds
        self._longest_pause = min(LAST_TRY_SECONDS, lease_seconds)
        self._clock = clock
        self._lock = threading.Lock()
        self._away: dict[str, _Away] = {}  # in the order in which they were met

    def add(self, member: Member, error: UnrolledError) -> None:
        """Report that a shard can't be computed now, unless that is known of its job."""
        if self._note(member, error, refuses=False):
            log.warning(
                "%s: %s; shards of its job wait, and are tried again about every %.0f s",
                member,
                error,
                self._lease_seconds,
            )

    def refuse(self, member: Member, error: UnrolledError) -> None:
        """Report that a shard's job is left to other workers, unless that is known, and remember it."""
        if self._note(member, error, refuses=True):
            log.warning(
                "%s: %s; the shards of its job are left to other workers, and tried again at least every %.0f s",
                member,
                error,
                self._longest_pause,
            )

    def refused(self) -> list[str]:
        """The keys of the jobs whose shards aren't chosen now.

        A job whose time for a try has come is left out once, so that one thread tries it.
        """
        found, now = [], self._clock()
        with self._lock:
            for job_key, away in self._away.items():
                if now < away.next_try:
                    found.append(job_key)
                elif away.pause:
                    away.pause = min(2 * away.pause, self._longest_pause)
                    away.next_try = now + away.pause
        return found

    def reasons(self) -> dict[str, str]:
        """Why each job that is away can't be used: job key → text. What another worker may have mended isn't named."""
        old = self._clock() - _RECENT_LEASES * self._lease_seconds
        with self._lock:
            return {job_key: away.why for job_key, away in self._away.items() if away.met_at >= old}

    def remove(self, member: Member) -> None:
        """Note that a shard has its part. If its job was refused, report that the job can be used again."""
        with self._lock:
            away = self._away.get(member.job_key)
            if away is None or not (away.pause or away.member == member):
                return  # another shard of the job may still be in the way
            del self._away[member.job_key]
        if away.pause:
            log.warning("job %s: its directory can be used again", member.job_key)

    def _note(self, member: Member, error: UnrolledError, *, refuses: bool) -> bool:
        """Whether the job wasn't known to be away."""
        now = self._clock()
        with self._lock:
            is_new = member.job_key not in self._away
            while is_new and len(self._away) >= MOST_JOBS:
                del self._away[next(iter(self._away))]
            away = self._away.setdefault(member.job_key, _Away(member, str(error), now))
            away.member, away.why, away.met_at = member, str(error), now
            if refuses and not away.pause:
                away.pause = min(FIRST_TRY_SECONDS, self._longest_pause)
                away.next_try = now + away.pause
        return is_new
