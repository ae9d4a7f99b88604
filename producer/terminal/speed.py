"""The speed of something that is done in steps, and how far it presumably is between two of them."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import NamedTuple

#: How far back the speed looks: seconds, or times the longest pause between two steps, because the shards of a large
#: pool are counted together after a minute; and at most so many seconds.
WINDOW_SECONDS, WINDOW_PAUSES, LONGEST_WINDOW_SECONDS = 30.0, 4, 300.0
#: The shortest time that a speed is taken from.
_SPEED_SECONDS = 1.0
#: How long after the time that was left the speed isn't believed any more, at least.
_OVERDUE_SECONDS = 2.0
#: Steps that follow each other faster than this are one: there may be thousands in a second.
_STEP_SECONDS = 0.25


class _Place(NamedTuple):
    second: float
    tokens: int


class Counted:
    """Tokens, and the time that they take, without the stretches that don't count, such as outages.

    Args:
        tokens: done at the beginning.
        second: of the beginning.
    """

    def __init__(self, tokens: int, second: float) -> None:
        self._last = _Place(second, tokens)
        self._left_out = _Place(0.0, 0)

    def see(self, tokens: int, second: float, *, counts: bool) -> tuple[int, float]:
        """How many tokens are done at which second, of those that count.

        Args:
            tokens: done.
            second: now.
            counts: whether the stretch since the last call does.
        """
        out = self._left_out
        if not counts:
            out = _Place(out.second + second - self._last.second, out.tokens + tokens - self._last.tokens)
        self._last, self._left_out = _Place(second, tokens), out
        return tokens - out.tokens, second - out.second


class Speed:
    """The speed, from the moments at which the number of tokens has grown."""

    def __init__(self) -> None:
        self._places: deque[_Place] = deque()
        self._pause = 0.0  # the longest between two of them

    def reset(self) -> None:
        """Forget everything."""
        self._places.clear()
        self._pause = 0.0

    def see(self, tokens: int, second: float) -> None:
        """Note how many tokens are done; the first number doesn't count for the speed.

        Args:
            tokens: done.
            second: now.
        """
        places = self._places
        if places and tokens == places[-1].tokens:
            return
        if len(places) > 1 and second - places[-2].second < _STEP_SECONDS:
            places.pop()
        places.append(_Place(second, tokens))
        self._pause = max((two.second - one.second for one, two in pairwise(places)), default=0.0)
        window = min(max(WINDOW_SECONDS, WINDOW_PAUSES * self._pause), LONGEST_WINDOW_SECONDS)
        while len(places) > 2 and places[1].second <= second - window:  # noqa: PLR2004 - a beginning and an end
            places.popleft()

    def per_second(self, second: float) -> float | None:
        """Tokens per second; None where it isn't known yet, or nothing was done for much longer than a pause takes.

        Args:
            second: now.
        """
        if not self._places:
            return None
        first, last = self._places[0], self._places[-1]
        seconds = last.second - first.second
        if seconds < _SPEED_SECONDS or second - last.second >= max(WINDOW_SECONDS, 2 * self._pause):
            return None
        return (last.tokens - first.tokens) / seconds

    def is_overdue(self, left: int, second: float) -> bool:
        """Whether all that is left should have been done by now, and a pause more: something is in the way.

        Args:
            left: tokens that aren't done.
            second: now.
        """
        speed = self.per_second(second)
        idle = second - self._places[-1].second if self._places else 0.0
        return bool(speed) and idle > left / (speed or 1.0) + max(self._pause, _OVERDUE_SECONDS)

    def since(self, second: float) -> float:
        """Tokens that are presumably done since the last step, though not counted yet: those of a long pause at most.

        Args:
            second: now.
        """
        speed = self.per_second(second)
        return speed * min(second - self._places[-1].second, self._pause) if speed else 0.0
