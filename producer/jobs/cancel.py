"""Taking a job's waiting shards out of the queue."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from producer.queue.client import open_ledger, refused
from producer.queue.shard_queue import AWAY
from unrolled.errors import RequestError, TransientError
from unrolled.queue.broker_errors import refuses
from unrolled.queue.broker_url import without_secret
from unrolled.queue.ledger import as_text
from unrolled.queue.member import JOB_KEY
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from unrolled.job.directory import JobDirectory
    from unrolled.queue.ledger import Ledger


def cancel_job(directory: JobDirectory, broker: str, namespace: str) -> int:
    """Cancel what waits of a job, until it is enqueued again; how many shards were taken out.

    Files that are there stay, and a worker that is at a shard publishes it.

    Raises:
        JobError: its producer is at work.
        UnrolledError: the directory can't be written, or the broker is away or refuses this user.
    """
    with directory.lock():
        # First of all, for a worker or `wait` enters again what waits and isn't in the ledger.
        publish_bytes(directory.cancelled, b"")
        return _out_of(open_ledger(broker, namespace, directory.job.fingerprint), broker, directory.key)


def cancel_key(job_key: str, broker: str, namespace: str) -> int:
    """The same for a job whose directory is gone for good, by its key, whatever its model.

    Raises:
        RequestError: this is no key.
        UnrolledError: the broker is away, or refuses this user.
    """
    if not JOB_KEY.fullmatch(job_key):
        raise RequestError(f"job key {job_key[:80]!r}: 16 hex digits are expected, as the worker's log has them")
    try:
        with closing(open_ledger(broker, namespace, "").client) as client:
            models = [as_text(raw) for raw in client.smembers(f"{namespace}:models")]
    except AWAY as error:
        raise _unreachable(broker, error) from error
    return sum(_out_of(open_ledger(broker, namespace, model), broker, job_key) for model in models)


def _out_of(ledger: Ledger, broker: str, job_key: str) -> int:
    try:
        with closing(ledger.client):
            return ledger.cancel(job_key)
    except AWAY as error:
        raise _unreachable(broker, error) from error


def _unreachable(broker: str, error: Exception) -> Exception:
    if refuses(error):
        return refused(broker, error)
    return TransientError(f"broker {without_secret(broker)} is away ({error}); give the same command again")
