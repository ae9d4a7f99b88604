"""The keys of the ledger in Redis: their names and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from unrolled.queue.messages import SHORT, queue_name


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one model's ledger, and those that it shares with the ledgers of other models.

    Times are in seconds, by the server's clock. A field of a hash, or a value in a set, is a member (`Member`) unless
    something else is said.

    Attributes:
        ledger: sorted set: member → when its message was last sent.
        tokens: hash: member → its token ids. The field `total` has their sum.
        leases: sorted set: member → when its lease runs out.
        holders: hash: member → the worker that has the lease; empty where the worker gave the shard back.
        started: hash: member → the worker that made its first start. For any other worker, the shard is a suspect.
        lonely: hash: member → how many workers have started it with nothing else on board, a space, and the last one.
        resent: set of the members whose message was sent more than once.
        watermark: string: the latest sending time of a shard that was taken up by its only message.
        swept: string: when a worker last swept. It is ahead of now while sweeping waits after a silence.
        jobs: hash: job key → JSON with the output directory.
        entered: hash: job key → the run of the server in which all its waiting shards were entered.
        queue: list of messages: the Celery queue of the model.
        models: set of the fingerprints of all models that have a ledger; shared.
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
    entered: str
    queue: str
    models: str
    workers: str

    @classmethod
    def of(cls, namespace: str, fingerprint: str) -> Self:
        """The keys of one model.

        Args:
            namespace: prefix of every key, so that installations can share a database.
            fingerprint: of the model; its first digits are enough.
        """
        names = {name: f"{fingerprint[:SHORT]}:{name}" for name in cls.__dataclass_fields__}
        names |= {"queue": queue_name(fingerprint), "models": "models", "workers": "workers"}
        return cls(**{field: f"{namespace}:{name}" for field, name in names.items()})
