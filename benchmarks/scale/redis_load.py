"""What a fleet costs one Redis: heartbeats, sweeps, jobs of the past; a job taken out; a restart."""

# Over 150 lines: the figures of one server, which share how its ledger is filled.

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from figures import Clock, Figure, apart
from support.broker import RestartableBroker
from support.jobs import job_of

from producer.queue.shard_queue import ShardQueue
from unrolled.job.names import Life
from unrolled.job.shard_id import ShardId
from unrolled.patience import Patience
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import SWEEP_PAUSE_SECONDS
from unrolled.queue.member import Member
from worker.runtime.heartbeat import LONGEST_PAUSE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.queue.ledger import Ledger

#: Shards on board of one worker.
ON_BOARD = 8
KEY, OTHER_KEY = "0123456789abcdef", "f" * 16
#: Choices whose time is measured.
CHOICES = 1000
OFFER = job_of().offer
TOKENS = 32_768
#: Long enough for a busy machine: what runs out here is not what is measured.
LEASE_SECONDS = 600.0
#: Processes that play the workers.
PLAYERS = 2
SWEEPS = 50
#: Commands ZRANGEBYSCORE in one sweep.
RANGES_OF_A_SWEEP = 3


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
        ledger.enter(key, "/out", ledger.mark(key), members, start + 1)


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


def fleet(workers: int, seconds: float) -> list[Figure]:
    """The share of one processor that the heartbeats of a fleet at work take from its server.

    A machine that is too slow for the pace has more sweeps than one a second; those beyond are not counted.
    """
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        count = workers * ON_BOARD
        enter(ledger, 2 * count)
        for index in range(count):
            ledger.claim(member(index), f"host-{index // ON_BOARD}-abcdef")
        ledger.client.config_resetstat()
        before = used(ledger)
        late = [figure.value for figures in _at_once(broker.url, workers, seconds) for figure in figures]
        beats_used, sweeps = used(ledger) - before, ledger.client.info("commandstats")["cmdstat_zrangebyscore"]["calls"]
        before = used(ledger)
        for index in range(count, 2 * count):
            chosen = ledger.choose(member(index))
            ledger.claim(chosen, "host-0-abcdef")
            ledger.remove(chosen)
        shard_used = (used(ledger) - before) / count
        before = used(ledger)
        for _ in range(SWEEPS):
            ledger.client.delete(ledger.keys.swept)  # else the next one waits for its time
            ledger.sweep()
        sweep_used = (used(ledger) - before) / SWEEPS
    too_many = max(0.0, sweeps / RANGES_OF_A_SWEEP - seconds / SWEEP_PAUSE_SECONDS)
    share = (beats_used - too_many * sweep_used) / seconds
    detail = (
        f"a beat every {LONGEST_PAUSE_SECONDS:g} s, {ON_BOARD} shards on board; the last came {max(late):.1f} s late"
    )
    return [
        Figure("heartbeats and sweeps: processors of the server", workers, share, "", detail),
        Figure("a sweep: time of the server", workers, sweep_used * 1e3, "ms", "one a second, by whichever worker"),
        Figure("a shard's choice, claim and removal: time of the server", workers, shard_used * 1e3, "ms"),
    ]


def _play(url: str, workers: int, part: int, seconds: float) -> list[Figure]:
    """Beat for some of the workers at the real pace; how late the last ones were."""
    with ledger_of(url) as ledger:
        began = time.perf_counter()
        mine = range(part, workers, PLAYERS)
        late = 0.0
        for turn in range(round(seconds / LONGEST_PAUSE_SECONDS)):
            for number, worker in enumerate(mine):
                due = began + (turn + number / len(mine)) * LONGEST_PAUSE_SECONDS
                time.sleep(max(0.0, due - time.perf_counter()))
                late = max(late, time.perf_counter() - due)
                beats(ledger, worker, [KEY])
        return [Figure("", workers, late, "")]


def _at_once(url: str, workers: int, seconds: float) -> list[list[Figure]]:
    with ThreadPoolExecutor(PLAYERS) as threads:
        return list(threads.map(lambda part: apart(_play, url, workers, part, seconds), range(PLAYERS)))


def taken_out(shards: int) -> list[Figure]:
    """A job taken out of a ledger that has nothing else, and what `status` asks of it before."""
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        enter(ledger, shards)
        with Clock() as known:
            ledger.known([KEY])
            ledger.running(KEY)
        with Clock() as members:
            ledger.members(KEY)
        ledger.client.config_set("slowlog-log-slower-than", 500)
        ledger.client.config_set("slowlog-max-len", 10_000)
        ledger.client.slowlog_reset()
        enter(ledger, CHOICES, OTHER_KEY)
        began = used(ledger)
        chosen = [ledger.choose(member(0)).job_key for _ in range(CHOICES)]
        choice = (used(ledger) - began) / CHOICES
        assert chosen[:3].count(OTHER_KEY) >= 1, "the small job has its turn"
        ledger.cancel(OTHER_KEY)
        before = used(ledger)
        assert ledger.cancel(KEY) == shards
        cancel = used(ledger) - before
        slow = [entry["duration"] / 1e3 for entry in ledger.client.slowlog_get(10_000)]
    longest = "by the clock, so other processes of the machine count"
    return [
        Figure("status: asking Redis about a job of which nothing is lost", shards, known.processor * 1e3, "ms"),
        Figure("status: asking Redis about a job of which something is", shards, members.processor * 1e3, "ms"),
        Figure("the choice of a shard, of two jobs that take turns: time of the server", shards, choice * 1e3, "ms"),
        Figure("cancel: time of the server, in all", shards, cancel, "s"),
        Figure("cancel: longest time without an answer of the server", shards, max(slow, default=0.5), "ms", longest),
    ]


def queued(shards: int) -> list[Figure]:
    """What each shard that is queued costs the server, its message included."""
    with RestartableBroker() as broker, ledger_of(broker.url) as ledger:
        queue = ShardQueue(broker.url, "unrolled", OFFER, Patience(print))
        before, memory_before = used(ledger), ledger.client.info("memory")["used_memory"]
        enter(ledger, shards)
        for index in range(shards):
            queue.send(member(index))
        memory = ledger.client.info("memory")["used_memory"] - memory_before
        seconds = used(ledger) - before
        queue.close()
    return [
        Figure("a queued shard: memory of the server", shards, memory / shards, "bytes"),
        Figure("a shard's entry and message: time of the server", shards, seconds / shards * 1e3, "ms"),
    ]
