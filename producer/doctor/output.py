"""Can a job publish into the output directory?"""

# Over 150 lines: all that is looked at in one place.

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from producer.doctor.check import Check, Outcome
from producer.doctor.disk import check_disk
from producer.jobs.status_reader import StatusReader
from unrolled.errors import JobError, OptionError, TransientError, UnrolledError
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import OutputSpec
from unrolled.job import names
from unrolled.job.directories import refuse_model, refuse_place
from unrolled.protocol.discarded import refuse_discarded
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.opening import open_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producer.jobs.status import JobStatus
    from unrolled.job.job import Job
    from unrolled.model.directory import ModelDirectory

_GIB = 2**30
#: Parts sampled to estimate the size of those to come.
_SAMPLE_FILES = 32
#: What is worth knowing about a type of file system.
_PLACES: dict[str, tuple[Outcome, str]] = {
    "nfs": ("ok", "NFS: renames hold, and readers on other machines may see a new file some seconds late"),
    "nfs4": ("ok", "NFS 4: renames hold, and readers on other machines may see a new file some seconds late"),
    "tmpfs": ("warn", "tmpfs: files are in memory and gone when the machine restarts; choose a disk"),
    "ramfs": ("warn", "ramfs: files are in memory and gone when the machine restarts; choose a disk"),
    "overlay": (
        "warn",
        "overlay: the files are removed with the container unless the directory is a volume; mount one",
    ),
    "cifs": ("warn", "SMB: a rename over a file that is open elsewhere can fail; prefer a local disk or NFS"),
}


def check_output(path: Path, model: ModelDirectory | None, mounts: Path = Path("/proc/mounts")) -> Iterator[Check]:
    """Look at a directory into which a job is to publish.

    Args:
        path: the directory; it may not exist yet.
        model: the job's, from which the size of the parts follows; None where it isn't known.
        mounts: lists what is mounted where, as Linux does.
    """
    try:
        with suppress(OSError, TransientError):  # whether it can be read and written is looked at next
            refuse_place(str(path))
            refuse_model(str(path))
            _refuse_others(path)
    except (JobError, OptionError) as error:
        yield Check("output directory", "fail", str(error), "choose another directory for the job")
        return
    # The directory, or the one in which it would be made.
    place = next(parent for parent in (path.absolute(), *path.absolute().parents) if _may_exist(parent))
    missing = "" if place == path.absolute() else f"{path} doesn't exist yet; "
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".unrolled-doctor-") as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        found = f"{missing}{place}: can't be written: {error.strerror}"
        way = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"make {place} writable"
        yield Check("output directory", "fail", found, f"{way}, or choose another directory")
        return
    yield Check("output directory", "ok", f"{missing}{place}: can be written")
    yield from check_disk(place)
    yield _check_space(path, place, model)
    kind = file_system(place.resolve(), mounts)
    outcome, found = _PLACES.get(kind, ("ok", kind or "the operating system doesn't say"))
    yield Check("file system", outcome if kind else "unknown", found)


def _refuse_others(path: Path) -> None:
    """Refuse a directory with a job that was discarded, or with Parquet files of others, as `run` does.

    Raises:
        JobError: it is one.
        TransientError: it can't be read.
    """
    if (path / names.JOB).exists():
        log = Log()
        catch_up(log, open_job(path).objects)
        refuse_discarded(str(path), log)
    elif found := sorted(path.glob("*.parquet"))[:1]:
        raise JobError(f"{path}: holds {found[0].name} and no job")


def _may_exist(path: Path) -> bool:
    """Whether a path exists, or this user may not see whether it does."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _check_space(path: Path, place: Path, model: ModelDirectory | None) -> Check:
    free = shutil.disk_usage(place).free
    needed, ended = _bytes_to_come(path, model)
    found = f"{_size(free)} free"
    if needed is None:
        outcome: Outcome = "ok" if free > _GIB else "warn"
        return Check("disk", outcome, found, "" if free > _GIB else "make room; a vector takes 4 bytes a unit")
    if ended and not needed:
        return Check("disk", "ok", f"{found}, the job needs no more")
    found += f", the job needs {'' if ended else 'at least '}about {_size(needed)} more"
    if not ended:
        found += "; its input isn't read to its end"
    if free < needed:
        return Check("disk", "fail", found, "make room; the job waits while the disk is full, and continues by itself")
    if free < 1.2 * needed:
        return Check("disk", "warn", found, "it may not be enough; make room")
    if not ended:
        return Check("disk", "unknown", found, "look again later; `unrolled plan` estimates a whole input")
    return Check("disk", "ok", found)


def _size(count: float) -> str:
    """Bytes in words: less than a tenth of a GiB would be "0.0 GiB"."""
    return f"{count / _GIB:,.1f} GiB" if count >= 0.1 * _GIB else f"{count / 2**20:,.1f} MiB"


def _bytes_to_come(path: Path, model: ModelDirectory | None) -> tuple[float | None, bool]:
    """How many bytes the parts to come have: by what the job stores, or by its parts so far. None where unknown.

    The second value is whether these are all: the input of a job at work may be read in part only.
    """
    try:
        job = open_job(path)
        status = StatusReader(job).read()
        shards = sorted(names.parts_in(job.objects.list(names.PARTS)))[:_SAMPLE_FILES]
        files = [(path / names.part_object(shard)).stat().st_size for shard in shards]
    except (UnrolledError, OSError):
        return None, False
    ended = status.ended or status.finished
    if model:
        return _bytes_left(job.job, model, status), ended
    if not files or not status.done:
        return None, ended
    return sum(files) / len(files) * (status.shards - status.done), ended


def _bytes_left(job: Job, model: ModelDirectory, status: JobStatus) -> float | None:
    try:
        spec = OutputSpec.from_options(job.options)
        columns = spec.columns(model.config)
    except UnrolledError:
        return None  # the job is of another model
    size = vector_bytes(columns, status.rows - status.rows_done, status.tokens - status.tokens_done)
    return size / 2 if spec.precision == "float16" else float(size)


def file_system(place: Path, mounts: Path) -> str:
    """The type of the file system that a place is on; empty where the operating system doesn't say.

    Args:
        place: absolute, without symbolic links.
        mounts: lines of device, mount point and type, as in Linux's /proc/mounts.
    """
    best = ("", "")
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, kind, *_ = [*line.split(), "", "", ""]
        point = point.replace(r"\040", " ")
        if point and place.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
