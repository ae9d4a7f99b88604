"""Dead shards back to work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.queue import AWAY, ShardQueue
from producer.status_reader import refused
from unrolled import payload
from unrolled.connection import refuses
from unrolled.errors import JobError, PayloadError, TransientError
from unrolled.messages import member_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unrolled.job import JobDirectory


@dataclass(slots=True)
class Retried:
    """What became of a job's dead shards.

    Attributes:
        retried: entered again.
        to_cut_anew: without sound rows; the next `unrolled enqueue` cuts them again.
    """

    retried: int = 0
    to_cut_anew: int = 0


def retry_dead(directory: JobDirectory, broker: str, namespace: str, say: Callable[[str], None]) -> Retried:
    """Enter every dead shard of a job again; a broker that is away is waited for.

    Args:
        directory: of the job.
        broker: Redis URL.
        namespace: prefix of every key.
        say: told when the broker goes away and comes back.

    Raises:
        JobError: the job was cancelled.
        UnrolledError: the directory can't be written, or the broker refuses this user.
    """
    if directory.cancelled.exists():
        raise JobError(f"{directory.path}: was cancelled; bring it back first, by its `unrolled enqueue` command")
    queue = ShardQueue(broker, namespace, directory.job.fingerprint, say=say)
    found = Retried()
    published = directory.published()
    try:
        for shard in sorted(directory.given_up()):
            if shard in published:
                directory.dead(shard).unlink(missing_ok=True)  # a crash came between its file and this
            elif _is_sound(directory.pending(shard), shard):
                _enter(queue, directory, shard)
                found.retried += 1
            else:
                directory.pending(shard).unlink(missing_ok=True)
                directory.dead(shard).unlink(missing_ok=True)
                found.to_cut_anew += 1
    except AWAY as error:
        if refuses(error):
            raise refused(broker, error) from error
        raise TransientError(f"{directory.path}: dead shards can't be retried: {error}") from error
    except OSError as error:
        raise TransientError(f"{directory.path}: dead shards can't be retried: {error}") from error
    finally:
        queue.close()
    return found


def _enter(queue: ShardQueue, directory: JobDirectory, shard: str) -> None:
    """Ledger, record, message, in this order: a crash leaves the shard dead or in the ledger, never neither.

    The message comes last, so that no worker can bury the shard anew before the old record is gone.
    """
    tokens = payload.claimed(directory.pending(shard)).tokens
    member = member_of(directory.key, shard)
    queue.steadily(lambda: queue.ledger.submit(member, tokens, directory.key, str(directory.path)))
    directory.dead(shard).unlink(missing_ok=True)
    queue.steadily(lambda: queue.send(directory.key, shard))


def _is_sound(path: Path, shard: str) -> bool:
    """Whether the shard's rows are there, whole, and its own."""
    try:
        with path.open("rb") as file:
            header = file.read(payload.HEADER.size)
            file.seek(0)
            payload.read(file, path.stat().st_size)
    except (FileNotFoundError, PayloadError):
        return False
    return payload.content_hash(header) == shard.partition("-")[2]
