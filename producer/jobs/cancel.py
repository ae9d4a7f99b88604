"""Taking a job's waiting shards out of the queue."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from unrolled.errors import RequestError
from unrolled.queue.broker import Broker
from unrolled.queue.ledger import as_text
from unrolled.queue.member import JOB_KEY
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from unrolled.job.directory import JobDirectory


def cancel_job(directory: JobDirectory, broker: str, namespace: str) -> int:
    """Cancel the waiting shards of a job, until it is enqueued again.

    Published files stay, and a worker that computes a shard still publishes it.

    Returns:
        How many shards were taken out of the queue.

    Raises:
        JobError: the job's producer is running.
        TransientError: the directory can't be written, or the broker is away.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    with directory.lock():
        # Before the ledger is changed: workers and `wait` enter again what waits and isn't in it.
        publish_bytes(directory.cancelled, b"")
        return _take_out(directory.key, directory.job.fingerprint, broker, namespace)


def cancel_key(job_key: str, broker: str, namespace: str) -> int:
    """Cancel the waiting shards of a job whose directory is gone for good, whatever its model.

    Args:
        job_key: of the job, as the worker's log shows it.
        broker: URL of the Redis server.
        namespace: prefix of every key.

    Returns:
        How many shards were taken out of the queue.

    Raises:
        RequestError: this is no key.
        BrokerAwayError: the broker is away.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    if not JOB_KEY.fullmatch(job_key):
        raise RequestError(f"job key {job_key[:80]!r}: 16 hex digits are expected, as in the worker's log")
    with closing(Broker(broker)) as server, server.asked():
        models = [as_text(raw) for raw in server.client.smembers(f"{namespace}:models")]
    return sum(_take_out(job_key, model, broker, namespace) for model in models)


def _take_out(job_key: str, fingerprint: str, broker: str, namespace: str) -> int:
    with closing(Broker(broker)) as server, server.asked():
        return server.ledger(namespace, fingerprint).cancel(job_key)
