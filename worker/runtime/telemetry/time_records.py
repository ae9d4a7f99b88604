"""Records of this worker's time for each of its jobs, written into the job now and then (`unrolled.job.time_record`).

A record is written when its span is over: 15 seconds for the first, then twice as long for each, up to 16 minutes. It
is written earlier if nothing more is published for some seconds, as at the end of a job. So a long job has about four
records an hour from each worker, each of a few kilobytes. A record that can't be written waits, and memory stays
bounded: its intervals become longer instead of more.
"""

# Over 150 lines: the records in memory, and how they become longer while they can't be written.

from __future__ import annotations

import logging
import math
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unrolled.errors import RequestError, TransientError
from unrolled.job.names import times_object
from unrolled.job.time_record import MOST_INTERVALS, Interval, TimeRecord
from unrolled.patience import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.protocol.opening import OpenJob
    from worker.runtime.telemetry.shard_times import ShardSeconds

log = logging.getLogger(__name__)

#: Seconds of a job's first record, and of its longest.
FIRST_SPAN, LONGEST_SPAN = 15.0, 960.0
#: Seconds without a part after which a record is written early, if the last one is older than a share of the span.
QUIET, SHARE_OF_SPAN = 3.0, 1 / 8
#: Seconds without a part after which a job is forgotten.
FORGET = 3600.0
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]|^[^A-Za-z0-9_]", re.ASCII)


@dataclass(slots=True)
class _Kept:
    """The record of one job that isn't written yet.

    Attributes:
        job: the job; each operation on its store is tried once.
        span: seconds after which the record is written.
        written: when the last record was written, on the monotonic clock.
        began: when interval 0 began, on the monotonic clock.
        last: when the last part was published, on the monotonic clock.
        every: seconds of an interval.
        intervals: by number; empty if nothing waits.
    """

    job: OpenJob
    span: float = FIRST_SPAN
    written: float = -math.inf
    began: float = 0.0
    last: float = 0.0
    every: float = 0.0
    intervals: dict[int, Interval] = field(default_factory=dict)


class TimeRecords:
    """Collects the times of shards, and writes them into their jobs.

    Args:
        worker: names this process.
        engine: describes its engine.
        threads: number of shards that it handles at once.
        clock: the monotonic clock.
    """

    def __init__(self, worker: str, engine: str, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker, self._engine, self._threads = worker, engine, threads
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._number = 0

    def add(self, seconds: ShardSeconds) -> None:
        """Count one shard that has its part now."""
        now = self._clock()
        took = seconds.wait + seconds.read + seconds.compute + seconds.write
        with self._lock:
            kept = self._kept.get(seconds.job.key)
            if kept is None:
                kept = self._kept[seconds.job.key] = _Kept(seconds.job.with_patience(at_once))
            elif kept.job.place != seconds.job.place:  # the job was moved
                kept.job = seconds.job.with_patience(at_once)
            if not kept.intervals:
                kept.began, kept.every = now - took, kept.span / MOST_INTERVALS
            kept.last = now
            _spread(kept, now - took, now, seconds)

    def write_due(self) -> None:
        """Write the records whose time has come; what can't be written now waits."""
        now = self._clock()
        with self._lock:
            for key in [key for key, kept in self._kept.items() if now - kept.last > FORGET]:
                del self._kept[key]
            due = [kept for kept in self._kept.values() if _is_due(kept, now)]
        self._write(due)

    def write_all(self) -> None:
        """Write everything that waits, as a worker does when it stops."""
        with self._lock:
            waiting = [kept for kept in self._kept.values() if kept.intervals]
        self._write(waiting)

    def _write(self, due: list[_Kept]) -> None:
        with self._writing:  # a worker that stops doesn't write twice what its other thread is writing
            for kept in due:
                with self._lock:
                    began, every, intervals = kept.began, kept.every, kept.intervals
                    seconds = kept.last - began
                    kept.intervals = {}
                    number, self._number = self._number, self._number + 1
                if not intervals:
                    continue
                record = TimeRecord(
                    self._worker, self._engine, self._threads, time.time() - (self._clock() - began), every,
                    seconds, tuple(intervals[interval] for interval in sorted(intervals)),
                )  # fmt: skip
                name = times_object(f"{_NOT_IN_NAMES.sub('_', self._worker)}-{number:06d}")
                try:
                    kept.job.objects.create(name, record.encode())
                except (TransientError, RequestError) as error:
                    log.debug("%s: its time is recorded later: %s", kept.job.place, error)
                    with self._lock:
                        _put_back(kept, began, every, intervals)
                    continue
                kept.written, kept.span = self._clock(), min(2 * kept.span, LONGEST_SPAN)


def _is_due(kept: _Kept, now: float) -> bool:
    if not kept.intervals:
        return False
    quiet = now - kept.last >= QUIET and now - kept.written >= kept.span * SHARE_OF_SPAN
    return quiet or now - kept.began >= kept.span


def _spread(kept: _Kept, start: float, end: float, seconds: ShardSeconds) -> None:
    """Add a shard to the intervals in which it was on board, in proportion; it is counted itself in the last one."""
    while int((end - kept.began) / kept.every) >= MOST_INTERVALS:
        _halve(kept)
    start = max(start, kept.began)
    first, last = (int((at - kept.began) / kept.every) for at in (start, end))
    before, rows, tokens = 0.0, 0, 0
    for number in range(first, last + 1):
        over = (kept.began + (number + 1) * kept.every - start) / (end - start) if number < last else 1.0
        share, before = over - before, over
        now_rows, now_tokens = round(seconds.rows * over), round(seconds.tokens * over)  # whole ones, none twice
        _add(
            kept,
            Interval(
                number, int(number == last), now_rows - rows, now_tokens - tokens, share * seconds.computed,
                share * seconds.wait, share * seconds.read, share * seconds.compute, share * seconds.write,
            ),
        )  # fmt: skip
        rows, tokens = now_rows, now_tokens


def _add(kept: _Kept, interval: Interval) -> None:
    known = kept.intervals.get(interval.number)
    kept.intervals[interval.number] = interval if known is None else known.plus(interval)


def _halve(kept: _Kept) -> None:
    """Make each two intervals one."""
    intervals, kept.intervals, kept.every = kept.intervals, {}, 2 * kept.every
    for number, interval in intervals.items():
        _add(kept, interval._replace(number=number // 2))


def _put_back(kept: _Kept, began: float, every: float, intervals: dict[int, Interval]) -> None:
    """Put intervals back that couldn't be written, with those that were added meanwhile."""
    added, later, more = kept.intervals, kept.began, kept.every
    kept.intervals, kept.began, kept.every = intervals, began, every
    for interval in added.values():
        at = max(0.0, later - began) + interval.number * more
        while int(at / kept.every) >= MOST_INTERVALS:
            _halve(kept)
        _add(kept, interval._replace(number=int(at / kept.every)))
