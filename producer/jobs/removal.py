"""Removing a job from Redis by its key, for a job whose store is lost."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from unrolled.errors import OptionError
from unrolled.job.offer import Offer
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import as_text
from unrolled.queue.member import JOB_KEY

if TYPE_CHECKING:
    from unrolled.patience import Patience


def remove_key(job_key: str, broker: str, namespace: str, patience: Patience) -> int | None:
    """Take the waiting shards of a job out of the queue, whatever it asks for.

    Args:
        job_key: the job's key, as the worker's log shows it.
        broker: URL of the Redis server.
        namespace: prefix of every key.
        patience: waits for a broker that is away, and says so.

    Returns:
        How many shards were taken out: 0 of a job that was only registered; None if the broker doesn't know the job.

    Raises:
        OptionError: this is no key.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    if not JOB_KEY.fullmatch(job_key):
        raise OptionError(f"job key {job_key[:80]!r}: 16 hexadecimal digits are expected, as in the worker's log")
    removed, is_known = 0, False
    with closing(Broker(broker)) as server:

        def attempt() -> int | None:
            nonlocal removed, is_known
            for offer in (Offer.parse(as_text(raw)) for raw in server.client.smembers(f"{namespace}:offers")):
                if offer is None:
                    continue
                ledger = server.ledger(namespace, offer)
                is_known |= bool(ledger.client.hexists(ledger.keys.jobs, job_key))
                removed += ledger.cancel(job_key)
            return removed if removed or is_known else None

        return server.until_done(patience, "reach the broker", attempt)
