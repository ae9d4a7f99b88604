"""What the producer and the workers agree on about the queue: the names in it, and the settings of its transport.

A message only hints that a shard waits. Its values are `Member.encode`'s: no path and no size is in it. The truth is in
the job's log (`unrolled.protocol.log`), and who computes what now in the ledger (`unrolled.queue.ledger`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from unrolled.job.offer import Offer

#: The name of the Celery task, given explicitly so that no module path gets into a message.
TASK = "unrolled.shard"
#: A prefix of keys: nothing in it has a meaning in a key or in a pattern of Redis.
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def check_namespace(text: str) -> str:
    """The text, if it can be the prefix of every key.

    Raises:
        RequestError: it can't.
    """
    if not NAMESPACE.fullmatch(text):
        raise RequestError(f"namespace '{text:.80}'; allowed: up to 32 lower-case letters, digits, - and _")
    return text


def queue_name(offer: Offer) -> str:
    """The Celery queue of one offer: a worker consumes only shards that it computes as their job says."""
    return f"shards.{offer.short}"


def transport_options(namespace: str) -> dict[str, Any]:
    """Kombu's settings that both sides must share: one prefix for every key, one list per queue."""
    return {"global_keyprefix": f"{namespace}:", "priority_steps": [0]}
