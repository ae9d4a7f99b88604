"""What the producer and the workers agree on about the queue: the names in it, and the settings of its transport.

A message only hints that a shard waits. Its values are `Member.encode`'s: no path and no size is in it. The truth is in
the ledger (`unrolled.queue.ledger`) and in the job's directory (`unrolled.job.directory`).
"""

import re
from typing import Any

from unrolled.errors import RequestError

#: The name of the Celery task, given explicitly so that no module path gets into a message.
TASK = "unrolled.shard"
#: A prefix of keys: nothing in it has a meaning in a key or in a pattern of Redis.
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
#: Hexadecimal digits of a fingerprint that name a model's queue and keys.
SHORT = 12


def check_namespace(text: str) -> str:
    """The text, if it can be the prefix of every key.

    Raises:
        RequestError: it can't.
    """
    if not NAMESPACE.fullmatch(text):
        raise RequestError(f"namespace '{text:.80}'; allowed: up to 32 lower-case letters, digits, - and _")
    return text


def queue_name(fingerprint: str) -> str:
    """The Celery queue of one model: a worker consumes only shards of the model that it serves."""
    return f"shards.{fingerprint[:SHORT]}"


def transport_options(namespace: str) -> dict[str, Any]:
    """Kombu's settings that both sides must share: one prefix for every key, one list per queue."""
    return {"global_keyprefix": f"{namespace}:", "priority_steps": [0]}
