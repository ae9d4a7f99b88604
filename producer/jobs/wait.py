"""Waiting for a job, and mending it meanwhile, so that it completes whatever became of the broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producer.jobs.diagnosis import hints
from producer.jobs.status_reader import StatusReader
from producer.queue.client import refused
from producer.queue.shard_queue import AWAY, ShardQueue
from unrolled.errors import JobError
from unrolled.queue.broker_errors import refuses
from unrolled.queue.broker_url import without_secret
from unrolled.queue.entering import enter_waiting
from unrolled.store.hidden_file import sweep_leftovers

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus
    from producer.terminal.progress import Progress
    from unrolled.job.directory import JobDirectory

#: How long something must stand in the way before a person is told.
PATIENCE_SECONDS = 10.0
#: A look at a directory of 100,000 files takes a while: rest at least so many times longer.
_REST = 4


def wait_for_job(
    directory: JobDirectory,
    broker: str | None,
    namespace: str,
    bar: Progress,
    *,
    until: float | None = None,
    every_seconds: float = 0.5,
) -> JobStatus:
    """Wait until the job is complete; its last status.

    Args:
        directory: of the job.
        broker: Redis URL; None to watch the directory alone.
        namespace: prefix of every key.
        bar: shown how far it is, told what stands in the way.
        until: on the monotonic clock, when to give up; None for never.
        every_seconds: between two looks, at least.

    Raises:
        JobError: the job was cancelled.
        UnrolledError: the manifest is damaged, the directory can't be read, or the broker refuses this user.
    """
    queue = ShardQueue(broker, namespace, directory.job.fingerprint, say=bar.say) if broker else None
    reader = StatusReader(directory, queue.ledger if queue else None)
    teller = _Teller(bar, broker)
    try:
        while True:
            began = time.monotonic()
            status = reader.read()
            bar.update(done_tokens=status.tokens_done, done_rows=status.rows_done, total_tokens=status.tokens)
            if status.complete:
                sweep_leftovers(directory.path, 0)  # of workers that died; nobody publishes here any more
            if status.complete and queue:
                _forget(queue, directory)
            if status.cancelled and not status.complete:
                raise JobError(f"{directory.path}: {hints(status)['cancelled']}")
            if status.complete or (until is not None and time.monotonic() >= until):
                return status
            teller.tell(status)
            if queue:
                _mend(queue, directory, status, teller)
            pause = max(every_seconds, _REST * (time.monotonic() - began))
            time.sleep(pause if until is None else max(0.0, min(pause, until - time.monotonic())))
    except AWAY as error:
        if refuses(error):
            raise refused(broker or "", error) from error
        raise
    finally:
        if queue:
            queue.close()


def _forget(queue: ShardQueue, directory: JobDirectory) -> None:
    """Let Redis forget a job that is done, unless a worker has yet to take its last shard out of the ledger."""
    try:
        if not queue.ledger.members(directory.key)[0]:
            queue.ledger.forget(directory.key)
    except AWAY:
        return  # a few bytes stay behind


def _mend(queue: ShardQueue, directory: JobDirectory, status: JobStatus, teller: _Teller) -> None:
    """Enter again what Redis lost: all of the job, or what its last second before a crash held."""
    if not status.lost:
        return
    try:
        count = enter_waiting(queue.ledger, directory, queue.send)
    except AWAY as error:
        if refuses(error):
            raise
        return  # the next look says so
    if count:
        teller.say(f"Redis lost {count:,} waiting shard(s); they are entered again")
    elif not directory.waiting() - directory.published() - directory.given_up():
        teller.tell_of_lost_rows(status.lost)


class _Teller:
    """Says each thing that stands in the way once, when it has for a while."""

    def __init__(self, bar: Progress, broker: str | None) -> None:
        self._bar = bar
        self._broker = without_secret(broker) if broker else ""
        self._since: dict[str, float] = {}
        self._told: set[str] = set()
        self._away_since: float | None = None

    def tell(self, status: JobStatus) -> None:
        """Look at a status, and say what is new."""
        now = time.monotonic()
        if status.away and self._away_since is None:
            self._away_since = now
            self._bar.say(f"broker {self._broker} is away ({status.away}); trying again until it is back")
        elif not status.away and self._away_since is not None:
            self._bar.say(f"broker {self._broker} is back after {now - self._away_since:.0f} s")
            self._away_since = None
        # What is lost or missing is mended here, so nobody need be told how.
        ways = {kind: text for kind, text in hints(status).items() if kind in ("dead", "worker", "input")}
        self._since = {kind: self._since.get(kind, now) for kind in ways}
        for kind, since in self._since.items():
            if now - since >= PATIENCE_SECONDS and kind not in self._told:
                self._told.add(kind)
                self._bar.say(ways[kind])

    def say(self, line: str) -> None:
        """Say something at once."""
        self._bar.say(line)

    def tell_of_lost_rows(self, shards: int) -> None:
        """Say once that shards can't be entered again, for nothing is spooled of them."""
        if "rows" not in self._told:
            self._told.add("rows")
            self._bar.say(
                f"the rows of {shards:,} waiting shard(s) are not in _pending any more; "
                "give the same `unrolled enqueue` command again: it cuts them anew"
            )
