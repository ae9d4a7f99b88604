"""The cost of a Redis that restarts empty: one process enters all that waits, and the others do nothing."""

# Over 150 lines: one outage, seen by each kind of process.

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from big_job import shard_of
from figures import Clock, Figure, peak_mib
from looks import CPU, asked_for
from redis_load import ledger_of
from support.broker import RestartableBroker
from support.counting_store import counting
from support.jobs import job_of

from producer.enqueue.growth import Growth
from producer.enqueue.runs import FileRun
from unrolled.job.names import Life, part_object, rows_object, segment_name
from unrolled.job.segment import Segment
from unrolled.patience import Patience, at_once
from unrolled.protocol.ledger_update import update_ledger
from unrolled.protocol.log import Log
from unrolled.protocol.opening import create_job, open_job
from unrolled.queue.job_ledger import JobLedger
from unrolled.queue.member import Member
from worker.runtime.heartbeat import LONGEST_PAUSE_SECONDS
from worker.runtime.job_registry import Jobs
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.enqueue.runs import Make

#: Workers that know the job when Redis restarts.
WORKERS = 100
ONCE = "once for each job"


def telling(place: Path, shards: int) -> list[Figure]:
    """A worker that has never read the log enters everything in an empty ledger, and renews a lease meanwhile."""
    job, asked = counting(open_job(place))
    gaps: list[float] = []
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        queue = JobLedger(ledger, job.key, job.address, lambda _: None, at_once)
        held = Member(job.key, Life(shard_of(shards - 1).entry.shard, 0))
        base, stop = peak_mib(), threading.Event()
        beat = threading.Thread(target=_renew, args=(broker.url, held, stop, gaps))
        beat.start()
        with Clock() as told:
            update_ledger(Log(), job.objects, queue)
        stop.set()
        beat.join()
    detail = f"{queue.sent:,} shards entered; {asked_for(asked)}"
    gap = "heartbeats rest 2 s in between; leases last 30 s"
    return [
        Figure("restart of Redis: entering everything", shards, told.processor, CPU, detail),
        Figure("restart of Redis: longest time between two renewals meanwhile", shards, max(gaps), "s", gap),
        Figure("restart of Redis: memory of the process that enters everything", shards, peak_mib() - base, "MiB"),
    ]


def _renew(url: str, member: Member, stop: threading.Event, gaps: list[float]) -> None:
    with ledger_of(url) as ledger:
        last, over = time.perf_counter(), False
        while not over:
            over = stop.wait(LONGEST_PAUSE_SECONDS)
            ledger.renew([member], "host")
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()


def many_workers(place: Path, shards: int) -> list[Figure]:
    """Workers that have met a job of which Redis has lost everything; later, the job is complete."""
    key = open_job(place).key
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        ledger.enter(key, str(place), None, [], 1)
        settings = Settings(broker=broker.url, model=Path("model"))
        workers = [Jobs(settings, ledger, Patience(print), lambda _: None, str(number)) for number in range(WORKERS)]
        for worker in workers:
            worker.find(key)
        ledger.client.flushall()
        sent: list[Member] = []
        lost, others_lost = _look_after(workers, sent)
        for member in sent:
            (place / part_object(member.shard)).touch()
            (place / rows_object(member.shard)).unlink()
            ledger.remove(member)
        over, others_over = _look_after(workers, sent)
    return [
        Figure("restart of Redis: the worker whose turn it is", shards, lost, CPU, f"{len(sent):,} shards entered"),
        Figure("restart of Redis: each other worker", shards, others_lost, CPU),
        Figure("end of a job: the worker whose turn it is", shards, over, CPU, "which has read the log before"),
        Figure("end of a job: each other worker", shards, others_over, CPU),
    ]


def _look_after(workers: list[Jobs], sent: list[Member]) -> tuple[float, float]:
    """Processor seconds of the first worker's look, and of each other one's."""
    with Clock() as first:
        workers[0].look_after(sent.append)
    with Clock() as others:
        for worker in workers[1:]:
            worker.look_after(sent.append)
    return first.processor, others.processor / (len(workers) - 1)


def known_jobs(folder: Path, jobs: int) -> list[Figure]:
    """What small jobs cost that two workers have met, and that are complete: first, and at every look from then on."""
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        settings = Settings(broker=broker.url, model=Path("model"))
        workers = [Jobs(settings, ledger, Patience(print), lambda _: None, str(number)) for number in range(2)]
        for number in range(jobs):
            job = create_job(folder / f"job-{number}", job_of(inputs=(f"{number}.txt",)))
            job.objects.create(segment_name(0), Segment("end").encode())
            ledger.enter(job.key, job.address, None, [], 1)
            for worker in workers:
                worker.find(job.key)
        looked, taken = _look_after(workers, [])
        again, _ = _look_after(workers, [])
    return [
        Figure(
            "jobs that are over: the worker whose turn it is", jobs, looked / jobs * 1e3, "processor ms a job", ONCE
        ),
        Figure("jobs that are over: each other worker", jobs, taken / jobs * 1e3, "processor ms a job", ONCE),
        Figure("jobs that are over: every later look", jobs, again * 1e3, "processor ms"),
    ]


def enqueue_again(place: Path, shards: int) -> list[Figure]:
    """The same `enqueue` again, without reading and tokenizing: its shards are compared with the log."""
    job, asked = counting(open_job(place))
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        queue = _Queue(ledger, job.key, job.address, lambda _: None, at_once)
        base = peak_mib()
        with Clock() as again:
            run = FileRun(job.objects, queue, lambda *_: None, Growth(job))
            run.begin()
            run.run(_cuts(shards))
    return [
        Figure(
            "enqueue again",
            shards,
            again.processor,
            CPU,
            f"without reading, tokenizing and cutting; {asked_for(asked)}",
        ),
        Figure("enqueue again: memory", shards, peak_mib() - base, "MiB"),
    ]


class _Queue(JobLedger):
    def wait_for_room(self) -> None:
        """There is room."""

    def is_time(self) -> bool:
        """Always."""
        return True


def _cuts(shards: int) -> Iterator[Make]:
    for _ in range(shards):
        yield shard_of
