"""Trying again while the world is in the way, with one clear line in the log for each trouble."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import kombu.exceptions
import redis

from unrolled.errors import TransientError
from worker.errors import PASSING, GivenBackError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds between two tries: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
#: Of what is tried no more often.
ATTEMPTS = 5

#: Redis answers errors that pass (loading, out of memory, disk full, read-only) as well as none at all.
TRANSIENT = (
    TransientError,
    redis.RedisError,
    kombu.exceptions.OperationalError,
    ConnectionError,
    TimeoutError,
)


class Patience:
    """Runs actions until they work or the worker stops."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._troubles: dict[str, float] = {}

    def stop(self) -> None:
        """End all waiting: from now on a trouble is final."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; True where the worker stops meanwhile."""
        return self._stop.wait(seconds)

    def until_done(self, what: str, action: Callable[[], T]) -> T:
        """The action's result, however often it has to be tried.

        Args:
            what: names the action in the log, such as "publish to /data/out".
            action: must be safe to run again.

        Raises:
            GivenBackError: the worker stops, and the action still fails.
        """
        pause = FIRST_PAUSE
        failed = False
        while True:
            try:
                result = action()
            except GivenBackError:
                raise
            except TRANSIENT as error:
                failed = True
                self._trouble(what, error)
                if self._stop.wait(pause):
                    raise GivenBackError from error
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if failed:  # what never failed here may be something that is easier to do
                    self._well(what)
                return result

    def a_few_times(self, what: str, action: Callable[[], T]) -> T:
        """The action's result, tried again while it stops for what may pass, `ATTEMPTS` times in all.

        Args:
            what: names the action in the log, such as "compute 000000-0123456789ab".
            action: must be safe to run again.

        Raises:
            GivenBackError: the worker stops, and the action still fails.
            Exception: what the action raised, at once or the last time.
        """
        pause = FIRST_PAUSE
        for _ in range(ATTEMPTS - 1):
            try:
                return action()
            except GivenBackError:
                raise
            except PASSING as error:
                log.warning("can't %s: %s; trying again in %g s", what, reason_of(error), pause)
            if self._stop.wait(pause):
                raise GivenBackError
            pause = min(2 * pause, LONGEST_PAUSE)
        return action()

    def _trouble(self, what: str, error: Exception) -> None:
        """Say it once, however many threads meet it and however long it lasts."""
        with self._lock:
            new = what not in self._troubles
            self._troubles.setdefault(what, time.monotonic())
        if new:
            log.warning("can't %s: %s; holding the shards and trying again until it works", what, error)

    def _well(self, what: str) -> None:
        with self._lock:
            since = self._troubles.pop(what, None)
        if since is not None:
            log.warning("can %s again, after %.0f s", what, time.monotonic() - since)
