"""From a job's directory back into Redis: what waits there is entered and sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled import payload
from unrolled.manifest import read_manifest
from unrolled.messages import member_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.job import JobDirectory
    from unrolled.ledger import Ledger


def enter_waiting(ledger: Ledger, directory: JobDirectory, send: Callable[[str, str], None]) -> int:
    """Enter every shard of a job that has rows spooled, no file, and isn't dead; how many there were.

    Safe at any time and from several processes at once: a shard that is in the ledger stays as it is. Rows that were
    spooled by a producer that died before it wrote their manifest line are no shard yet, and left alone.

    Args:
        ledger: of the job's model.
        directory: of the job.
        send: sends one shard's message: (job key, shard id).
    """
    cut = {entry.shard for entry in read_manifest(directory.path).entries}
    shards = sorted((directory.waiting() & cut) - directory.published() - directory.given_up())
    entered = 0
    for shard in shards:
        try:
            tokens = payload.tokens_claimed(directory.pending(shard))
        except FileNotFoundError:
            continue  # published a moment ago
        if ledger.submit(member_of(directory.key, shard), tokens, directory.key, str(directory.path)):
            send(directory.key, shard)
            entered += 1
    return entered
