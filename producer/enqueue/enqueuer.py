"""From rows to queued shards, again and again to the same effect."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.enqueue.shard import make_shard, spool
from unrolled.errors import JobError
from unrolled.job.manifest import ManifestWriter, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from producer.enqueue.cutter import Cut, Cutter
    from producer.enqueue.shard import Shard
    from producer.queue.shard_queue import ShardQueue
    from producer.rows import BadRow, Row
    from unrolled.job.directory import JobDirectory
    from unrolled.patience import Patience


@dataclass(slots=True)
class Summary:
    """What `enqueue` did.

    Attributes:
        rows: input rows read, the bad ones included.
        tokens: real tokens in them.
        quarantined: bad rows.
        shards: cut from the input.
        sent: shards entered by this run.
        published: shards that had their file already.
        dead: shards that were given up before; `retry` brings them back.
    """

    rows: int = 0
    tokens: int = 0
    quarantined: int = 0
    shards: int = 0
    sent: int = 0
    published: int = 0
    dead: int = 0


def cuts(batches: Iterable[list[Row | BadRow]], cutter: Cutter, flush_seconds: float | None) -> Iterator[Cut]:
    """Cut a stream of rows.

    Args:
        batches: of rows; a live input gives empty ones while nothing arrives.
        cutter: decides where a shard is full.
        flush_seconds: on a live input, how long the first row of a shard may wait for more; None elsewhere,
            so that the cuts depend on the rows alone.
    """
    waiting_since = 0.0
    for batch in batches:
        if cutter.empty:
            waiting_since = time.monotonic()
        for cut in cutter.add(batch):
            yield cut
            waiting_since = time.monotonic()
        if flush_seconds is not None and time.monotonic() - waiting_since >= flush_seconds:
            yield from cutter.flush()
    yield from cutter.flush()


class Enqueuer:
    """Makes shards of cuts and brings each to the queue, unless it is published or dead.

    Every shard is spooled, then written to the manifest, then entered: whatever crashes, the next run of the
    same command finds where it was.

    Args:
        directory: of the job; the caller holds its lock.
        queue: where shards go.
        patience: waits for a disk that is full or away, and says so.
        live: whether the input goes on where the last run ended, rather than being read from its start.
        each: called after each shard with the summary so far.
    """

    def __init__(
        self,
        directory: JobDirectory,
        queue: ShardQueue,
        patience: Patience,
        *,
        live: bool,
        each: Callable[[Summary], None],
    ) -> None:
        self.summary = Summary()
        self._directory = directory
        self._queue = queue
        self._patience = patience
        self._each = each
        self._known = read_manifest(directory.path)
        self._live = live
        self._index = len(self._known.entries) if live else 0
        self._discard_strays()
        self._done = directory.published()

    def run(self, stream: Iterable[Cut]) -> Summary:
        """Bring every cut to the queue and say in the manifest that the input ended.

        What earlier runs left unentered is entered first: a live input doesn't bring it again.

        Raises:
            JobError: the input isn't what it was when this job began.
            UnrolledError: the broker refuses this user, or the input can't be read.
        """
        manifest = ManifestWriter(self._directory.path)
        try:
            self.summary.sent += self._queue.enter_waiting(self._directory)
            for cut in stream:
                self._bring(make_shard(self._index, cut), manifest)
                self._index += 1
                self._each(self.summary)
            self._check_end()
            if not self._known.ended or self._index > len(self._known.entries):
                rows = self.summary.rows + (self._known.rows if self._live else 0)
                self._steadily(lambda: manifest.end(shards=self._index, rows=rows))
            self._queue.mend(self._directory)
        finally:
            manifest.close()
        return self.summary

    def _discard_strays(self) -> None:
        """Remove what a run spooled that died before it was in the manifest: those rows are read again."""
        cut = {entry.shard for entry in self._known.entries}
        for shard in self._directory.waiting() - cut:
            self._directory.discard_pending(shard)
        for shard in self._directory.quarantined() - cut:
            self._directory.discard_quarantine(shard)

    def _bring(self, shard: Shard, manifest: ManifestWriter) -> None:
        self._count(shard)
        known = self._index < len(self._known.entries)
        if known and self._known.entries[self._index] != shard.entry:
            raise self._changed(shard)
        if not known and self._known.ended and not self._live:
            raise self._grown(shard)
        if shard.id in self._done:
            self.summary.published += 1
            return
        if self._directory.dead(shard.id).exists():
            self.summary.dead += 1
            return
        # Pending before part: a worker publishes before it removes the rows.
        if not self._directory.pending(shard.id).exists() and not self._directory.part(shard.id).exists():
            self._steadily(lambda: spool(self._directory, shard))
        if not known:
            self._steadily(lambda: manifest.append(shard.entry))
        self.summary.sent += self._queue.put(self._directory, shard.id, shard.size)

    def _steadily(self, action: Callable[[], object]) -> None:
        self._patience.until_done("spool shards", action)

    def _count(self, shard: Shard) -> None:
        self.summary.shards += 1
        self.summary.rows += shard.entry.rows + shard.entry.quarantined
        self.summary.tokens += shard.entry.tokens
        self.summary.quarantined += shard.entry.quarantined

    def _changed(self, shard: Shard) -> JobError:
        before = self._known.entries[self._index]
        return JobError(
            f"{self._directory.path}: the input has changed since this job began: shard {self._index} began "
            f"at {before.file} row {before.position} with content {before.shard}, now at {shard.entry.file} "
            f"row {shard.entry.position} with {shard.id}. Restore the input, or use another --out"
        )

    def _grown(self, shard: Shard) -> JobError:
        return JobError(
            f"{self._directory.path}: the input has changed since this job began: it ended after "
            f"{len(self._known.entries)} shard(s), now it goes on at {shard.entry.file} row "
            f"{shard.entry.position}. Restore it, or use another --out"
        )

    def _check_end(self) -> None:
        missing = len(self._known.entries) - self._index
        if missing > 0:
            raise JobError(
                f"{self._directory.path}: the input has changed since this job began: it ends {missing} "
                "shard(s) earlier. Restore it, or use another --out"
            )
