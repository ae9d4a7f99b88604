"""What producer and workers agree on about the queue: names, and the shape of a message.

A message is only a hint that a shard waits: `[job key, shard id]`, JSON, no path and no size in it.
The truth is in the ledger (`unrolled.queue.ledger`) and in the job's directory (`unrolled.job.directory`).
"""

import re
from typing import Any

from unrolled.errors import PayloadError, RequestError
from unrolled.job.shard_id import ShardId

#: The Celery task's name; explicit, so that no module path ever reaches the wire.
TASK = "unrolled.shard"
JOB_KEY = re.compile(r"[0-9a-f]{16}")
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
#: Hex digits of a fingerprint that name a model's queue and keys.
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
    """The Celery queue of one model: a worker consumes only the shards of the model that it serves."""
    return f"shards.{fingerprint[:SHORT]}"


def transport_options(namespace: str) -> dict[str, Any]:
    """Kombu's settings that both sides must share: every key under one prefix, one list per queue."""
    return {"global_keyprefix": f"{namespace}:", "priority_steps": [0]}


def member_of(job_key: str, shard: str) -> str:
    """The ledger's name for one shard of one job."""
    return f"{job_key}/{shard}"


def parse_member(job_key: object, shard: object) -> str:
    """The ledger's name for what a message asks for; anybody may have sent it.

    Raises:
        PayloadError: the key is not 16 hex digits, or the shard id is none.
    """
    if not isinstance(job_key, str) or not JOB_KEY.fullmatch(job_key):
        raise PayloadError(f"job key {str(job_key)[:80]!r}: 16 hex digits are expected")
    if not isinstance(shard, str):
        raise PayloadError(f"shard id {str(shard)[:80]!r}: a string is expected")
    return member_of(job_key, str(ShardId.parse(shard)))


def is_member(text: str) -> bool:
    """Whether this is the ledger's name for some shard."""
    try:
        return parse_member(*text.split("/", 1)) == text
    except (PayloadError, TypeError):
        return False
