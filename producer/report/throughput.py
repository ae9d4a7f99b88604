"""The time of workers, from their records: tokens over time, and how each worker spent its seconds."""

# Over 150 lines: one way from records to a chart, with the values on it.

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unrolled.job.time_record import Interval, TimeRecord

#: Most bars over time, and the widths that they may have, in seconds.
MOST_BARS = 120
_WIDTHS = (0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)
STAGES = ("read", "wait", "compute", "write")
#: Seconds without work up to which they count as working time, such as a wait for rows that the producer still
#: tokenizes. A longer time without work, as between two commands, is a pause.
SHORTEST_PAUSE = 2.0


@dataclass(slots=True)
class WorkerTime:
    """One worker's time for a job.

    Attributes:
        name: host, process and a random end.
        engine: describes its engine.
        threads: shards that it handles at once.
        first, last: when its first interval began and its last one ended, in seconds since 1970 by its clock.
        at_work: seconds between these two, without the pauses of the job.
        shards, rows, tokens: published.
        computed: steps that its engine computed.
        seconds: stage → seconds, summed over its threads.
    """

    name: str
    engine: str
    threads: int
    first: float
    last: float
    at_work: float = 0.0
    shards: int = 0
    rows: int = 0
    tokens: int = 0
    computed: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @property
    def busy_share(self) -> float:
        """The share of its time in which its engine computed; at most 1."""
        return min(1.0, self.seconds["compute"] / max(self.at_work, 1e-9))


class Pause(NamedTuple):
    """A time in which no worker had a shard.

    Attributes:
        after: seconds of working time before it.
        seconds: its length.
    """

    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Tokens over the working time, all workers together: pauses, as between two commands, are cut out.

    Attributes:
        began: when the first interval began, in seconds since 1970.
        seconds: working time: from there to the end of the last one, without the pauses.
        pauses: the pauses, in order.
        width: seconds of a bar.
        rates: the real tokens per second of each bar.
        workers: the workers, the one with most tokens first.
    """

    began: float
    seconds: float
    pauses: list[Pause]
    width: float
    rates: list[float]
    workers: list[WorkerTime]

    @property
    def tokens(self) -> int:
        """Real tokens in all records."""
        return sum(worker.tokens for worker in self.workers)

    @property
    def computed_share(self) -> float:
        """Computed steps over real tokens."""
        return sum(worker.computed for worker in self.workers) / max(self.tokens, 1)


def timeline(records: Iterable[TimeRecord]) -> Timeline | None:
    """The time of a job, from its workers' records in any order; None where there are none.

    Workers' clocks are taken as they are.
    """
    spans: list[tuple[float, float, int]] = []
    workers: dict[str, WorkerTime] = {}
    ordered = sorted(records, key=lambda each: (each.began, each.worker, each.every_seconds, each.intervals))
    for record in ordered:
        for interval in record.intervals:
            start, length = record.span(interval)
            spans.append((start, length, interval.tokens))
            _count(workers, record, start, start + length, interval)
    if not spans:
        return None
    work = _Work(spans)
    seconds = work.before(work.ends[-1])
    for worker in workers.values():
        worker.at_work = work.before(worker.last) - work.before(worker.first)
    width = next((width for width in _WIDTHS if seconds / width <= MOST_BARS), seconds / MOST_BARS)
    return Timeline(
        work.begins[0],
        seconds,
        work.pauses(),
        width,
        _rates([(work.before(start), every, tokens) for start, every, tokens in spans], seconds, width),
        sorted(workers.values(), key=lambda worker: (-worker.tokens, worker.name)),
    )


class _Work:
    """The times of work, with a pause between each two.

    Args:
        spans: begin, seconds and tokens of each interval.

    Attributes:
        begins, ends: of each time of work.
    """

    def __init__(self, spans: Sequence[tuple[float, float, int]]) -> None:
        self.begins: list[float] = []
        self.ends: list[float] = []
        for start, every, _ in sorted(spans):
            if self.ends and start - self.ends[-1] <= SHORTEST_PAUSE:
                self.ends[-1] = max(self.ends[-1], start + every)
            else:
                self.begins.append(start)
                self.ends.append(start + every)
        lengths = (end - begin for begin, end in zip(self.begins, self.ends, strict=True))
        self._before = [0.0, *accumulate(lengths)]

    def before(self, moment: float) -> float:
        """Seconds of work before a moment."""
        at = bisect_right(self.begins, moment) - 1
        return 0.0 if at < 0 else self._before[at] + min(moment, self.ends[at]) - self.begins[at]

    def pauses(self) -> list[Pause]:
        """The pauses, in order."""
        between = zip(self._before[1:], self.ends, self.begins[1:], strict=False)
        return [Pause(after, begin - end) for after, end, begin in between]


def _count(workers: dict[str, WorkerTime], record: TimeRecord, start: float, end: float, interval: Interval) -> None:
    if (worker := workers.get(record.worker)) is None:
        worker = workers[record.worker] = WorkerTime(record.worker, record.engine, record.threads, start, end)
    worker.first, worker.last = min(worker.first, start), max(worker.last, end)
    worker.shards += interval.shards
    worker.rows += interval.rows
    worker.tokens += interval.tokens
    worker.computed += interval.computed
    for stage in STAGES:
        worker.seconds[stage] += getattr(interval, stage)


def _rates(spans: Sequence[tuple[float, float, int]], seconds: float, width: float) -> list[float]:
    """Tokens per second of each bar; an interval's tokens are spread evenly over it."""
    edges = width * np.arange(max(1, int(np.ceil(seconds / width - 1e-9))) + 1)
    tokens = np.zeros(len(edges) - 1)
    for start, every, count in spans:
        first = int(start / width)
        last = min(int((start + every) / width), len(tokens) - 1)
        inside = np.minimum(edges[first + 1 : last + 2], start + every) - np.maximum(edges[first : last + 1], start)
        inside = np.maximum(inside, 0)
        tokens[first : last + 1] += count * inside / max(float(inside.sum()), 1e-12)
    ends = np.minimum(edges[1:], seconds)  # the last bar may be shorter than the others
    found: list[float] = (tokens / np.maximum(ends - edges[:-1], 1e-9)).tolist()
    return found
