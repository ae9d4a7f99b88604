"""A worker's record of its time for one job: what it published when, and how long each stage took.

Records are for people. No promise depends on them: a worker writes one now and then, and one that is killed loses the
last. A record is JSON, created once under a name of its own, and never changed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from unrolled.errors import JobError, reason_of

FORMAT_VERSION = 1
#: Most intervals of a record, and the largest record that is read, in bytes.
MOST_INTERVALS, MOST_BYTES = 64, 2**16
#: Characters of a worker's name and of the description of its engine that are kept.
LONGEST_NAME, LONGEST_ENGINE = 120, 300
_LARGEST = 1e15


class Interval(NamedTuple):
    """The parts that were published in one interval.

    Attributes:
        number: of the interval, from 0.
        shards, rows, tokens: what the parts contain; tokens are real tokens.
        computed: steps that the engine computed for the tokens.
        wait, read, compute, write: seconds of their shards in each stage (`worker.runtime.telemetry.shard_times`).
    """

    number: int
    shards: int
    rows: int
    tokens: int
    computed: float
    wait: float
    read: float
    compute: float
    write: float

    def plus(self, other: Interval) -> Interval:
        """Both intervals together, with the number of this one."""
        return Interval(
            self.number,
            self.shards + other.shards,
            self.rows + other.rows,
            self.tokens + other.tokens,
            self.computed + other.computed,
            self.wait + other.wait,
            self.read + other.read,
            self.compute + other.compute,
            self.write + other.write,
        )


@dataclass(frozen=True, slots=True)
class TimeRecord:
    """A worker's time for one job, over some minutes.

    Attributes:
        worker: names the process: host, process id and a random end.
        engine: describes its engine and its processor, for people.
        threads: number of shards that it handles at once.
        began: when interval 0 began, in seconds since 1970 by the worker's clock.
        every_seconds: length of an interval.
        seconds: from the beginning of interval 0 to the last part; the last interval is over then.
        intervals: those in which parts were published, by number.
    """

    worker: str
    engine: str
    threads: int
    began: float
    every_seconds: float
    seconds: float
    intervals: tuple[Interval, ...]

    def span(self, interval: Interval) -> tuple[float, float]:
        """When an interval of this record began, in seconds since 1970, and its length in seconds."""
        start = interval.number * self.every_seconds
        return self.began + start, min(self.every_seconds, max(self.seconds - start, 1e-3))

    def encode(self) -> bytes:
        """The record's bytes."""
        content = {
            "format_version": FORMAT_VERSION,
            "worker": self.worker,
            "engine": self.engine,
            "threads": self.threads,
            "began": round(self.began, 3),
            "every_seconds": self.every_seconds,
            "seconds": round(self.seconds, 4),
            "columns": Interval._fields,
            "intervals": [[round(value, 3) for value in interval] for interval in self.intervals],
        }
        return (json.dumps(content) + "\n").encode()

    @classmethod
    def decode(cls, name: str, content: bytes) -> Self:
        """Read a record from an untrusted source.

        Args:
            name: the object's name, for errors.
            content: the object's bytes.

        Raises:
            JobError: the content isn't a record, or has another version.
        """
        try:
            found = _checked(content)
            return cls(
                str(found["worker"])[:LONGEST_NAME],
                str(found["engine"])[:LONGEST_ENGINE],
                int(_number(found["threads"])),
                _number(found["began"]),
                max(_number(found["every_seconds"]), 1e-3),
                _number(found["seconds"]),
                _intervals(found["intervals"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise JobError(f"{name}: not a record of a worker's time ({reason_of(error):.200})") from error


def _checked(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content):,} bytes; at most {MOST_BYTES:,} are allowed")
    found: dict[str, Any] = json.loads(content)
    if found["format_version"] != FORMAT_VERSION or found["columns"] != list(Interval._fields):
        raise ValueError(f"format version {found['format_version']!s:.20}; this release reads {FORMAT_VERSION}")
    return found


def _intervals(found: list[list[Any]]) -> tuple[Interval, ...]:
    intervals = tuple(Interval(*map(_number, values)) for values in found)
    numbers = [interval.number for interval in intervals]
    if numbers != sorted(set(numbers)) or len(numbers) > MOST_INTERVALS:
        raise ValueError("its intervals are not in order, or too many")
    return intervals


def _number(value: Any) -> Any:
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value < _LARGEST:
        raise ValueError(f"{value!s:.40} is found; a number from 0 is expected")
    return value
