"""Is every input row published exactly once? A job's parts, read whole and held against its log."""

# Over 150 lines: all that a job must be, in the order in which it is looked at.

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from producer.jobs.damage import explain_damage, explain_damaged_rows, explain_stray, read_once
from producer.jobs.decisions import has_damaged_rows
from producer.jobs.diagnosis import left_behind
from producer.jobs.quarantine_lists import refused_rows
from producer.jobs.tokens_read import TokensRead
from producer.jobs.whole_rows import called_failed, digest_with, remedy
from unrolled.errors import FileFormatError, MisplacedError, PayloadError, UnrolledError, as_argument, counted
from unrolled.format.output_spec import OutputSpec
from unrolled.job import names, payload
from unrolled.job.names import dead_object, failed_object, part_object, quarantine_object, rows_object
from unrolled.job.shard_keys import FIRST_RETRY
from unrolled.protocol.chapters import false_chapters, lone_chapters
from unrolled.protocol.gaps import LOST_SEGMENT, missing_segment
from unrolled.protocol.listing import find, find_dead
from unrolled.protocol.log import Log, catch_up, read_entries
from unrolled.protocol.spooling import select_rows
from unrolled.reading.inspection import inspect_part
from unrolled.settings.machine_memory import memory_note
from unrolled.store.posix import PosixStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from unrolled.job.segment import Entry
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.listing import Found
    from unrolled.protocol.objects import Objects
    from unrolled.protocol.opening import OpenJob
    from unrolled.reading.inspection import PartContents
    from unrolled.store.store import Store

#: Parts read at once: one is decoded while the next is fetched.
THREADS = 2
_OTHER_ROWS = "holds other rows than were cut; restore the part from a copy"
#: Entries handed to the threads at a time, so that memory stays flat whatever the number of shards.
_AT_A_TIME = 256


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that must not be.

    Attributes:
        where: name of an object of the job.
        what: was found, and what to do.
    """

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification, counted from the objects.

    Attributes:
        rows_in: input rows by the log.
        rows_out: rows in whole parts.
        quarantined: rows that the producer listed.
        failed: rows that the engine failed on, and that no retry has brought again.
        tokens: real tokens in whole parts.
        files: whole parts.
        problems: all that must not be; none where the job is complete and sound.
        beside: files and folders (with a slash) beside the parts, but for hidden ones; of a bucket, files alone. A
            program that reads the whole directory reads them, too, or fails on them.
    """

    rows_in: int
    rows_out: int
    quarantined: int
    failed: int
    tokens: int
    files: int
    problems: tuple[Problem, ...]
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Checked:
    """One entry: what its part holds, None where there is none or it can't be trusted."""

    contents: PartContents | None
    quarantined: int
    failed: int
    problems: tuple[Problem, ...]


def verify_job(job: OpenJob, each: Callable[[int, int], None] = lambda *_: None) -> Verification:
    """Check a job: every entry of its log has its part, whole, with its rows, and no other part exists.

    Checked of each list of bad rows: its checksum, and the number of its rows.
    Checked of each part: its seal, which no flipped bit passes; what `inspect_part` checks; and model, engine,
    arithmetic, job, shard, rows, tokens, the digest of ids and masks (rows that the engine failed on put back in their
    places), width and columns; that rows which a part calls failed are kept with their tokens, or were retried. Not
    checked: that the vectors are the model's.

    Args:
        job: which one.
        each: called after each shard with the real tokens in the parts that were read, and in all parts that are there.
            Shards that are missing have none, and failed rows are counted where they are now.

    Raises:
        JobError: the log itself is damaged.
        TransientError: the store can't be read now.
    """
    # Over 40 lines: half of it says what is checked.
    objects = job.objects
    log, chapters = Log(), sorted(objects.list(names.CHAPTERS))
    catch_up(log, objects, by_chapters=False)
    missing = missing_segment(log, objects, by_chapters=False)
    parts, published = _listed(log, objects)
    problems = list(_of_job(job, log, chapters, missing))
    rows = tokens = files = quarantined = failed = 0
    widths: dict[tuple[int, ...], ShardId] = {}
    read = TokensRead(log, published)
    for entry, checked in () if log.discarded else _check_all(job, log, published):  # its parts are all missing
        problems += checked.problems
        quarantined += checked.quarantined
        failed += checked.failed
        if (contents := checked.contents) is not None:
            rows, tokens, files = rows + contents.rows, tokens + contents.tokens, files + 1
            widths.setdefault(tuple(column.width for column in contents.columns), entry.shard)
        read.add(entry.shard, None if contents is None else contents.tokens)
        each(read.done, read.total)
    if len(widths) > 1:
        found = ", ".join(f"{', '.join(map(str, each))} in {shard}" for each, shard in sorted(widths.items()))
        problems.append(Problem("*.parquet", f"vectors are of different widths: {found}"))
    if missing is None:  # otherwise the parts may be of the shards that the missing segments name
        unknown = (shard for shard in parts.unknown if shard not in log.entries)
        problems += _strays(unknown, parts.others, ended=log.ended, live=job.job.live)
    named = {problem.where for problem in problems}
    beside = [name for name in _beside(objects.store, parts.others) if name not in named]
    rows_in = _rows_in(log)
    if not problems and rows + quarantined + failed != rows_in:
        came = f"{counted(rows_in, 'row')} went in, {rows + quarantined + failed:,} came out"
        problems.append(Problem(names.LOG, came))
    return Verification(rows_in, rows, quarantined, failed, tokens, files, tuple(problems), tuple(beside))


def _rows_in(log: Log) -> int:
    """The number of input rows; a retry brings none."""
    cut = log.entries.columns[log.entries.columns["hash"] < FIRST_RETRY]
    return int(cut["rows"].sum() + cut["quarantined"].sum())


def _listed(log: Log, objects: Objects) -> tuple[Found, NDArray[np.bool_]]:
    """What the output directory holds, and a mark for each shard of the log: whether it has its part."""
    parts = find(log, objects, names.PARTS)
    catch_up(log, objects, by_chapters=False)  # now it has every shard whose part was listed
    published = log.entries.marks(parts.unknown)
    published[: len(parts.marks)] |= parts.marks
    return parts, published


def _strays(parts: Iterable[ShardId], others: Iterable[str], *, ended: bool, live: bool) -> Iterator[Problem]:
    """`OUT/*.parquet` must be exact, and nothing half-made may be seen there."""
    named = set(map(part_object, parts))
    for name in sorted([*named, *others]):
        if name.endswith(".parquet"):
            yield Problem(name, explain_stray(ended=ended or name not in named, live=live))
        elif name.endswith(".tmp"):
            yield Problem(name, "is a visible temporary file; move it elsewhere")


def _beside(store: Store, others: Iterable[str]) -> list[str]:
    """What is beside the parts and the job's folder, and not hidden from programs that read a whole directory.

    Args:
        store: the directory; of a bucket, folders aren't looked for.
        others: the names of its files that aren't parts.
    """
    names = [name for name in others if not name.endswith((".parquet", ".tmp"))]  # which are problems
    if isinstance(store, PosixStore):
        with suppress(OSError), os.scandir(store.path) as entries:  # of which there may be a million: no stat of each
            for entry in entries:
                if entry.is_symlink() and not Path(entry.path).exists():
                    names.append(entry.name)
                elif entry.is_dir():
                    names.append(f"{entry.name}/")
                elif not entry.is_file():  # a pipe
                    names.append(entry.name)
    return sorted(name for name in names if not name.startswith(("_", ".")))


def _of_job(job: OpenJob, log: Log, chapters: Iterable[str], missing: str | None) -> Iterator[Problem]:
    if missing is not None:
        yield Problem(missing, LOST_SEGMENT)
    elif log.discarded:
        left = sum(1 for _ in names.parts_in(job.objects.list(names.PARTS)))
        kept = "no part of it is left"
        if left:
            kept = f"{left_behind(left)}; to delete what is left: unrolled discard {as_argument(job.place)}"
        yield Problem(names.LOG, f"the job was discarded; {kept}")
    elif not log.ended:
        yield Problem(
            names.LOG, "the input wasn't read to its end; run the same `unrolled run` or `unrolled enqueue` again"
        )
    lone = {*lone_chapters(log, job.objects, chapters)}
    for name in false_chapters(log, job.objects, chapters):
        if name not in lone:
            yield Problem(name, "is not what the segments of the log say; delete it: they are read")
        elif missing is None:
            yield Problem(name, "repeats files of the log that aren't there; restore them from a copy")
    if job.job.live and missing is None:  # otherwise a missing segment may name them
        for shard in sorted(find(log, job.objects, names.ROWS).strays):
            yield Problem(rows_object(shard), "was read and never queued; `unrolled enqueue --follow` queues it")


def _check_all(job: OpenJob, log: Log, published: NDArray[np.bool_]) -> Iterator[tuple[Entry, _Checked]]:
    """Check entries in order, some at the same time."""
    dead = find_dead(log, job.objects)

    def check(number: int, entry: Entry) -> _Checked:
        gone = dead_object(log.life(entry.shard)) if dead[number] else None
        return _check_entry(job, log, entry, published=bool(published[number]), gone=gone)

    entries = enumerate(read_entries(log, job.objects))
    with ThreadPoolExecutor(THREADS) as threads:
        while some := list(islice(entries, _AT_A_TIME)):
            for (_, entry), checked in zip(some, threads.map(check, *zip(*some, strict=True)), strict=True):
                yield entry, checked


def _check_entry(job: OpenJob, log: Log, entry: Entry, *, published: bool, gone: str | None) -> _Checked:
    found, name = _look_at(job, log, entry, published=published, gone=gone), part_object(entry.shard)
    problems = tuple(
        replace(each, what=explain_damage(job, log, entry.shard, each.what)) if each.where == name else each
        for each in found.problems
    )
    return replace(found, problems=problems)


def _look_at(job: OpenJob, log: Log, entry: Entry, *, published: bool, gone: str | None) -> _Checked:
    name, found, bad_rows = part_object(entry.shard), [], 0
    try:
        bad_rows = len(refused_rows(job, entry))
    except FileFormatError as error:
        found.append(_problem(job, quarantine_object(entry.shard), error))
    if not published:
        if isinstance(job.objects.store, PosixStore):
            try:
                job.objects.exists(name)
            except MisplacedError as error:  # such as a directory, for which no worker can help
                return _Checked(None, bad_rows, 0, (*found, _problem(job, name, error)))
        return _Checked(None, bad_rows, 0, (*found, Problem(name, _why_missing(job, log, entry, gone))))
    try:
        contents = inspect_part(job.objects.store, name)
        wrong = _wrong_counts(entry, contents)
        right = entry._replace(rows=contents.rows) if wrong else entry
        found += [*wrong, *(Problem(name, what) for what in _contradictions(job, right, contents))]
    except UnrolledError as error:
        return _Checked(None, bad_rows, 0, (*found, _problem(job, name, error)))
    except MemoryError as error:
        what = str(error).removeprefix(f"{job.place}/{name} ") or "can't be read"
        return _Checked(None, bad_rows, 0, (*found, Problem(name, f"{what}{memory_note('MemoryError')}")))
    except Exception as error:  # noqa: BLE001 - no damage to a part, however odd, may end the check of the others
        return _Checked(None, bad_rows, 0, (*found, Problem(name, f"can't be read: {type(error).__name__}: {error}")))
    failed = 0 if entry.shard in log.retried else len(contents.info.failed)
    if failed:
        found += _check_kept(job, entry, contents)
    elif contents.info.failed == () and contents.digest != entry.digest:
        found.append(Problem(name, _OTHER_ROWS))
    sound = not any(problem.where == name for problem in found)
    return _Checked(contents if sound else None, bad_rows, failed, tuple(found))


def _problem(job: OpenJob, name: str, error: UnrolledError) -> Problem:
    what, where = str(error), f"{job.place}/{name}"
    if what.startswith(f"{where}: "):
        return Problem(name, what.removeprefix(f"{where}: "))
    return Problem(name, what.replace(where, name, 1))  # once, since a link may lead to a path that looks the same


def _why_missing(job: OpenJob, log: Log, entry: Entry, gone: str | None) -> str:
    if gone and has_damaged_rows(job.objects, entry.shard):
        return f"was given up, because {explain_damaged_rows(job, entry.shard)}"
    if gone:
        return f"was given up, the reason is in {gone}: unrolled retry {as_argument(job.place)}"
    if entry.shard in log.retried:
        return f"is missing, and its failed rows are in {part_object(log.retried[entry.shard])}: restore it from a copy"
    if (origin := read_once(job, entry.shard)) and _is_gone(job.objects, entry.shard):
        return (
            f"is missing, and so are its rows, and rows of {origin} can't be read again: restore the part from a copy"
        )
    if log.cancelled:
        return "is missing, because the job was cancelled; the same `unrolled run` or `unrolled enqueue` resumes it"
    return "is missing: wait for the workers, or run the same `unrolled run` or `unrolled enqueue` again"


def _is_gone(objects: Objects, shard: ShardId) -> bool:
    """Whether neither the rows nor the part of a shard exist."""
    # In this order: rows are deleted only once their part exists.
    return not objects.exists(rows_object(shard)) and not objects.exists(part_object(shard))


def _check_kept(job: OpenJob, entry: Entry, contents: PartContents) -> Iterator[Problem]:
    """The rows that a part calls failed are kept with their tokens, and are what the part lacks."""
    objects, shard = job.objects, entry.shard
    try:
        kept = objects.read(failed_object(shard))
        if kept is None and (rows := objects.read(rows_object(shard))) is not None:
            kept = select_rows(rows, [failed.row for failed in contents.info.failed])
        if kept is None:
            yield Problem(failed_object(shard), f"is missing: the tokens of failed rows are lost; {remedy(shard)}")
            return
        failed = contents.info.failed
        found = payload.decode(called_failed(kept, [row.id for row in failed]))
        if digest_with(objects.store, part_object(shard), failed, found) != entry.digest:
            yield Problem(part_object(shard), _OTHER_ROWS)
    except PayloadError as error:
        yield Problem(failed_object(shard), f"{error}; {remedy(shard)}")


def _wrong_counts(entry: Entry, contents: PartContents) -> list[Problem]:
    """The problem of an entry whose counts aren't those of its rows: its digest covers them, so the part is right."""
    told, counts = (entry.rows, entry.tokens), (contents.rows, contents.tokens)
    if contents.info.failed or contents.info.shard != entry.shard or contents.digest != entry.digest or told == counts:
        return []
    says, holds = (f"{counted(rows, 'row')} with {counted(tokens, 'token')}" for rows, tokens in (told, counts))
    what = (
        f"says {says} of {entry.shard}, whose part holds {holds}, and the log's digest of the rows agrees with the part"
    )
    return [Problem(names.LOG, f"{what}: an entry was changed; restore the files of the log from a copy")]


def _contradictions(job: OpenJob, entry: Entry, contents: PartContents) -> Iterator[str]:
    """The problems of a part: differences between its content and the log."""
    info, failed = contents.info, contents.info.failed
    spec = OutputSpec.from_options(job.job.options)
    for what, found, expected in (
        ("model", info.model_fingerprint, job.job.fingerprint),
        ("engine", info.engine, job.job.engine),
        ("arithmetic", info.arithmetic, job.job.arithmetic),
        ("job", info.job, job.job.id),
        ("shard", info.shard, entry.shard),
        ("rows, with those the engine failed on", contents.rows + len(failed), entry.rows),
        ("columns", ", ".join(contents.spec.names()), ", ".join(spec.names())),
        ("stored precision", contents.spec.precision, spec.precision),
        ("tokens stored", contents.spec.with_tokens, spec.with_tokens),
        ("pooled vectors of rows without a token", contents.spec.empty_rows, spec.empty_rows),
        ("positions", contents.spec.positions, spec.positions),
    ):
        if found != expected:
            yield f"{what}: found {found}, the job says {expected}; restore the part from a copy"
