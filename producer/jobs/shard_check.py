"""One shard's part and lists, compared with its manifest entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producer.jobs.failed_rows import digest_with, read_failed
from producer.jobs.quarantine_lists import count_listed
from unrolled.errors import FileFormatError, TransientError, UnrolledError
from unrolled.format.output_spec import OutputSpec
from unrolled.format.seal import check_seal
from unrolled.reading.inspection import inspect_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from producer.jobs.failed_rows import FailedRow
    from unrolled.job.directory import JobDirectory
    from unrolled.job.manifest import Entry
    from unrolled.reading.inspection import PartContents

_AGAIN = "remove the file and run the same `unrolled enqueue` command again"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a job.

    Attributes:
        where: a file name in the job's directory, or a shard's id.
        what: what was found, and what to do.
    """

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """What was found of one manifest entry.

    Attributes:
        contents: of its part; None where there is none, or where it can't be trusted.
        quarantined: rows on the producer's list.
        failed: rows on the engine's list.
        problems: what is wrong.
    """

    contents: PartContents | None
    quarantined: int
    failed: int
    problems: tuple[Problem, ...]


def check_shard(directory: JobDirectory, entry: Entry, *, published: bool, dead: bool) -> ShardCheck:
    """Compare a shard's part and lists with its manifest entry.

    Args:
        directory: of the job.
        entry: of the shard.
        published: whether its part is there.
        dead: whether it was given up.
    """
    quarantined, problems = _check_quarantine(directory, entry)
    if not published:
        record = _name(directory, directory.dead(entry.shard))
        what = (
            f"was given up, the reason is in {record}: unrolled retry {directory.path}"
            if dead
            else f"isn't published: unrolled wait {directory.path}, or the same `unrolled enqueue` command again"
        )
        return ShardCheck(None, quarantined, 0, (*problems, Problem(str(entry.shard), what)))
    part = directory.part(entry.shard)
    try:
        failed = read_failed(directory, entry)
        contents = inspect_part(part)
        wrong = list(_contradictions(directory, entry, contents, failed))
        if not wrong:  # last, because the others can say more about what is wrong
            check_seal(part)
    except UnrolledError as error:
        return ShardCheck(None, quarantined, 0, (*problems, Problem(part.name, _short(error, directory))))
    except Exception as error:  # noqa: BLE001 - no damage to a file, however odd, may end the check of the others
        what = f"can't be read: {type(error).__name__}: {error}"
        return ShardCheck(None, quarantined, 0, (*problems, Problem(part.name, what)))
    problems += [Problem(part.name, what) for what in wrong]
    return ShardCheck(None if wrong else contents, quarantined, len(failed), tuple(problems))


def _check_quarantine(directory: JobDirectory, entry: Entry) -> tuple[int, list[Problem]]:
    """How many rows the producer's list has, and what is wrong with it."""
    path = directory.quarantine(entry.shard)
    try:
        count = count_listed(path)
    except (FileFormatError, TransientError) as error:
        return 0, [Problem(_name(directory, path), _short(error, directory))]
    if count == entry.quarantined:
        return count, []
    what = f"lists {count} row(s), the manifest says {entry.quarantined}"
    return count, [Problem(_name(directory, path), what)]


def _contradictions(
    directory: JobDirectory, entry: Entry, contents: PartContents, failed: list[FailedRow]
) -> Iterator[str]:
    """Where a part's content isn't what its manifest entry and its job promise."""
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


def _name(directory: JobDirectory, path: Path) -> str:
    return str(path.relative_to(directory.path))


def _short(error: Exception, directory: JobDirectory) -> str:
    """The error's text without the directory, which the reader knows."""
    return str(error).replace(f"{directory.path}/", "")
