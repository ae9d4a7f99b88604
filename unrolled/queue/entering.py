"""From a job's directory into Redis: what waits there is entered in the ledger, and its message is sent."""

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
    """Enter one spooled shard and send its message; False where it is in the ledger, dead, or cancelled.

    Args:
        ledger: of the job's model.
        directory: of the job.
        shard: its id.
        tokens: token ids in it.
        send: sends one shard's message.
    """
    member = Member(directory.key, shard)
    if not ledger.enter(member, tokens, str(directory.path)):
        return False
    if directory.dead(shard).exists() or directory.cancelled.exists():
        # It may have come to that since the caller looked; its record came before it left the ledger.
        ledger.remove(member)
        return False
    send(member)
    return True


def enter_waiting(ledger: Ledger, directory: JobDirectory, send: Send, manifest: Manifest | None = None) -> int:
    """Enter every shard of a job that has rows spooled, no file, and isn't dead; how many there were.

    A job that was cancelled is left alone.

    Safe at any time and from several processes at once: a shard in the ledger stays as it is. Rows that
    were spooled by a producer that died before it wrote their manifest line are no shard yet, and left alone.

    Args:
        ledger: of the job's model.
        directory: of the job.
        send: sends one shard's message.
        manifest: of the job; None to read it.

    Raises:
        JobError: the manifest is damaged.
        TransientError: the directory can't be read now.
    """
    if directory.cancelled.exists():
        return 0
    run = ledger.server_run()
    cut = {entry.shard for entry in (manifest or read_manifest(directory.path)).entries}
    # In this order: a shard that is published between the two looks is found by the second.
    waiting = directory.waiting() & cut
    done = directory.published() | directory.given_up()
    entered = 0
    for shard in sorted(waiting - done):
        try:
            tokens = payload.read_header(directory.pending(shard)).tokens
        except FileNotFoundError:
            continue  # published a moment ago
        except OSError as error:
            raise TransientError(f"{directory.path}: spooled rows can't be read: {error}") from error
        entered += enter(ledger, directory, shard, tokens, send)
    ledger.mark_entered(directory.key, run)
    return entered
