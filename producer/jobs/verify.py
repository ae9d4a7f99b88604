"""Is every input row published exactly once? A job's files, read whole and compared with its manifest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producer.jobs.shard_check import Problem, ShardCheck, check_shard
from producer.jobs.stray_files import find_leftovers, find_strays
from unrolled.job.manifest import NAME as MANIFEST
from unrolled.job.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Entry
    from unrolled.job.shard_id import ShardId

#: Parts read at once: one is decoded while the next is fetched.
THREADS = 2
#: Entries handed to the threads at a time, so that memory stays flat whatever the number of shards.
_AT_A_TIME = 256
_NOT_ENDED = "the input wasn't read to its end; run the same `unrolled enqueue` command again"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found, counted from the files.

    Attributes:
        rows_in: input rows in the manifest.
        rows_out: rows in sound parts.
        quarantined: rows that the producer listed.
        failed: rows that the engine failed on.
        tokens: real tokens in sound parts.
        files: sound parts.
        kinds: "engine arithmetic" of the parts; several are no problem, but worth knowing.
        problems: what is wrong; none where the job is complete and sound.
        notes: what is untidy and harmless.
    """

    rows_in: int
    rows_out: int
    quarantined: int
    failed: int
    tokens: int
    files: int
    kinds: tuple[str, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def verify_job(directory: JobDirectory, each: Callable[[int, int], None] = lambda *_: None) -> Verification:
    """Check a job: every manifest entry has its part, whole, with its rows, and nothing else is there.

    Checked of each part: its seal, which no flipped bit passes; what `inspect_part` checks; and fingerprint, job,
    shard, rows, tokens, the digest of ids and masks (rows that the engine failed on put back in their places), width
    and columns. Not checked: that the vectors are the model's.

    Args:
        directory: of the job.
        each: called after each shard with the tokens that are checked, and with those of all shards.

    Raises:
        JobError: the manifest itself is damaged.
        TransientError: the directory can't be read now.
    """
    manifest = read_manifest(directory.path)
    all_tokens, checked_tokens = manifest.tokens, 0
    totals = _Totals()
    if not manifest.ended:
        totals.problems.append(Problem(MANIFEST, _NOT_ENDED))
    for entry, checked in _check_all(directory, manifest.entries):
        totals.add(entry, checked)
        checked_tokens += entry.tokens
        each(checked_tokens, all_tokens)
    totals.problems += totals.mixed_widths()
    shards = {entry.shard for entry in manifest.entries}
    totals.problems += [Problem(name, what) for name, what in find_strays(directory, shards)]
    rows_out = totals.rows + totals.quarantined + totals.failed
    if not totals.problems and rows_out != manifest.rows:
        totals.problems.append(Problem(MANIFEST, f"{manifest.rows:,} rows went in, {rows_out:,} came out"))
    return totals.verification(manifest.rows, tuple(find_leftovers(directory, shards)))


@dataclass(slots=True)
class _Totals:
    """Sums over the shards; `widths` holds, for each set of widths, the first shard that has it."""

    rows: int = 0
    tokens: int = 0
    files: int = 0
    quarantined: int = 0
    failed: int = 0
    kinds: set[str] = field(default_factory=set)
    widths: dict[tuple[int, ...], ShardId] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, entry: Entry, checked: ShardCheck) -> None:
        self.problems += checked.problems
        self.quarantined += checked.quarantined
        self.failed += checked.failed
        if (contents := checked.contents) is not None:
            self.rows += contents.rows
            self.tokens += contents.tokens
            self.files += 1
            self.kinds.add(f"{contents.info.engine} {contents.info.arithmetic}")
            self.widths.setdefault(tuple(column.width for column in contents.columns), entry.shard)

    def verification(self, rows_in: int, notes: tuple[str, ...]) -> Verification:
        return Verification(
            rows_in=rows_in,
            rows_out=self.rows,
            quarantined=self.quarantined,
            failed=self.failed,
            tokens=self.tokens,
            files=self.files,
            kinds=tuple(sorted(self.kinds)),
            problems=tuple(self.problems),
            notes=notes,
        )

    def mixed_widths(self) -> Iterator[Problem]:
        if len(self.widths) > 1:
            found = (f"{', '.join(map(str, widths))} in {shard}" for widths, shard in sorted(self.widths.items()))
            yield Problem("*.parquet", f"vectors are of different widths: {', '.join(found)}")


def _check_all(directory: JobDirectory, entries: tuple[Entry, ...]) -> Iterator[tuple[Entry, ShardCheck]]:
    """Check entries in order, some at the same time."""
    published, dead = directory.published(), directory.given_up()

    def check(entry: Entry) -> ShardCheck:
        return check_shard(directory, entry, published=entry.shard in published, dead=entry.shard in dead)

    with ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(entries), _AT_A_TIME):
            some = entries[start : start + _AT_A_TIME]
            yield from zip(some, threads.map(check, some), strict=True)
