"""From a job's directory into Redis: waiting shards are entered in the ledger, and their messages are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from unrolled.errors import TransientError
from unrolled.job import payload
from unrolled.job.manifest import read_manifest
from unrolled.queue.member import Member

if TYPE_CHECKING:
    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Manifest
    from unrolled.job.shard_id import ShardId
    from unrolled.queue.ledger import Ledger

#: Sends the message of one shard.
Send = Callable[[Member], None]


def enter(ledger: Ledger, directory: JobDirectory, shard: ShardId, tokens: int, send: Send) -> bool:
    """Enter one spooled shard and send its message.

    Args:
        ledger: of the job's model.
        directory: of the job.
        shard: its id.
        tokens: token ids in it.
        send: sends one shard's message.

    Returns:
        False where nothing was sent, because the shard is in the ledger already, or dead, or its job is cancelled.

    Raises:
        redis.RedisError: the server can't be asked now; `send` may raise other errors.
    """
    member = Member(directory.key, shard)
    if not ledger.enter(member, tokens, str(directory.path)):
        return False
    if directory.dead(shard).exists() or directory.cancelled.exists():
        # It died or was cancelled after the caller looked; that is recorded before the shard leaves the ledger.
        ledger.remove(member)
        return False
    send(member)
    return True


def enter_waiting(ledger: Ledger, directory: JobDirectory, send: Send, manifest: Manifest | None = None) -> int:
    """Enter every waiting shard of a job: its rows are spooled, it is not published, and it is not dead.

    This is safe at any time, and from several processes at once, because a shard that is in the ledger stays as it is.
    Nothing is entered of a job that is cancelled. Rows that are not in the manifest, because their producer died before
    it wrote their line, are not a shard yet.

    Args:
        ledger: of the job's model.
        directory: of the job.
        send: sends one shard's message.
        manifest: of the job; None to read it.

    Returns:
        How many shards were entered.

    Raises:
        JobError: the manifest is damaged.
        TransientError: the directory can't be read now.
        redis.RedisError: the server can't be asked now; `send` may raise other errors.
    """
    if directory.cancelled.exists():
        return 0
    run = ledger.server_run()
    cut = {entry.shard for entry in (manifest or read_manifest(directory.path)).entries}
    # In this order, so that the second look finds a shard that is published between the two.
    waiting = directory.waiting() & cut
    done = directory.published() | directory.given_up()
    entered = 0
    for shard in sorted(waiting - done):
        try:
            tokens = payload.read_header(directory.pending(shard)).tokens
        except FileNotFoundError:
            continue  # it was published a moment ago
        except OSError as error:
            raise TransientError(f"{directory.path}: spooled rows can't be read: {error}") from error
        entered += enter(ledger, directory, shard, tokens, send)
    ledger.mark_entered(directory.key, run)
    return entered
