"""What a fleet costs one Redis: heartbeats, sweeps, jobs of the past; a job taken out; a restart."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from figures import Clock, Figure, apart
from support.broker import RestartableBroker
from support.jobs import job_of

from unrolled.job.names import Life
from unrolled.job.shard_id import ShardId
from unrolled.queue.broker import Broker
from unrolled.queue.member import Member
from worker.runtime.heartbeat import LONGEST_PAUSE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.queue.ledger import Ledger

#: Shards on board of one worker.
ON_BOARD = 8
KEY = "0123456789abcdef"
OFFER = job_of().offer
TOKENS = 32_768
#: Long enough for a busy machine: what runs out here is not what is measured.
LEASE_SECONDS = 600.0
#: Processes that play the workers.
PLAYERS = 2
#: Seconds for which a fleet beats.
FLEET_SECONDS = 20.0


def member(index: int, key: str = KEY) -> Member:
    """One shard of a job."""
    return Member(key, Life(ShardId(index, f"{index:012x}"), 0))


@contextmanager
def ledger_of(url: str) -> Iterator[Ledger]:
    """The ledger on a server."""
    with closing(Broker(url)) as broker:
        yield broker.ledger("unrolled", OFFER, LEASE_SECONDS)


def enter(ledger: Ledger, count: int, key: str = KEY) -> None:
    """Enter a job of many shards."""
    for start in range(0, count, 500):
        members = [(member(index, key), TOKENS) for index in range(start, min(count, start + 500))]
        ledger.enter(key, "/out", ledger.told(key), members, start + 1)


def used(ledger: Ledger) -> float:
    """Processor seconds of the server so far."""
    found = ledger.client.info("cpu")
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def beats(ledger: Ledger, worker: int, keys: list[str]) -> None:
    """What a worker asks the server at each beat, and at each look after its jobs."""
    holder = f"host-{worker}-abcdef"
    ledger.beat(holder, {"concurrency": ON_BOARD})
    ledger.renew([member(worker * ON_BOARD + place) for place in range(ON_BOARD)], holder)
    assert ledger.sweep() == []
    ledger.other_offers()
    ledger.known(keys)


def fleet(workers: int) -> list[Figure]:
    """The share of one processor that a fleet takes from its server while all are at work."""
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        enter(ledger, workers * ON_BOARD * 2)
        for worker in range(workers):
            for place in range(ON_BOARD):
                ledger.claim(member(worker * ON_BOARD + place), f"host-{worker}-abcdef")
        before, began = used(ledger), time.perf_counter()
        late = [
            figure.value
            for figures in _at_once([(_play, broker.url, workers, part) for part in range(PLAYERS)])
            for figure in figures
        ]
        seconds = time.perf_counter() - began
        share = (used(ledger) - before) / seconds
        calls = sum(each["calls"] for each in ledger.client.info("commandstats").values())
        detail = f"{ON_BOARD} shards on board of each; beats were late by {max(late):.1f} s; {calls:,} commands in all"
        found = [Figure("heartbeats: share of one processor of the server", workers, share, "", detail)]
        before = used(ledger)
        count = workers * ON_BOARD
        for index in range(count, 2 * count):
            ledger.claim(member(index), "host-0-abcdef")
            ledger.remove(member(index))
        found.append(Figure("a shard's claim and removal: time of the server", workers, (used(ledger) - before) / count * 1e6, "microseconds"))  # fmt: skip
        return found


def _play(url: str, workers: int, part: int) -> list[Figure]:
    """Beat for some of the workers at the real pace; how late the last ones were."""
    with ledger_of(url) as ledger:
        began = time.perf_counter()
        mine = range(part, workers, PLAYERS)
        late = 0.0
        for turn in range(round(FLEET_SECONDS / LONGEST_PAUSE_SECONDS)):
            for number, worker in enumerate(mine):
                due = began + (turn + number / len(mine)) * LONGEST_PAUSE_SECONDS
                time.sleep(max(0.0, due - time.perf_counter()))
                late = max(late, time.perf_counter() - due)
                beats(ledger, worker, [KEY])
        return [Figure("", workers, late, "")]


def _at_once(calls: list[tuple[Callable[..., list[Figure]], str, int, int]]) -> list[list[Figure]]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(lambda call: apart(*call), calls))


def taken_out(shards: int) -> list[Figure]:
    """A job taken out of a ledger that holds nothing else: the longest time for which the server answers nobody."""
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        enter(ledger, shards)
        with Clock() as members:
            ledger.members(KEY)
        with Clock() as known:
            ledger.known([KEY])
            ledger.running(KEY)
        ledger.client.config_set("slowlog-log-slower-than", 1000)
        ledger.client.config_set("slowlog-max-len", 100_000)
        ledger.client.slowlog_reset()
        with Clock() as cancel:
            assert ledger.cancel(KEY) == shards
        longest = max((entry["duration"] for entry in ledger.client.slowlog_get(1000)), default=0) / 1e6
        return [
            Figure("members of a job", shards, members.seconds, "s"),
            Figure("how much is left of a job", shards, known.seconds, "s"),
            Figure("cancel", shards, cancel.seconds, "s"),
            Figure("cancel, longest time in which the server answers nobody", shards, longest, "s"),
        ]


def known_jobs(jobs: int) -> list[Figure]:
    """What a worker asks about jobs that it has met and that the ledger knows: one question at each look."""
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        keys = [f"{number:016x}" for number in range(jobs)]
        for key in keys:
            enter(ledger, 1, key)
        before = used(ledger)
        with Clock() as asked:
            ledger.known(keys)
        server = used(ledger) - before
        return [
            Figure("a worker's question about its jobs", jobs, asked.seconds, "s", "jobs that aren't over"),
            Figure("a worker's question about its jobs: time of the server", jobs, server, "s"),
        ]
