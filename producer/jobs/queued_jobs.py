"""All jobs that a broker knows: those with shards that wait or run, and those that were not removed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from producer.jobs.job_stores import JobStores
from producer.queue.copies import could_be_place
from unrolled.errors import PayloadError
from unrolled.job.offer import Offer
from unrolled.queue.ledger import MARKS, as_text
from unrolled.queue.member import JOB_KEY, Member
from unrolled.queue.priority import HIGHEST_PRIORITY, NORMAL_PRIORITY

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus
    from unrolled.queue.broker import Broker
    from unrolled.queue.ledger import Ledger

#: Most jobs that are listed: anybody with access to Redis can write there.
_MOST_JOBS = 10_000


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in a broker.

    Attributes:
        job: its key.
        place: path or URL of its store, as its producer has it; None where the broker has none that could be one.
        offer: what it asks workers for.
        waiting: its shards that no worker holds.
        running: those under a lease.
        since: when the oldest message of those that wait was last sent, in seconds since 1970, by the
            server's clock; None without one.
        waited_seconds: how long ago that was, by the same clock.
        priority: its share of the workers, against those of other jobs of the offer.
        status: what its store shows; None where that can't be read on this machine.
    """

    job: str
    place: str | None
    offer: Offer
    waiting: int
    running: int
    since: float | None
    waited_seconds: float | None
    priority: int
    status: JobStatus | None

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to do, and nothing in the broker; this forgets the job a minute later."""
        is_done = self.status is not None and (self.status.finished or self.status.discarded)
        return is_done and not self.waiting + self.running


def queued_jobs(broker: Broker, namespace: str) -> list[QueuedJob]:
    """The jobs of all offers, the one that has waited longest first.

    Args:
        broker: where they are queued.
        namespace: prefix of every key.

    Raises:
        BrokerAwayError: the broker is away.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    found: list[QueuedJob] = []
    stores = JobStores()
    with broker.asked():
        offers = {offer for raw in broker.client.smembers(f"{namespace}:offers") if (offer := _offer(raw))}
        for offer in sorted(offers, key=str):
            found += _of_offer(broker.ledger(namespace, offer), stores)
    found.sort(key=lambda job: (job.since is None, job.since or 0.0, job.job))
    return found


def _offer(raw: bytes | str) -> Offer | None:
    return Offer.parse(as_text(raw))


def _of_offer(ledger: Ledger, stores: JobStores) -> list[QueuedJob]:
    seconds, microseconds = ledger.client.time()
    now = seconds + microseconds / 1e6
    pipe = ledger.client.pipeline(transaction=True)
    pipe.hgetall(ledger.keys.jobs)
    pipe.zrange(ledger.keys.ledger, 0, -1, withscores=True)
    pipe.zrange(ledger.keys.leases, f"({now}", "+inf", byscore=True)
    pipe.hgetall(ledger.keys.priorities)
    registered, members, leases, given = pipe.execute()
    priorities, held = {as_text(raw): priority for raw, priority in given.items()}, set(leases)
    found = {key: _Shards() for raw in registered if JOB_KEY.fullmatch(key := as_text(raw))}
    for raw, score in members:
        if score >= MARKS and (of := _job_of(raw)):
            found.setdefault(of, _Shards()).add(score, is_held=raw in held)
    jobs = [
        _job(ledger, stores, key, found[key], now, _priority(priorities.get(key))) for key in sorted(found)[:_MOST_JOBS]
    ]
    return [job for job in jobs if not job.is_over]


@dataclass(slots=True)
class _Shards:
    """A job's shards in a ledger, as they are counted."""

    waiting: int = 0
    running: int = 0
    since: float | None = None

    def add(self, sent: float, *, is_held: bool) -> None:
        if is_held:
            self.running += 1
        else:
            self.waiting += 1
            self.since = sent if self.since is None else min(self.since, sent)


def _job(ledger: Ledger, stores: JobStores, key: str, shards: _Shards, now: float, priority: int) -> QueuedJob:
    place = ledger.place_of(key)
    if place is not None and not could_be_place(place):
        place = None
    status = None if place is None else stores.status(place, key)
    if status and not status.ended:
        status = replace(status, fed=ledger.fed(key) is not None)
    waited = None if shards.since is None else max(0.0, now - shards.since)
    return QueuedJob(key, place, ledger.offer, shards.waiting, shards.running, shards.since, waited, priority, status)


def _priority(raw: bytes | None) -> int:
    """A job's priority; the normal one if the ledger has none, or one that no producer gives."""
    text = "" if raw is None else as_text(raw)
    given = int(text) if text.isdecimal() and len(text) <= len(str(HIGHEST_PRIORITY)) else 0
    return given if 1 <= given <= HIGHEST_PRIORITY else NORMAL_PRIORITY


def _job_of(raw: bytes) -> str | None:
    try:
        return Member.parse(as_text(raw)).job_key
    except PayloadError:
        return None
