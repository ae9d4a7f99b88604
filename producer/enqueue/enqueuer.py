"""From cuts to queued shards. Run again, it continues where the last run ended."""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from producer.enqueue.shard import make_shard
from producer.enqueue.summary import Summary
from unrolled.errors import JobError
from unrolled.job.manifest import Manifest, ManifestWriter, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from producer.enqueue.cutter import Cut
    from producer.enqueue.shard import Shard
    from producer.queue.shard_queue import ShardQueue
    from unrolled.job.directory import JobDirectory
    from unrolled.job.shard_id import ShardId
    from unrolled.patience import Patience


@contextmanager
def open_enqueuer(
    directory: JobDirectory, patience: Patience, *, live: bool, each: Callable[[Summary], None]
) -> Iterator[Enqueuer]:
    """Be the only producer of a job's directory. A job that was cancelled is computed again.

    Args:
        directory: of the job.
        patience: waits for a disk that is full or away, and says so.
        live: whether the input continues where the last run ended, rather than being read from its start.
        each: called after each shard with the summary so far.

    Raises:
        JobError: another producer is running, or the manifest is damaged.
    """
    look = partial(patience.until_done, f"look at {directory.path}")
    with directory.lock():
        look(directory.resume)
        known = look(partial(read_manifest, directory.path))
        look(partial(directory.discard_strays, {entry.shard for entry in known.entries}))
        published = look(directory.published)
        with closing(look(partial(ManifestWriter, directory.path))) as manifest:
            yield Enqueuer(directory, known, manifest, published, patience, live=live, each=each)


class Enqueuer:
    """Makes shards of cuts and brings each to the queue, unless it is published or dead.

    Every shard is spooled, then written to the manifest, then entered: after a crash at any point, the next run of
    the same command continues there.

    Args:
        directory: of the job.
        known: the manifest as earlier runs left it.
        manifest: where new shards are written.
        published: shards that have their part.
        patience, live, each: as in `open_enqueuer`.

    Attributes:
        rows_before: input rows that earlier runs of a live input have cut; 0 for other inputs.
    """

    def __init__(
        self,
        directory: JobDirectory,
        known: Manifest,
        manifest: ManifestWriter,
        published: set[ShardId],
        patience: Patience,
        *,
        live: bool,
        each: Callable[[Summary], None],
    ) -> None:
        self._directory = directory
        self._known = known
        self._manifest = manifest
        self._published = published
        self._patience = patience
        self._live = live
        self._each = each
        self._summary = Summary()
        self.rows_before = known.rows if live else 0

    def run(self, cuts: Iterable[Cut], queue: ShardQueue) -> Summary:
        """Bring every cut to the queue and write in the manifest that the input ended.

        Raises:
            JobError: the input isn't what it was when this job began.
            UnrolledError: the broker refuses this user, or the input can't be read.
        """
        for entered in queue.fill(self._spooled(cuts), self._known):
            self._summary.sent += entered
        return self._summary

    def _spooled(self, cuts: Iterable[Cut]) -> Iterator[tuple[ShardId, int]]:
        """Yield the shards that belong in the queue, each when it is durable: its id and its token ids."""
        before, directory, steadily = len(self._known.entries), self._directory, self._patience.until_done
        index = before if self._live else 0
        for cut in cuts:
            shard = self._checked(make_shard(index, cut))
            known = index < before
            index += 1
            if shard.id in self._published:
                self._summary.published += 1
            elif known and directory.dead(shard.id).exists():
                self._summary.dead += 1
            else:
                steadily("spool shards", partial(directory.spool, shard.id, shard.blob, shard.bad_rows))
                if not known:
                    steadily("write the manifest", partial(self._manifest.append, shard.entry))
                yield shard.id, shard.size
            self._each(self._summary)
        if index < before:
            raise self._changed(f"it ends {before - index} shard(s) earlier")
        if index > before or not self._known.ended:
            rows = self.rows_before + self._summary.rows
            steadily("write the manifest", lambda: self._manifest.end(shards=index, rows=rows))

    def _checked(self, shard: Shard) -> Shard:
        """Count a shard that is what it was when an earlier run cut it.

        Raises:
            JobError: it is another one, or comes after the end.
        """
        entry, before = shard.entry, self._known.entries
        self._summary.shards += 1
        self._summary.rows += entry.rows + entry.quarantined
        self._summary.tokens += entry.tokens
        self._summary.quarantined += entry.quarantined
        index = entry.shard.index
        if index < len(before) and before[index] != entry:
            old = before[index]
            raise self._changed(
                f"shard {index} began at {old.file} row {old.position} with content {old.shard}, "
                f"now at {entry.file} row {entry.position} with {entry.shard}"
            )
        if index >= len(before) and self._known.ended and not self._live:
            raise self._changed(
                f"it ended after {len(before)} shard(s), now it continues at {entry.file} row {entry.position}"
            )
        return shard

    def _changed(self, how: str) -> JobError:
        return JobError(
            f"{self._directory.path}: the input has changed since this job began: {how}. "
            "Restore the input, or use another --out"
        )
