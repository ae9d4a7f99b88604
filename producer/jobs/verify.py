"""Is every input row published exactly once? A job's files, read whole and held against its manifest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.jobs.quarantine_lists import digest_with, read_failed, read_quarantine
from producer.jobs.stray_files import find_leftovers, find_strays
from unrolled.errors import UnrolledError
from unrolled.format.output_spec import OutputSpec
from unrolled.format.seal import check_seal
from unrolled.job.manifest import read_manifest
from unrolled.reading.inspection import inspect_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producer.jobs.quarantine_lists import FailedRow
    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.reading.inspection import PartContents

#: Files read at once: one is decoded while the next is fetched.
THREADS = 2
#: Entries handed to the threads at a time, so that memory stays flat whatever the number of shards.
_AT_A_TIME = 256
_AGAIN = "remove the file and give the same `unrolled enqueue` again"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be.

    Attributes:
        where: a file name in the job's directory, or a shard's id.
        what: was found, and what to do.
    """

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found, counted from the files.

    Attributes:
        rows_in: input rows by the manifest.
        rows_out: rows in whole files.
        quarantined: rows that the producer listed.
        failed: rows that the engine failed on.
        tokens: real tokens in whole files.
        files: whole files.
        kinds: "engine arithmetic" of the files; several are no problem, but worth knowing.
        problems: all that must not be, none where the job is complete and sound.
        notes: what is untidy, but harms nobody.
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


@dataclass(frozen=True, slots=True)
class _Checked:
    """One manifest entry: what its file holds, None where there is none or it can't be trusted."""

    contents: PartContents | None
    quarantined: int
    failed: int
    problems: tuple[Problem, ...]


def verify_job(directory: JobDirectory, each: Callable[[int], None] = lambda _: None) -> Verification:
    """Check a job: every manifest entry has its file, whole, with its rows, and nothing else is there.

    Checked of each file: its seal, which no flipped bit passes; what `inspect_part` checks; and fingerprint, job,
    shard, rows, tokens, the digest of ids and masks (rows that the engine failed on put back in their places), width
    and columns. Not checked: that the vectors are the model's.

    Args:
        directory: of the job.
        each: called after each shard with its tokens.

    Raises:
        JobError: the manifest itself is damaged.
        TransientError: the directory can't be read now.
    """
    manifest = read_manifest(directory.path)
    problems: list[Problem] = []
    if not manifest.ended:
        problems.append(
            Problem("_manifest.jsonl", "the input wasn't read to its end; give the same `unrolled enqueue` again")
        )
    rows = tokens = files = quarantined = failed = 0
    kinds: set[str] = set()
    widths: dict[tuple[int, ...], ShardId] = {}
    for entry, checked in _check_all(directory, manifest.entries):
        problems += checked.problems
        quarantined += checked.quarantined
        failed += checked.failed
        if (contents := checked.contents) is not None:
            rows, tokens, files = rows + contents.rows, tokens + contents.tokens, files + 1
            kinds.add(f"{contents.info.engine} {contents.info.arithmetic}")
            widths.setdefault(tuple(column.width for column in contents.columns), entry.shard)
        each(entry.tokens)
    if len(widths) > 1:
        found = ", ".join(f"{', '.join(map(str, each))} in {shard}" for each, shard in sorted(widths.items()))
        problems.append(Problem("*.parquet", f"vectors are of different widths: {found}"))
    shards = {entry.shard for entry in manifest.entries}
    problems += [Problem(name, what) for name, what in find_strays(directory, shards)]
    if not problems and rows + quarantined + failed != manifest.rows:
        problems.append(
            Problem("_manifest.jsonl", f"{manifest.rows:,} rows went in, {rows + quarantined + failed:,} came out")
        )
    notes = tuple(find_leftovers(directory, shards))
    return Verification(
        manifest.rows, rows, quarantined, failed, tokens, files, tuple(sorted(kinds)), tuple(problems), notes
    )


def _check_all(directory: JobDirectory, entries: tuple[Entry, ...]) -> Iterator[tuple[Entry, _Checked]]:
    """Check entries in order, some at the same time."""
    published, dead = directory.published(), directory.given_up()

    def check(entry: Entry) -> _Checked:
        return _check_entry(directory, entry, published=entry.shard in published, dead=entry.shard in dead)

    with ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(entries), _AT_A_TIME):
            some = entries[start : start + _AT_A_TIME]
            yield from zip(some, threads.map(check, some), strict=True)


def _check_entry(directory: JobDirectory, entry: Entry, *, published: bool, dead: bool) -> _Checked:
    bad_rows, problems = read_quarantine(directory, entry)
    found = [Problem(f"_quarantine/{entry.shard}.jsonl", what) for what in problems]
    if not published:
        what = (
            f"was given up, the reason is in _dead/{entry.shard}.json: unrolled retry {directory.path}"
            if dead
            else f"isn't published: unrolled wait {directory.path}, or the same `unrolled enqueue` again"
        )
        return _Checked(None, bad_rows, 0, (*found, Problem(str(entry.shard), what)))
    name = directory.part(entry.shard).name
    try:
        failed = read_failed(directory, entry)
        contents = inspect_part(directory.part(entry.shard))
        wrong = list(_contradictions(directory, entry, contents, failed))
        if not wrong:  # last, for the others can say more of what is wrong
            check_seal(directory.part(entry.shard))
    except UnrolledError as error:
        return _Checked(None, bad_rows, 0, (*found, Problem(name, _short(error, directory))))
    except Exception as error:  # noqa: BLE001 - no damage to a file, however odd, may end the check of the others
        return _Checked(None, bad_rows, 0, (*found, Problem(name, f"can't be read: {type(error).__name__}: {error}")))
    return _Checked(
        contents if not wrong else None,
        bad_rows,
        len(failed),
        (*found, *(Problem(name, what) for what in wrong)),
    )


def _contradictions(
    directory: JobDirectory, entry: Entry, contents: PartContents, failed: list[FailedRow]
) -> Iterator[str]:
    """What a file holds, against what its manifest entry promises."""
    info, job = contents.info, directory.job
    tokens = contents.tokens + sum(int(row.mask.sum()) for row in failed)
    digest = digest_with(directory.part(entry.shard), failed) if failed else contents.digest
    spec = OutputSpec.from_options(job.options)
    for what, found, expected in (
        ("model", info.model_fingerprint, job.fingerprint),
        ("job", info.job, job.id),
        ("shard", info.shard, entry.shard),
        ("rows, with those the engine failed on", contents.rows + len(failed), entry.rows),
        ("real tokens, with those of rows the engine failed on", tokens, entry.tokens),
        ("columns", ", ".join(contents.spec.names()), ", ".join(spec.names())),
        ("stored precision", contents.spec.precision, spec.precision),
        ("tokens stored", contents.spec.with_tokens, spec.with_tokens),
    ):
        if found != expected:
            yield f"{what}: found {found}, the job says {expected}; {_AGAIN}"
    if contents.rows + len(failed) == entry.rows and digest != entry.digest:
        yield f"holds other rows than were cut; {_AGAIN}"


def _short(error: Exception, directory: JobDirectory) -> str:
    """The error's text without the path that stands before it anyway."""
    return str(error).replace(f"{directory.path}/", "")
