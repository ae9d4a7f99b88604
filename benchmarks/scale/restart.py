"""What a Redis that comes back empty costs: one process tells it all that waits, and the others do nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from big_job import shard_of
from figures import Clock, Figure, peak_mib
from redis_load import ledger_of
from support.broker import RestartableBroker
from support.counting_store import counting

from producer.enqueue.runs import FileRun
from unrolled.patience import Patience
from unrolled.protocol.log import Log
from unrolled.protocol.objects import at_once
from unrolled.protocol.opening import open_job
from unrolled.protocol.telling import tell
from unrolled.queue.job_ledger import JobLedger
from unrolled.queue.member import Member
from worker.runtime.heartbeat import LONGEST_PAUSE_SECONDS
from worker.runtime.job_registry import Jobs
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


#: Workers that have met the job when Redis comes back.
WORKERS = 100


def telling(place: Path, shards: int) -> list[Figure]:
    """A worker that has never read the log tells an empty ledger everything, and renews its leases meanwhile."""
    job, asked = counting(open_job(place))
    gaps: list[float] = []
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        queue = JobLedger(ledger, job.key, job.address, lambda _: None, at_once)
        base, stop = peak_mib(), threading.Event()
        beat = threading.Thread(target=_renew, args=(broker.url, Member(job.key, _last(job, shards)), stop, gaps))
        beat.start()
        with Clock() as told:
            tell(Log(), job.objects, queue)
        stop.set()
        beat.join()
        found = ", ".join(f"{count:,} {name}" for name, count in sorted(asked.items()))
        return [
            Figure(
                "restart of Redis: telling it everything",
                shards,
                told.processor,
                "processor s",
                f"{queue.sent:,} shards entered; {found}",
            ),  # fmt: skip
            Figure("restart of Redis: longest time between two renewals of a lease", shards, max(gaps), "s"),
            Figure("restart of Redis: memory of the process that tells", shards, peak_mib() - base, "MiB"),
        ]


def _last(job, shards: int):  # noqa: ANN001, ANN202
    from unrolled.job.names import Life

    return Life(shard_of(job, shards - 1).entry.shard, 0)


def _renew(url: str, member: Member, stop: threading.Event, gaps: list[float]) -> None:
    with ledger_of(url) as ledger:
        last = time.perf_counter()
        while not stop.wait(LONGEST_PAUSE_SECONDS):
            ledger.renew([member], "host")
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()
        gaps.append(time.perf_counter() - last)


def many_workers(place: Path, shards: int) -> list[Figure]:
    """Workers that have met a job of which Redis has lost everything: the first tells it, the others ask once."""
    key = open_job(place).key
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        settings = Settings(broker=broker.url, model=Path("model"))
        workers = []
        ledger.enter(key, str(place), None, [], 1)
        for _ in range(WORKERS):
            patience = Patience(print)
            workers.append(Jobs(settings, ledger, patience, lambda _: None))
            workers[-1].find(key)
        ledger.client.flushall()
        sent: list[Member] = []
        with Clock() as first:
            workers[0].look_after(sent.append)
        with Clock() as others:
            for worker in workers[1:]:
                worker.look_after(sent.append)
        return [
            Figure(
                "restart of Redis: the worker whose turn it is",
                shards,
                first.processor,
                "processor s",
                f"{len(sent):,} shards entered",
            ),  # fmt: skip
            Figure("restart of Redis: every other worker", shards, others.processor / (WORKERS - 1), "processor s"),
        ]


def enqueue_again(place: Path, shards: int) -> list[Figure]:
    """The same `enqueue` again, without reading and tokenizing: all that its shards are compared with."""
    job, asked = counting(open_job(place))
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        queue = _Queue(ledger, job.key, job.address, lambda _: None, at_once)
        base = peak_mib()
        run = FileRun(job.objects, queue, lambda *_: None)
        with Clock() as again:
            run.run(_cuts(job, shards))
        found = ", ".join(f"{count:,} {name}" for name, count in sorted(asked.items()))
        return [
            Figure("enqueue again", shards, again.processor, "processor s", f"cutting included; {found}"),
            Figure("enqueue again, memory", shards, peak_mib() - base, "MiB"),
        ]


class _Queue(JobLedger):
    def wait_for_room(self) -> None:
        """There is room."""

    def is_time(self) -> bool:
        """Always."""
        return True


def _cuts(job, shards: int) -> Iterator:  # noqa: ANN001
    for _ in range(shards):
        yield lambda index: shard_of(job, index)
