"""Trying again while something is in the way: a disk that is full, a broker that is away, memory that others hold.

A server that gives no answer at all is in the way, too, long before the client of its protocol gives up.

Each trouble takes one line when it begins, one for each reason of another kind, one if an earlier reason is back to
stay, and one when it is over, however many threads meet it and however often they try.
"""

# Over 150 lines: trying again, and all that is said meanwhile.

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from unrolled.errors import TransientError, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Kinds = tuple[type[Exception], ...]

T = TypeVar("T")

_NOT_DONE = "not done within {:g} s"

#: Seconds between two tries: the first pause, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
#: How long an action may take before that is said, where people watch.
QUIET_SECONDS = 15.0
#: How long a reason that was said before must have been the only one until it is said again.
STAY_SECONDS = 20.0
#: How often an action is tried whose failure may be its own fault.
ATTEMPTS = 5


class Steadily(Protocol):
    """Runs an action until it works, and gives its result."""

    def __call__(self, what: str, action: Callable[[], T], /) -> T:
        """Run an action; `what` names it, for people."""
        ...


def at_once(what: str, action: Callable[[], T]) -> T:
    """Try an action once: for commands that answer now or say why not."""
    del what
    return action()


def pauses() -> Iterator[float]:
    """Seconds to wait before each new try, without end: each pause twice the one before, up to the longest."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)


@dataclass(eq=False, slots=True)
class _Try:
    """One try of an action.

    Attributes:
        what: names the action.
        began: when, on the monotonic clock.
        about: as `Patience.until_done` takes it.
        is_named: whether it was said that it takes long.
    """

    what: str
    began: float
    about: str | None = None
    is_named: bool = False


@dataclass(slots=True)
class _Trouble:
    """What is in the way of an action.

    Attributes:
        since: when it began, on the monotonic clock.
        reason: the last one.
        about: as `Patience.until_done` takes it.
        kinds: the kinds of errors that were said, the last one at the end.
        kind: of the last error.
        same_since: since when all errors are of that kind.
    """

    since: float
    reason: str
    about: str | None
    kinds: list[type] = field(default_factory=list)
    kind: type | None = None
    same_since: float = 0.0

    def meet(self, error: object) -> bool:
        """Take in an error; whether to say it: the first of its kind, or one that stays after others were said."""
        now, kind = time.monotonic(), type(error)
        self.reason = str(error)
        if kind is not self.kind:
            self.kind, self.same_since = kind, now
        # Two kinds may take turns: a server that was away refuses the login once it is back.
        if kind in self.kinds and (kind is self.kinds[-1] or now - self.same_since < STAY_SECONDS):
            return False
        self.kinds = [*(one for one in self.kinds if one is not kind), kind]
        return True


class Patience:
    """Runs actions until they work, and says once what is in the way, and again if that changes.

    Args:
        say: called with one line of text.
        transient: kinds of errors that pass by themselves.
        stopped: raised in place of an action's error after `stop`; an action that raises it is not tried again.
        quiet_seconds: how long an action may take before that is said; None for as long as it takes.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        transient: Kinds = (TransientError,),
        stopped: type[Exception] = InterruptedError,
        quiet_seconds: float | None = None,
    ) -> None:
        self.say = say
        self._transient = transient
        self._stopped = stopped
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._failing: dict[str, _Trouble] = {}
        self._worked: dict[str, float] = {}  # when each trouble was over
        self._hoping: Counter[str] = Counter()  # callers that try an action again
        self._quiet_seconds = quiet_seconds
        self._running: dict[_Try, None] = {}  # in the order in which they began
        self._watched = False

    def stop(self) -> None:
        """End all waiting: from now on an action that fails is not tried again."""
        self._stop.set()

    def until_done(self, what: str, action: Callable[[], T], until: float = math.inf, about: str | None = None) -> T:
        """The action's result, however often it has to be tried.

        Args:
            what: names the action in the lines, such as "publish to /data/out".
            action: must be safe to run again.
            until: when to give up, on the monotonic clock.
            about: the one thing that an error concerns, such as a job's key; None for all.

        Raises:
            Exception: the action's own error, where it isn't transient or comes after `until`; `stopped` after `stop`.
        """
        # Over 40 lines, a third of them the description: each way in which a try can end.
        failed = False
        waits = pauses()
        try:
            while True:
                one = self._begin(what, about)
                try:
                    result = action()
                except self._stopped:
                    raise
                except self._transient as error:
                    left = until - time.monotonic()
                    if left <= 0:
                        raise
                    self._end(one)  # the pause before the next try is none of its time
                    self.fails(what, error, about, one.began)
                    if not failed:
                        failed = True
                        self._hope(what, 1)
                    if self._stop.wait(min(next(waits), left)):
                        raise self._stopped from error
                else:
                    # An action that never failed here may be easier than one of the same name that still does.
                    if failed or one.is_named:
                        self.works(what)
                    return result
                finally:
                    self._end(one)
        finally:
            if failed:
                self._hope(what, -1)

    def a_few_times(self, what: str, action: Callable[[], T], passing: Kinds) -> T:
        """The action's result, tried up to `ATTEMPTS` times.

        Args:
            what: names the action in the lines, such as "compute 000000-0123456789ab".
            action: must be safe to run again.
            passing: kinds of errors after which it is tried again.

        Raises:
            Exception: the action's own error, where it isn't passing or comes the last time; `stopped` after `stop`.
        """
        waits = pauses()
        for _ in range(ATTEMPTS - 1):
            try:
                return action()
            except self._stopped:
                raise
            except passing as error:
                pause = next(waits)
                self.say(f"can't {what}: {reason_of(error)}; trying again in {pause:g} s")
                if self._stop.wait(pause):
                    raise self._stopped from error
        return action()

    def fails(self, what: str, error: object, about: str | None = None, began: float = math.inf) -> None:
        """Say that something can't be done, unless that was said, and the reason is still of the same kind.

        Args:
            what: names the action.
            error: the reason.
            about: as `until_done` takes it.
            began: when the try began, on the monotonic clock; what has worked since isn't in the way any more.
        """
        with self._lock:
            if began < self._worked.get(what, -math.inf):
                return
            trouble = self._failing.setdefault(what, _Trouble(time.monotonic(), str(error), about))
            trouble.about = about
            is_news = trouble.meet(error)
        if is_news:
            self.say(f"can't {what}: {error}; trying again until it works")

    def _hope(self, what: str, step: int) -> None:
        """Count the callers that try an action again; a trouble that all have given up isn't waited for any more."""
        with self._lock:
            self._hoping[what] += step
            if not self._hoping[what]:
                del self._hoping[what]
                self._failing.pop(what, None)

    def _begin(self, what: str, about: str | None) -> _Try:
        """Note a try that begins now, and see that somebody watches how long it takes."""
        one = _Try(what, time.monotonic(), about)
        if self._quiet_seconds is not None:
            with self._lock:
                self._running[one] = None
                starts, self._watched = not self._watched, True
            if starts:
                threading.Thread(target=self._watch, args=(self._quiet_seconds,), name="patience", daemon=True).start()
        return one

    def _end(self, one: _Try) -> None:
        with self._lock:
            self._running.pop(one, None)

    def _watch(self, quiet_seconds: float) -> None:
        """Name tries that take long; ends when there are none."""
        while not self._stop.wait(quiet_seconds / 4):
            with self._lock:
                if not self._running:
                    self._watched = False
                    return
                late = [one for one in self._running if time.monotonic() - one.began >= quiet_seconds]
                silent = [one for one in late if not one.is_named]
                for one in silent:
                    one.is_named = True
                news = [one for one in silent if one.what not in self._failing]
                for one in news:
                    trouble = _Trouble(one.began, _NOT_DONE.format(quiet_seconds), one.about)
                    self._failing.setdefault(one.what, trouble)
            for one in news:
                self.say(f"can't {one.what}: {_NOT_DONE.format(quiet_seconds)}; waiting for it")

    def works(self, what: str) -> None:
        """Say that something can be done again, where `fails` said that it can't."""
        with self._lock:
            trouble = self._failing.pop(what, None)
            if trouble is not None:
                self._worked[what] = time.monotonic()
        if trouble is not None:
            self.say(f"can {what} again, after {time.monotonic() - trouble.since:.0f} s")

    def troubles(self, but: str = "") -> list[tuple[str | None, str]]:
        """The actions that can't be done now: what each is about, and a text with the reason; the latest last.

        Args:
            but: an action that is left out.
        """
        with self._lock:
            return [
                (trouble.about, f"can't {what}: {trouble.reason}")
                for what, trouble in self._failing.items()
                if what != but
            ]
