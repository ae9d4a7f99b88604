"""Reading how far a job is: from its directory, and from its broker."""

from __future__ import annotations

import heapq
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.jobs.status import JobStatus, QueueStatus
from producer.jobs.worker_status import WorkerStatus
from unrolled.errors import BrokerAwayError, TransientError
from unrolled.job.manifest import NAME, Manifest, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.queue.broker import Broker

#: The speed is that of this many parts, those with the highest numbers.
RECENT_FILES = 32


class StatusReader:
    """Reads a job's status again and again at little cost: it reads the manifest only when that has grown.

    Args:
        directory: of the job.
        broker: where the job is queued; None to look at the directory alone.
        namespace: prefix of every key there.
    """

    def __init__(self, directory: JobDirectory, broker: Broker | None = None, namespace: str = "") -> None:
        self._directory = directory
        self._broker = broker
        self._ledger = broker.ledger(namespace, directory.job.fingerprint) if broker else None
        self._manifest = Manifest((), ended=False)
        self._manifest_size = -1
        self._entries: dict[ShardId, Entry] = {}
        self._failed: dict[ShardId, tuple[int, int]] = {}  # shard: when its list was written, and its length

    def read(self) -> JobStatus:
        """The status now; where the broker is away, what the directory shows.

        Raises:
            JobError: the manifest is damaged.
            TransientError: the directory can't be read now.
            BrokerRefusesError: the broker doesn't let this user in or do this.
        """
        # In this order: a shard that the manifest names and the ledger lacks is published or dead by then.
        try:
            self._read_manifest()
            members, away = self._ask()
            status, waiting = self._count()
        except OSError as error:
            raise TransientError(f"{self._directory.path}: can't be read now: {error}") from error
        if members is None:
            return replace(status, away=away)
        ledger, leases, workers = members
        running, missing = waiting & ledger & leases, waiting - ledger
        queued = len(waiting) - len(running) - len(missing)
        return replace(status, queue=QueueStatus(len(running), queued, len(missing), workers))

    def _read_manifest(self) -> None:
        path = self._directory.path / NAME
        size = path.stat().st_size if path.exists() else 0
        if size != self._manifest_size:
            self._manifest = read_manifest(self._directory.path)
            self._entries = {entry.shard: entry for entry in self._manifest.entries}
            self._manifest_size = size

    def _ask(self) -> tuple[tuple[set[ShardId], set[ShardId], tuple[WorkerStatus, ...]] | None, str | None]:
        if self._broker is None or self._ledger is None:
            return None, None
        try:
            with self._broker.asked():
                ledger, leases = self._ledger.members(self._directory.key)
                workers = self._ledger.workers()
        except BrokerAwayError as error:
            return None, str(error)
        found = tuple(WorkerStatus.parse(name, facts) for name, facts in sorted(workers.items()))
        return (ledger, leases, found), None

    def _count(self) -> tuple[JobStatus, set[ShardId]]:
        """The status as the directory shows it, and the shards that wait."""
        directory, manifest, entries = self._directory, self._manifest, self._entries
        given_up = directory.given_up() & entries.keys()
        done = directory.published() & entries.keys()
        dead = given_up - done
        failed = self._count_failed(done)
        rows = sum(entries[shard].rows for shard in done)
        status = JobStatus(
            out=str(directory.path),
            job=directory.job.id,
            fingerprint=directory.job.fingerprint,
            rows=manifest.rows,
            tokens=manifest.tokens,
            rows_done=rows + sum(entries[shard].quarantined for shard in done),
            tokens_done=sum(entries[shard].tokens for shard in done),
            rows_published=rows - failed,
            quarantined=sum(entry.quarantined for entry in manifest.entries),
            failed=failed,
            shards=len(entries),
            done=len(done),
            dead=len(dead),
            ended=manifest.ended,
            cancelled=directory.cancelled.exists(),
            tokens_per_second=self._speed(done),
        )
        return status, entries.keys() - done - dead

    def _count_failed(self, done: set[ShardId]) -> int:
        """Rows on the engine's lists. A list is read once, and again when it was replaced."""
        counted = 0
        for shard in self._directory.failing() & done:
            path = self._directory.quarantine(shard, engine=True)
            try:
                written = path.stat().st_mtime_ns
                if shard not in self._failed or self._failed[shard][0] != written:
                    self._failed[shard] = written, path.read_bytes().count(b"\n")
            except FileNotFoundError:
                continue  # the shard was computed again, without a failure
            counted += self._failed[shard][1]
        return counted

    def _speed(self, done: set[ShardId]) -> float | None:
        """Real tokens per second since the oldest of the last parts."""
        last = heapq.nlargest(RECENT_FILES, done)
        times = sorted((_modified(self._directory.part(shard)), shard) for shard in last)
        if len(times) < 2:  # noqa: PLR2004 - the two ends of a span
            return None
        # While shards wait, the time since the last part counts too, so that a standstill shows.
        end = times[-1][0] if len(done) == len(self._entries) else max(time.time(), times[-1][0])
        seconds = end - times[0][0]
        return sum(self._entries[shard].tokens for _, shard in times[1:]) / seconds if seconds > 0 else None


def _modified(path: Path) -> float:
    return path.stat().st_mtime
