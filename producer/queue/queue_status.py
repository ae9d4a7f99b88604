"""The broker's facts about a job: how many of its shards wait and run, and which workers are alive."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from producer.queue.worker_status import WorkerStatus
from unrolled.queue.broker import AWAY
from unrolled.queue.broker_errors import declines

if TYPE_CHECKING:
    import redis

    from unrolled.job.names import Life
    from unrolled.queue.ledger import Ledger

#: The broker may refuse writes from this share of its maxmemory on, because a write needs memory for a moment.
FULL_SHARE = 0.98


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The broker's facts about a job.

    Attributes:
        running: the job's shards under a lease.
        queued: those that wait for a worker.
        missing: those that wait by the directory, but aren't in the ledger. While the input is read, those of one
            segment may be on their way for a moment; else Redis lost them.
        workers: all that are alive, of every model.
        others_running: shards of other jobs of the offer under a lease.
        others_queued: those that wait for a worker.
        original: the place where workers compute the job, if this one is a copy; otherwise None.
        moved_from: the place where workers look for the job, if this machine doesn't see it there; otherwise None.
        memory_share: the share of its maxmemory that the broker uses; None if it has no maxmemory, or doesn't say.
        declines: why the broker takes no writes now, and what to do; None if it takes them, or is full.
    """

    running: int
    queued: int
    missing: int
    workers: tuple[WorkerStatus, ...]
    others_running: int = 0
    others_queued: int = 0
    original: str | None = None
    moved_from: str | None = None
    memory_share: float | None = None
    declines: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The broker's answer about a job; `away` if it gave none.

    Attributes:
        left: the number of the job's lives in the ledger.
        waiting: which lives these are; None where they weren't asked for.
        running: those under a lease.
        workers: all that are alive, of every model.
        others_running: shards of other jobs of the offer under a lease.
        others_queued: those that wait for a worker.
        place: path or URL of the job's store, as it was registered; None if there is none.
        memory_share, declines: see `QueueStatus`.
        fed: what is in the way of the producer that is at work on the job, "" if nothing is; None without a producer.
        away: why the broker couldn't be asked.
    """

    left: int = sys.maxsize
    waiting: frozenset[Life] | None = None
    running: frozenset[Life] = frozenset()
    workers: tuple[WorkerStatus, ...] = ()
    others_running: int = 0
    others_queued: int = 0
    place: str | None = None
    memory_share: float | None = None
    declines: str | None = None
    fed: str | None = None
    away: str | None = None


def ask(ledger: Ledger, job_key: str, *, named: bool = False) -> Asked:
    """Ask the ledger about a job.

    Args:
        ledger: the ledger of the job's offer.
        job_key: the job's key.
        named: whether the lives that wait are named, which takes longer the more there are; else they are counted.

    Raises:
        Exception: one of `unrolled.queue.broker.AWAY`.
    """
    workers = ledger.workers()
    waiting = ledger.members(job_key)[0] if named else None
    (known,) = ledger.known([job_key])
    left = 0 if known.mark is None else known.left
    running, others_running = ledger.running(job_key)
    declined = why_no_writes(ledger.client, ledger.keys.offers)
    others_queued = max(0, ledger.counts().shards - left - others_running)
    return Asked(
        left if waiting is None else len(waiting),
        None if waiting is None else frozenset(waiting),
        frozenset(running),
        tuple(WorkerStatus.parse(name, facts) for name, facts in sorted(workers.items())),
        others_running,
        others_queued,
        ledger.place_of(job_key),
        memory_share(ledger.client),
        None if declined is None else "; ".join(declined),
        ledger.fed(job_key),
    )


def memory_share(client: redis.Redis) -> float | None:
    """The share of its maxmemory that a broker uses; None if it has no maxmemory, or doesn't say."""
    with suppress(*AWAY):  # a login that may not ask for it can still see the queue
        info: Any = client.info("memory")
        used, limit = info.get("used_memory"), info.get("maxmemory")
        if isinstance(used, int) and isinstance(limit, int) and limit > 0:
            return used / limit
    return None


def why_no_writes(client: redis.Redis, offers: str) -> tuple[str, str] | None:
    """Why a broker takes no writes now, and what to do; None if it takes them, or this user may not try.

    Args:
        client: of the broker.
        offers: the key with all offers. An empty text, which is none, is taken out of it: nothing changes.
    """
    try:
        client.srem(offers, "")
    except AWAY as error:
        return declines(error)
    return None


def why_silent(client: redis.Redis, namespace: str) -> tuple[str, str] | None:
    """Why a broker may know of no worker though some are alive: it refuses their heartbeats. And what to do.

    Args:
        client: of the broker.
        namespace: prefix of every key.
    """
    if (memory_share(client) or 0.0) >= FULL_SHARE:
        return "is full", "raise its maxmemory"
    return why_no_writes(client, f"{namespace}:offers")
