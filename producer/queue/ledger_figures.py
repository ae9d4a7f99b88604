"""The figures of all ledgers of a broker.

One process serves them (`unrolled metrics`). If each worker did, a sum over workers would count each shard many times.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from producer.queue.queue_status import why_silent
from producer.queue.worker_status import WorkerStatus
from unrolled.errors import BrokerAwayError, BrokerError
from unrolled.job.offer import Offer
from unrolled.queue.ledger import MOST_OFFERS, alive_workers, as_text
from unrolled.telemetry.family import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.patience import Patience
    from unrolled.queue.broker import Broker
    from unrolled.queue.ledger import Counts

_WHAT = "read the queue's figures"


@dataclass(frozen=True, slots=True)
class _Queue:
    """One offer's ledger, and the workers that serve it; None where that can't be known."""

    counts: Counts
    oldest_seconds: float
    workers: int | None


_FIGURES: tuple[tuple[str, str, Callable[[_Queue], float | None]], ...] = (
    ("shards", "Shards without a part: those that wait, and those that a worker holds.", lambda one: one.counts.shards),
    ("held_shards", "Shards that a worker holds.", lambda one: one.counts.running),
    ("tokens", "Token ids in all shards of the ledger.", lambda one: one.counts.tokens),
    (
        "oldest_shard_seconds",
        "How long the shard that has waited longest has, since its message was last sent; 0 if none waits.",
        lambda one: one.oldest_seconds,
    ),
    (
        "workers",
        "Workers that are alive and compute what the ledger's jobs ask for; no figure if a full broker knows of none.",
        lambda one: one.workers,
    ),
)


class LedgerFigures:
    """Reads the ledgers' figures.

    Args:
        broker: where the ledgers are.
        namespace: prefix of every key.
        patience: says once why there are no figures, and that there are some again; None to say nothing.

    Attributes:
        trouble: why there were no figures when they were collected last; None if there were some.
    """

    def __init__(self, broker: Broker, namespace: str, patience: Patience | None = None) -> None:
        self._broker = broker
        self._namespace = namespace
        self._patience = patience
        self.trouble: BrokerError | None = None

    def check_login(self) -> None:
        """Ask what `collect` asks; a broker that is away may come back, so that is no error.

        Raises:
            BrokerRefusesError: the broker doesn't let this user in, or doesn't let it read the ledgers.
        """
        with suppress(BrokerAwayError), self._broker.asked():
            self._queues()

    def collect(self) -> Iterator[Family]:
        """The figures now; of a broker that doesn't answer, or refuses, only that."""
        try:
            with self._broker.asked():
                queues = self._queues()
        except BrokerError as error:
            self.trouble = error
            if self._patience:
                self._patience.fails(_WHAT, error)
            yield _up(0)
            return
        self.trouble = None
        if self._patience:
            self._patience.works(_WHAT)
        yield _up(1)
        yield from _figures(queues)

    def _queues(self) -> dict[str, _Queue]:
        client: Any = self._broker.client
        workers = [WorkerStatus.parse(*found) for found in alive_workers(client, self._namespace).items()]
        alive = [worker.offer for worker in workers if not worker.is_lost]
        found = {Offer.parse(as_text(raw)) for raw in client.smembers(f"{self._namespace}:offers")}
        ledgers = [self._broker.ledger(self._namespace, offer) for offer in sorted(filter(None, found.union(alive)))]
        if len(ledgers) > MOST_OFFERS:  # workers take offers without a job off the list, when there are so many
            pipe = client.pipeline(transaction=False)
            for ledger in ledgers:
                pipe.exists(ledger.keys.ledger)
            used = dict(zip(ledgers, pipe.execute(), strict=True))
            ledgers.sort(key=lambda ledger: not (used[ledger] or ledger.offer in alive))
        nothing_known = None if why_silent(client, self._namespace) else 0  # a full broker takes no worker's word
        return {
            ledger.offer.short: _Queue(
                ledger.counts(), ledger.oldest_seconds(), alive.count(ledger.offer) or nothing_known
            )
            for ledger in ledgers[:MOST_OFFERS]
        }


def _figures(queues: dict[str, _Queue]) -> Iterator[Family]:
    for name, about, value in _FIGURES:
        found = {offer: value(queue) for offer, queue in queues.items()}
        samples = [({"offer": offer}, number) for offer, number in found.items() if number is not None]
        yield Family(f"unrolled_ledger_{name}", about, "gauge", samples)


def _up(value: int) -> Family:
    return Family.gauge(
        "unrolled_broker_up",
        "1 if the broker gave its figures, 0 if it is away, refuses, or has keys of another kind.",
        value,
    )
