"""The figures that a producer's command serves to Prometheus: how far it is with its input, and how far its job is."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.telemetry.family import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producer.enqueue.summary import Summary
    from producer.jobs.status import JobStatus


@dataclass(frozen=True, slots=True)
class _Cut:
    """How far the input is."""

    rows: int
    tokens: int
    quarantined: int
    shards: int


class ProducerFigures:
    """A command's progress: the command writes it, and the threads of a server read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_bytes = 0
        self._full_seconds = 0.0
        self._cut: _Cut | None = None
        self._status: JobStatus | None = None
        self._sent: Callable[[], int] = lambda: 0

    def read(self, count: int) -> None:
        """Count bytes of the input."""
        with self._lock:
            self._read_bytes += count

    def sends(self, count: Callable[[], int]) -> None:
        """Take over where the shards are counted that were entered: the last one is entered after it was cut."""
        self._sent = count

    def waited(self, seconds: float) -> None:
        """Count a wait for room in the queue."""
        with self._lock:
            self._full_seconds += seconds

    def queued(self, found: Summary) -> None:
        """Take over how much of the input is queued."""
        self._cut = _Cut(found.rows, found.tokens, found.quarantined, found.shards)

    def looked(self, found: JobStatus) -> None:
        """Take over how far the job is."""
        self._status = found

    def collect(self) -> Iterator[Family]:
        """The figures now; those of the job from its first look."""
        with self._lock:
            read_bytes, full_seconds = self._read_bytes, self._full_seconds
        cut, status = self._cut, self._status
        if cut is not None:
            yield Family.counter("unrolled_producer_read_bytes", "Bytes of the input, as they are stored.", read_bytes)
            yield Family.counter("unrolled_producer_rows", "Rows read, the bad ones included.", cut.rows)
            yield Family.counter("unrolled_producer_tokens", "Real tokens in the good rows.", cut.tokens)
            yield Family.counter("unrolled_producer_quarantined_rows", "Rows that can't be used.", cut.quarantined)
            yield Family.counter("unrolled_producer_shards", "Shards cut from the input.", cut.shards)
            yield Family.counter("unrolled_producer_queued_shards", "Shards entered in the ledger.", self._sent())
            yield Family.counter(
                "unrolled_producer_full_queue_seconds", "Time in which reading waited for room.", full_seconds
            )
        if status is not None:
            yield from _of_job(status)


def _of_job(found: JobStatus) -> Iterator[Family]:
    for name, about, value in (
        ("rows", "Input rows cut so far, the failed ones included.", found.rows),
        ("done_rows", "Rows of published shards, without those that are computed again.", found.rows_done),
        ("tokens", "Real tokens cut so far.", found.tokens),
        ("done_tokens", "Real tokens of published shards, without those that are computed again.", found.tokens_done),
        ("shards", "Shards cut so far.", found.shards),
        ("done_shards", "Shards that have their part.", found.done),
        ("dead_shards", "Shards that were given up.", found.dead),
        ("quarantined_rows", "Rows that the producer refused.", found.quarantined),
        ("failed_rows", "Rows of published shards that the engine failed on.", found.failed),
        ("finished", "1 when nothing more will come, else 0.", int(found.finished)),
        ("complete", "1 when every row is in a part or in quarantine, else 0.", int(found.complete)),
    ):
        yield Family.gauge(f"unrolled_job_{name}", about, value)
