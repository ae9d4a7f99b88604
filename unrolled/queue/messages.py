"""The names and transport settings of the queue, which the producer and the workers must share.

A message only hints that a shard waits. It contains the values of `Member.encode`, and neither a path nor a size. The
job's log (`unrolled.protocol.log`) decides which shards exist, and the ledger (`unrolled.queue.ledger`) which worker
has which shard.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from unrolled.job.offer import Offer

#: The name of the Celery task, set explicitly so that messages contain no module path.
TASK = "unrolled.shard"
#: How a worker's report begins that it sees neither the rows nor the part of a shard, which follows.
UNSEEN = "neither the rows nor the part of shard"
#: The form of a prefix of keys: no character that is special in a key or in a pattern of Redis.
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def check_namespace(text: str) -> str:
    """Return a namespace that can be the prefix of every key.

    Raises:
        RequestError: the text can't.
    """
    if not NAMESPACE.fullmatch(text):
        raise RequestError(
            f"namespace '{text:.80}'; allowed: up to 32 lower-case letters, digits, - and _, of which the first is "
            "a letter or a digit"
        )
    return text


def queue_name(offer: Offer) -> str:
    """The Celery queue of one offer. A worker receives only shards that it can compute as their job asks."""
    return f"shards.{offer.short}"


def control_channel(namespace: str, database: int) -> str:
    """The channel of Celery's remote control, to which every worker subscribes."""
    return f"{namespace}:/{database}.celery.pidbox"


def transport_options(namespace: str) -> dict[str, Any]:
    """Kombu's settings that both sides must share: one prefix for every key, and one list for each queue."""
    return {"global_keyprefix": f"{namespace}:", "priority_steps": [0]}
