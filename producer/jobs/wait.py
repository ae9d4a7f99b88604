"""Waiting for a job, and entering again what Redis lost of it, so that it completes whatever happens to the broker."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

from producer.jobs.diagnosis import diagnose
from producer.jobs.status_reader import StatusReader
from producer.queue.shard_queue import ShardQueue
from unrolled.errors import JobError, TransientError
from unrolled.patience import Patience
from unrolled.queue.entering import enter_waiting
from unrolled.store.hidden_file import sweep_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.jobs.status import JobStatus
    from producer.terminal.progress import Progress
    from unrolled.job.directory import JobDirectory

#: How long something must be in the way before `wait` says so.
PATIENCE_SECONDS = 10.0
#: A look at a directory of 100,000 files takes a while: rest at least this many times longer.
_REST = 4


def wait_for_job(
    directory: JobDirectory,
    broker: str | None,
    namespace: str,
    bar: Progress,
    *,
    until: float = math.inf,
    every_seconds: float = 0.5,
) -> JobStatus:
    """Wait until the job is complete. A broker or a directory that is away is waited for.

    Args:
        directory: of the job.
        broker: URL of the Redis server; None to watch the directory alone.
        namespace: prefix of every key.
        bar: shows how far the job is, and what is in the way.
        until: when to give up, on the monotonic clock.
        every_seconds: between two looks, at least.

    Returns:
        The job's last status.

    Raises:
        JobError: the job was cancelled, or its manifest is damaged.
        TransientError: the directory couldn't be read even once before `until`.
        BrokerRefusesError: the broker doesn't let this user in or do this.
    """
    patience = Patience(bar.say)
    queue = ShardQueue(directory, broker, namespace, patience) if broker else None
    reader = StatusReader(directory, queue.broker if queue else None, namespace)
    obstacles = _Obstacles(patience)
    with contextlib.closing(queue) if queue else contextlib.nullcontext():
        for status in _looks(reader, patience, directory, until, every_seconds):
            bar.update(done_tokens=status.tokens_done, done_rows=status.rows_done, total_tokens=status.tokens)
            if _is_over(status, until):
                _tidy_up(queue, directory, status)
                break
            obstacles.look(status)
            if queue and status.lost:
                _enter_again(queue, directory, status.lost, obstacles)
    return status


def _looks(
    reader: StatusReader, patience: Patience, directory: JobDirectory, until: float, every_seconds: float
) -> Iterator[JobStatus]:
    """Look at the job again and again, until `until` if the directory is away then.

    Raises:
        TransientError: it was away all the time.
    """
    found = False
    while True:
        began = time.monotonic()
        try:
            yield patience.until_done(f"look at {directory.path}", reader.read, until)
        except TransientError:
            if found:
                return
            raise
        found = True
        pause = max(every_seconds, _REST * (time.monotonic() - began))
        time.sleep(max(0.0, min(pause, until - time.monotonic())))


def _is_over(status: JobStatus, until: float) -> bool:
    """Whether the waiting is over.

    Raises:
        JobError: the job was cancelled.
    """
    if status.cancelled and not status.complete:
        raise JobError(f"{status.out}: {diagnose(status)['cancelled']}")
    return status.complete or time.monotonic() >= until


def _tidy_up(queue: ShardQueue | None, directory: JobDirectory, status: JobStatus) -> None:
    """Remove what workers that died left of a complete job, and let Redis forget it. Either may stay without harm."""
    if not status.complete:
        return
    with contextlib.suppress(TransientError):
        sweep_leftovers(directory.path, 0)  # the job is complete, so no worker publishes here
    if queue:
        with contextlib.suppress(TransientError), queue.broker.asked():
            if not queue.ledger.members(directory.key)[0]:  # else a worker has yet to take its last shard out
                queue.ledger.forget(directory.key)


def _enter_again(queue: ShardQueue, directory: JobDirectory, lost: int, obstacles: _Obstacles) -> None:
    """Enter again what Redis lost: all of the job, or what its last second before a crash held."""
    try:
        with queue.broker.asked():
            count = enter_waiting(queue.ledger, directory, queue.send)
        without_rows = not count and not directory.waiting() - directory.published() - directory.given_up()
    except TransientError:
        return  # the next look says so
    if count:
        obstacles.say(f"Redis lost {count:,} waiting shard(s); they are entered again")
    elif without_rows:
        obstacles.say_once(
            "rows",
            f"the rows of {lost:,} waiting shard(s) are not in _pending any more; "
            "run the same `unrolled enqueue` command again, which cuts them again",
        )


class _Obstacles:
    """Says each thing that is in the way once, when it has been for a while."""

    def __init__(self, patience: Patience) -> None:
        self.say = patience.say
        self._patience = patience
        self._since: dict[str, float] = {}
        self._said: set[str] = set()

    def look(self, status: JobStatus) -> None:
        """Say what is new in a status."""
        if status.away:
            self._patience.fails("see the queue", status.away)
        else:
            self._patience.works("see the queue")
        now = time.monotonic()
        # `wait` itself enters again what Redis lost, so a person needn't.
        ways = {kind: text for kind, text in diagnose(status).items() if kind in ("dead", "worker", "input")}
        self._since = {kind: self._since.get(kind, now) for kind in ways}
        for kind, since in self._since.items():
            if now - since >= PATIENCE_SECONDS:
                self.say_once(kind, ways[kind])

    def say_once(self, kind: str, line: str) -> None:
        """Say something, unless something of its kind was said."""
        if kind not in self._said:
            self._said.add(kind)
            self.say(line)
