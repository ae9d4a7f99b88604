"""Writing a job's report: the page, and beside it the points and the pictures that were asked for."""

# Over 150 lines: one page, where it goes, and whether it is there.

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from producer.report.gathering import Gathering
from producer.report.options import FEW_POINTS, ReportOptions
from producer.report.page.page import render
from producer.report.states.projection import time_note
from producer.report.targets import check_targets
from producer.terminal.progress import progress
from unrolled.errors import OptionError, UnrolledError, as_argument
from unrolled.format.file_info import release
from unrolled.job import names
from unrolled.job.names import part_object, parts_in
from unrolled.store.bucket_url import is_url
from unrolled.store.posix import PosixStore
from unrolled.store.publish import publish_bytes

if TYPE_CHECKING:
    from producer.report.facts import Facts, Shown
    from producer.report.options import Method
    from unrolled.protocol.opening import OpenJob

#: Objects that a page shows; the others follow from these.
_SHOWN = (names.PARTS, names.LOG, names.TIMES, names.DEAD, names.QUARANTINE)
#: The name of a report beside its job's other records.
REPORT = f"{names.FOLDER}/report.html"
#: Bytes of parts up to which a report after a run has a map, and the points of that map: each is compared with all
#: others, so 20,000 points, as `unrolled report` shows, take sixteen times as long.
MOST_BYTES = 10**9
#: Bytes at the beginning of a page that contain its source.
_HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Written:
    """The files that were written.

    Attributes:
        page: the page.
        others: the points and the pictures.
        facts: what the page says.
        warnings: that the table has few of the job's ids, and that the plan is another job's, each as a sentence.
    """

    page: Path
    others: tuple[Path, ...]
    facts: Facts
    warnings: tuple[str, ...]


def report_after_run(job: OpenJob, model: Path | str, *, verified: bool) -> str:
    """Write the report of a job that `unrolled run` has done, and say where it is, in one line.

    It costs little beside the job: one of more than `MOST_BYTES` gets no map, and nothing is written where a page of
    the job as it is now is there, perhaps one with a larger map. What goes wrong is said in that line.

    Args:
        job: the job.
        model: directory of its model.
        verified: whether its parts are as they should be: a page that was written before knows of no damage since.
    """
    store = job.objects.store
    if not isinstance(store, PosixStore):
        return f"report: `unrolled report {as_argument(job.place)} --to report.html` writes one"
    reason = "The job is large, so `unrolled run` made no map; `unrolled report` makes one."
    try:
        parts = map(part_object, parts_in(job.objects.list(names.PARTS)))
        size_bytes = sum((store.path / name).stat().st_size for name in parts)
        method: Method = "pca" if size_bytes <= MOST_BYTES else "none"
        path = report_path(job, None)
        if verified and _is_from(path, source_of(job)):
            return f"report: {path} (nothing has changed since it was written)"
        options = ReportOptions(method=method, points=FEW_POINTS, model=None if is_url(str(model)) else Path(model))
        return f"report: {write_report(job, options, without_map=reason).page}"
    except Exception as error:  # noqa: BLE001 - the job is done and verified, whatever is wrong with its report
        said = error if isinstance(error, (UnrolledError, OSError)) else f"{type(error).__name__}: {error}"
        return f"report: can't be written ({said}); `unrolled report {as_argument(job.place)}` tries again"


def source_of(job: OpenJob) -> str:
    """Names what a page is made from, whatever it shows of it: a hash of the job's objects, which never change.

    Raises:
        TransientError: the store can't be read now.
    """
    objects = sorted(name for prefix in _SHOWN for name in job.objects.list(prefix))
    what = [release(), job.key, objects]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def _is_from(page: Path, source: str) -> bool:
    try:
        with page.open("rb") as file:
            return f'content="{source}"'.encode() in file.read(_HEAD_BYTES)
    except OSError:
        return False


def report_path(job: OpenJob, to: Path | None) -> Path:
    """Where a job's report goes: to the named file, else beside the job's records.

    Raises:
        OptionError: the job is in a bucket, and no file is named.
    """
    store = job.objects.store
    if to is None:
        if not isinstance(store, PosixStore):
            raise OptionError(f"{job.place} is in a bucket: name a file for the report with --to report.html")
        return store.path / REPORT
    return to


def write_report(
    job: OpenJob,
    options: ReportOptions,
    to: Path | None = None,
    *,
    coordinates: Path | None = None,
    png: bool = False,
    without_map: str = "",
) -> Written:
    """Read a job and write its report.

    Args:
        job: the job.
        options: what it shows.
        to: the file; None for the usual place.
        coordinates: a Parquet file for the points of the map; None for none.
        png: whether pictures are written beside the page.
        without_map: why there is no map, where `options` ask for none.

    Raises:
        UnrolledError: the job can't be read, an option doesn't fit it, or a file can't be written.
    """
    # Over 40 lines: most of it is the description of its arguments.
    path = report_path(job, to)
    if coordinates is not None and options.method == "none":
        raise OptionError("--coordinates needs a map; leave out --map none, or --coordinates")
    check_targets({"--to": to, "--coordinates": coordinates}, {"--table": options.table, "--plan": options.plan})
    if png:
        from producer.report.pictures import check_drawable  # noqa: PLC0415 - most reports draw nothing

        check_drawable()
    source = source_of(job)
    gathering = Gathering(job, options)
    done = 0
    with progress("report", transient=True) as bar:

        def each(tokens: int) -> None:
            nonlocal done
            done += tokens
            bar.update(done_tokens=done, total_tokens=gathering.published_tokens)

        gathering.look(each)
        bar.begin("report: its map")
        if note := time_note(options.method, min(gathering.vectors, options.points)):
            bar.say(f"report: {note}")
        shown = gathering.shown()
    if shown.facts.damaged:
        source = ""  # parts that are made again have the same names
    if without_map and shown.state_map is None:
        shown = replace(shown, without_map=without_map)
    others: list[Path] = []
    if coordinates is not None:
        if shown.state_map is None:
            raise OptionError(f"--coordinates needs a map: {shown.without_map}")
        from producer.report.coordinates import write_coordinates  # noqa: PLC0415 - most reports need none

        write_coordinates(shown.state_map, coordinates)
        others.append(coordinates)
    if png:
        others += _write_pictures(shown, path)
    publish_bytes(path, render(shown, source=source).encode())
    found = shown.state_map
    of_table = found.unmatched if found is not None and found.few_matched else ""
    return Written(path, tuple(others), shown.facts, tuple(filter(None, (of_table, shown.plan_note))))


def _write_pictures(shown: Shown, page: Path) -> list[Path]:
    from producer.report.pictures import pictures  # noqa: PLC0415 - most reports have none

    written = []
    for name, content in pictures(shown).items():
        written.append(page.with_name(f"{page.stem}-{name}.png"))
        publish_bytes(written[-1], content)
    return written
