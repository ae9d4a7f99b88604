"""The keys of the ledger in Redis: their names and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from unrolled.queue.messages import queue_name

if TYPE_CHECKING:
    from unrolled.job.offer import Offer


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one offer's ledger, and those that it shares with the ledgers of other offers.

    Times are in seconds, by the server's clock. A field of a hash, or a value in a set, is a member (`Member`) unless
    something else is said.

    Attributes:
        ledger: sorted set: member → when its message was last sent; and job key → how many segments of the job's log
            it was told, below zero while somebody tells it everything. In one key, so that both are lost together.
        tokens: hash: member → its token ids. The field `total` has their sum.
        leases: sorted set: member → when its lease runs out.
        holders: hash: member → the worker that has the lease; empty where the worker gave the shard back.
        started: hash: member → the worker that made its first start. For any other worker, the shard is a suspect.
        lonely: hash: member → how many workers have started it with nothing else on board, a space, and the last one.
        resent: set of the members whose message was sent more than once.
        watermark: string: the latest sending time of a shard that was taken up by its only message.
        swept: string: when a worker last swept. It is ahead of now while sweeping waits after a silence.
        jobs: hash: job key → JSON with the output directory.
        left: hash: job key → how many members it has: when it is worth looking for more, never proof of anything.
        turns: prefix of strings that are there while somebody's turn to look after a job lasts.
        queue: list of messages: the Celery queue of the offer.
        offers: set of all offers that have a ledger; shared.
        workers: hash: worker → its heartbeat, as JSON; shared.
    """

    ledger: str
    tokens: str
    leases: str
    holders: str
    started: str
    lonely: str
    resent: str
    watermark: str
    swept: str
    jobs: str
    left: str
    turns: str
    queue: str
    offers: str
    workers: str

    @classmethod
    def of(cls, namespace: str, offer: Offer) -> Self:
        """The keys of one offer.

        Args:
            namespace: prefix of every key, so that installations can share a database.
            offer: what its workers compute.
        """
        names = {name: f"{offer.short}:{name}" for name in cls.__dataclass_fields__}
        names |= {"queue": queue_name(offer), "offers": "offers", "workers": "workers"}
        return cls(**{field: f"{namespace}:{name}" for field, name in names.items()})
