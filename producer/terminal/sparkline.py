"""A speed over time as a row of small bars."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

BARS = " ▁▂▃▄▅▆▇█"
#: Points that are kept; when there are twice as many, every second one goes.
_MOST_POINTS = 512
#: The shortest time that a bar stands for.
_LEAST_SECONDS = 1.0


class Speeds:
    """The amounts that were done by certain times, and the speeds that follow from them.

    Work is often counted in large lumps, such as a file at a time. A lump was done evenly since the one before it.
    """

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._now = 0.0

    def add(self, now: float, done: float) -> None:
        """Note how much is done by now; a smaller amount than before starts a new line."""
        self._now = now
        if self._points and done < self._points[-1][1]:
            self._points.clear()
        if not self._points or done > self._points[-1][1]:
            self._points.append((now, done))
        if len(self._points) >= 2 * _MOST_POINTS:
            self._points[1:-1] = self._points[2:-1:2]

    def bars(self, most: int) -> list[float]:
        """The speed in up to `most` equal stretches of time, the last one until now; none before the first lump."""
        points = list(self._points)
        if len(points) < 2:  # noqa: PLR2004 - a speed needs two points
            return []
        gaps = [later[0] - earlier[0] for earlier, later in pairwise(points)]
        # A standstill begins where a lump is overdue.
        end = points[-1][0]
        if self._now - end > 2 * max(gaps[-5:]):
            points += [(end + gaps[-1] / 2, points[-1][1]), (self._now, points[-1][1])]
            end = self._now
        begin = points[0][0]
        count = max(1, min(most, int((end - begin) / _LEAST_SECONDS)))
        edges = np.linspace(begin, end, count + 1)
        done = np.interp(edges, [now for now, _ in points], [done for _, done in points])
        return [float(speed) for speed in np.diff(done) / np.diff(edges)]


def sparkline(values: Sequence[float]) -> str:
    """Values as bars from 0 to the largest one; a value that isn't 0 has a bar that is seen."""
    highest = max(values, default=0.0)
    if highest <= 0:
        return BARS[0] * len(values)
    scale = (len(BARS) - 1) / highest
    return "".join(BARS[max(round(value * scale), 1 if value > 0 else 0)] for value in values)
