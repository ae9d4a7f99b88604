"""Retrying what was given up: dead shards, and shards with rows that the engine failed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.queue.shard_queue import ShardQueue
from unrolled.errors import JobError, PayloadError, TransientError
from unrolled.job import payload
from unrolled.patience import Patience
from unrolled.queue.member import Member
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId


@dataclass(slots=True)
class Retried:
    """What `retry` did with a job's shards.

    Attributes:
        retried: dead shards that wait again.
        to_cut_again: dead shards whose rows are gone or damaged; the next `unrolled enqueue` cuts them again.
        recomputed: shards that wait again because the engine failed on some of their rows.
        without_rows: shards with failed rows whose rows are gone or damaged; their parts stay.
    """

    retried: int = 0
    to_cut_again: int = 0
    recomputed: int = 0
    without_rows: int = 0


def retry(
    directory: JobDirectory, broker: str | None, namespace: str, say: Callable[[str], None], *, failed_rows: bool
) -> Retried:
    """Let every dead shard of a job wait again and enter it. A broker that is away is waited for.

    Args:
        directory: of the job.
        broker: URL of the Redis server; None to leave the entering to the next command that has one.
        namespace: prefix of every key.
        say: called with a line when the broker goes away and when it is back.
        failed_rows: whether shards with rows that the engine failed on are computed again too; until then, their
            parts are missing.

    Raises:
        JobError: the job was cancelled.
        TransientError: the directory can't be written.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    if directory.cancelled.exists():
        raise JobError(f"{directory.path}: was cancelled; run its `unrolled enqueue` command first, which continues it")
    queue = None if broker is None else ShardQueue(directory, broker, namespace, Patience(say))
    found = Retried()
    try:
        _retry_dead(queue, directory, found)
        if failed_rows:
            _retry_failing(queue, directory, found)
    except OSError as error:
        raise TransientError(f"{directory.path}: shards can't be retried: {error}") from error
    finally:
        if queue:
            queue.close()
    return found


def _retry_dead(queue: ShardQueue | None, directory: JobDirectory, found: Retried) -> None:
    published = directory.published()
    for shard in sorted(directory.given_up()):
        if shard in published:
            directory.dead(shard).unlink(missing_ok=True)  # a crash came between its part and this
        elif _is_sound(directory.pending(shard), shard):
            _enter(queue, directory, shard)
            found.retried += 1
        else:
            directory.pending(shard).unlink(missing_ok=True)
            directory.dead(shard).unlink(missing_ok=True)
            found.to_cut_again += 1


def _retry_failing(queue: ShardQueue | None, directory: JobDirectory, found: Retried) -> None:
    """Change rows, part and ledger, in this order: a crash leaves the shard published, or waiting with its rows."""
    held = queue.steadily(lambda: queue.ledger.members(directory.key)[0]) if queue else set()
    for shard in sorted((directory.failing() & directory.published()) - held):
        kept = directory.kept(shard)
        if _is_sound(kept, shard):
            publish_bytes(directory.pending(shard), kept.read_bytes())
            directory.part(shard).unlink(missing_ok=True)
            _enter(queue, directory, shard)
            found.recomputed += 1
        else:
            found.without_rows += 1


def _enter(queue: ShardQueue | None, directory: JobDirectory, shard: ShardId) -> None:
    """Change ledger, record and queue, in this order: after a crash the shard is dead or in the ledger, or both.

    The message is sent last, so that no worker can bury the shard again before the old record is gone. Without a queue
    the shard waits in the directory until a command enters what waits there.
    """
    if queue is None:
        directory.dead(shard).unlink(missing_ok=True)
        return
    tokens = payload.read_header(directory.pending(shard)).tokens
    member = Member(directory.key, shard)
    queue.steadily(lambda: queue.ledger.enter(member, tokens, str(directory.path)))
    directory.dead(shard).unlink(missing_ok=True)
    queue.steadily(lambda: queue.send(member))


def _is_sound(path: Path, shard: ShardId) -> bool:
    """Whether a file holds the shard's rows, undamaged."""
    try:
        with path.open("rb") as file:
            header = file.read(payload.HEADER_BYTES)
            file.seek(0)
            payload.read(file, path.stat().st_size)
    except (FileNotFoundError, PayloadError):
        return False
    return payload.content_hash(header) == shard.hash
