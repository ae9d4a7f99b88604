"""Creating an object over a network that may lose, delay or repeat requests and answers.

Only the answer "created" is believed. Any other one ("exists", 409, 412, 503, a time-out) may be about the caller's own
request, which may have worked, may fail, or may still be under way. So the object itself is looked for: where it is
there it counts, and where it isn't it is created again.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from unrolled.errors import TransientError
from unrolled.store.store import Creation

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two attempts, each shortened by chance so that many callers don't come back together.
PAUSES_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0)
#: No attempt begins after this, where each of them takes long to fail.
LONGEST_SECONDS = 15.0


class UnknownOutcomeError(Exception):
    """This answer doesn't say whether the object was created; the text is the reason."""


def settle(
    where: str,
    attempt: Callable[[], Creation],
    is_there: Callable[[], bool],
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Creation:
    """Attempt to create an object until it is known to exist, for a bounded time.

    Args:
        where: the object's place, for the error's text.
        attempt: sends one request; raises UnknownOutcomeError for an answer that doesn't settle it.
        is_there: looks for the object.
        sleep: waits for a number of seconds.
        clock: gives seconds from any beginning.

    Raises:
        TransientError: it still is not known. What else `attempt` raises goes through.
    """
    reason = "no answer"
    begin = clock()
    for pause in (*PAUSES_SECONDS, None):
        try:
            if attempt() is Creation.CREATED:
                return Creation.CREATED
            reason = "it is said to exist, and is not there"
        except UnknownOutcomeError as error:
            reason = str(error)
        try:
            if is_there():
                return Creation.EXISTS
        except TransientError as error:
            reason = f"{reason}; and looking for it: {error}"
        if pause is None or clock() - begin > LONGEST_SECONDS:
            break
        sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, guards nothing
    raise TransientError(f"cannot create {where}: {reason}; check that the store can be reached and is not overloaded")
