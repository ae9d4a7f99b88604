"""The keys of the ledger in Redis: their names and their contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from unrolled.queue.messages import queue_name

if TYPE_CHECKING:
    from unrolled.job.offer import Offer


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one offer's ledger, and those that it shares with the ledgers of other offers.

    Times are in seconds on the server's clock. A member is the text of a `Member`.

    Attributes:
        ledger: sorted set: member → when its message was last sent; and job key → the job's mark, which is the number
            of segments of its log that were entered, negative during an update from scratch. Both are in one key, so
            that they are lost together.
        tokens: hash: member → number of its token ids. The field `total` contains their sum.
        leases: sorted set: member → when its lease expires.
        holders: hash: member → the worker that has the lease; empty if the worker gave the shard back.
        started: hash: member → the worker that started it first. For any other worker, the shard is a suspect.
        lonely: hash: member → how many workers have started it with nothing else on board, a space, and the last one.
        order: sorted set: member that waits → its rank. The lowest is computed next; 0 for shards whose turn has come
            before. See `Ledger.choose`.
        ranks: hash: job key → the rank that its next shard gets; in the field `now`, that of the last shard chosen.
        priorities: hash: job key → the job's priority, where its producer gave one.
        producers: hash: job key → until when its producer's last sign of life counts, a space, and what is in its way.
        later: sorted set: member that was chosen and isn't claimed, or that a worker put off → when its message is sent
            again.
        swept: string: when a worker last swept. It is in the future while sweeping waits after a silence.
        jobs: hash: job key → JSON with the output directory.
        left: hash: job key → how many members it has: a hint when a look at the job is worthwhile, never a proof.
        turns: prefix of strings that exist while a process has the turn to look after a job.
        queue: list: the messages in the offer's Celery queue.
        offers: set of all offers that have a ledger; shared.
        workers: hash: worker → its heartbeat, as JSON; shared.
    """

    ledger: str
    tokens: str
    leases: str
    holders: str
    started: str
    lonely: str
    order: str
    ranks: str
    priorities: str
    producers: str
    later: str
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
