"""Removing a job from Redis by its key, for a job whose store is lost."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

from producer.queue.copies import could_be_place
from unrolled.errors import (
    FileFormatError,
    OptionError,
    PayloadError,
    RequestError,
    TransientError,
    as_argument,
    printable,
)
from unrolled.job.offer import Offer
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import as_text
from unrolled.queue.member import JOB_KEY

if TYPE_CHECKING:
    from unrolled.patience import Patience
    from unrolled.queue.ledger import Ledger


def remove_key(job_key: str, broker: str, namespace: str, patience: Patience) -> tuple[int | None, str | None]:
    """Take the waiting shards of a job out of the queue, whatever it asks for.

    Args:
        job_key: the job's key, as the worker's log shows it.
        broker: URL of the Redis server.
        namespace: prefix of every key.
        patience: waits for a broker that is away, and says so.

    Returns:
        How many shards were taken out: 0 of a job that was only registered; None if the broker doesn't know the job.
        And the place that was registered for it, if it could be one.

    Raises:
        OptionError: this is no key, or the job is in its place: workers would queue its shards again.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    if not JOB_KEY.fullmatch(job_key):
        raise OptionError(
            f"job key {job_key[:80]!r}: 16 hexadecimal digits in lower case are expected, as in the worker's log"
        )
    removed, is_known, place = 0, False, None
    with closing(Broker(broker)) as server:

        def attempt() -> int | None:
            nonlocal removed, is_known, place
            for offer in (Offer.parse(as_text(raw)) for raw in server.client.smembers(f"{namespace}:offers")):
                if offer is None:
                    continue
                ledger = server.ledger(namespace, offer)
                place = _place(ledger, job_key) or place
                is_known |= bool(ledger.client.hexists(ledger.keys.jobs, job_key))
                removed += ledger.cancel(job_key)
            return removed if removed or is_known else None

        return server.until_done(patience, "reach the broker", attempt), place


def _place(ledger: Ledger, job_key: str) -> str | None:
    """The place that is registered for a job, if it could be one.

    Raises:
        OptionError: the job is there, as far as this machine can see.
    """
    place = ledger.place_of(job_key)
    if place is None or not could_be_place(place):
        return None
    if _is_there(place, job_key):
        raise OptionError(
            f"the job is at {printable(place)}, and its workers would queue its shards again; use `unrolled cancel "
            f"{as_argument(place)}` with the same broker and namespace"
        )
    return place


def _is_there(place: str, job_key: str) -> bool:
    """Whether the job is in a place, as far as this machine can see, and neither finished nor cancelled."""
    with suppress(RequestError, TransientError, PayloadError, FileFormatError, ValueError, OSError):
        job, log = open_job(place), Log()
        return job.key == job_key and not standing(log, job.objects, live=job.job.live).finished and not log.stopped
    return False
