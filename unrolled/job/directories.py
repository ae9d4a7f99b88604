"""Telling directories of models, of jobs and of several jobs apart, so that none is written into another."""

# Over 150 lines: each kind of place, and what may not be made there.

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path

from unrolled.errors import JobError, ModelError, OptionError, TransientError
from unrolled.job import names
from unrolled.model.files import CONFIG_FILE, PLAN_FILE, TRAINING_FILES, TRAINING_FOLDER, WEIGHTS_FILE
from unrolled.store.bucket_url import BucketUrl, is_url
from unrolled.store.disk.path_limits import refuse_impossible
from unrolled.store.place import open_bucket

#: Entries below a directory that are looked at for jobs, those near it first.
_MOST_ENTRIES = 10_000
#: The log of a discarded job stays, and with it the place is a job's.
_FREE_AGAIN = (
    f". If that job was discarded, remove its folder {names.FOLDER}, once no worker runs that may have seen it"
)
#: Folders of a bucket's prefix that are looked at for jobs: each is a request.
_MOST_FOLDERS = 50


def refuse_model(place: str) -> None:
    """Refuse a place for a job where a model is.

    Args:
        place: path, or URL of a prefix in a bucket.

    Raises:
        JobError: it is the directory of a model, or of one that is being trained.
    """
    if not is_url(place) and not is_job(place) and _has_training(Path(place)):
        raise JobError(f"{place}: contains an unfinished training ({TRAINING_FOLDER}), not a job; use another --out")
    is_there = partial(_is_in_bucket, place) if is_url(place) else lambda name: (Path(place) / name).exists()
    found = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if is_there(name)]
    if len(found) > 1:
        raise JobError(f"{place}: contains a model ({found[0]}), not a job; use another --out")
    if found:
        raise JobError(f"{place}: contains {found[0]}, as the directory of a model does; use another --out")


def is_job(place: str) -> bool:
    """Whether a job is in a place, as far as that can be seen."""
    if is_url(place):
        return _is_in_bucket(place, names.JOB)
    return os.path.exists(os.path.join(place, names.JOB))  # noqa: PTH110, PTH118 - False, too, where it can't be seen


def refuse_place(place: str) -> None:
    """Refuse a place that no job should have: the root directory, or one that other jobs are mixed with.

    Args:
        place: path, or URL of a prefix in a bucket.

    Raises:
        OptionError: it is empty, the root directory, a file or in one, or no path that a directory can have.
        JobError: it is inside the directory of another job, or holds the directories of other jobs.
        TransientError: it is in a bucket that can't be read.
    """
    if not place:
        raise OptionError("--out is empty; name a directory, or . for this one")
    if is_url(place):
        _refuse_in_bucket(place)
        return
    refuse_impossible(place)
    path = Path(place).resolve()
    if path == Path(path.anchor):
        raise OptionError(f"--out {place} is the root directory; name a directory for this job alone")
    for file in (each for each in (path, *path.parents) if each.is_file()):
        raise OptionError(f"--out {place}: {file} is a file; name a directory, or a path at which one can be made")
    if (path / names.JOB).exists():
        return  # whatever was put around it since: it goes on
    for above in path.parents:
        if (above / names.JOB).exists():
            raise JobError(
                f"{place}: is inside the directory of another job ({above}); use a directory beside it{_FREE_AGAIN}"
            )
    if job := _job_below(path):
        raise JobError(
            f"{place}: holds the directory of another job ({job}); use a directory for this job alone{_FREE_AGAIN}"
        )


def _job_below(path: Path) -> str:
    """The first job that is found below a directory, not in hidden folders, as a path from there; "" if none is."""
    waiting, count = deque([str(path)]), 0
    while waiting and count < _MOST_ENTRIES:
        with suppress(OSError), os.scandir(waiting.popleft()) as found:  # if this user may look there
            for child in sorted(islice(found, _MOST_ENTRIES - count), key=attrgetter("name")):
                count += 1
                if child.name.startswith(".") or not os.path.isdir(child.path):  # noqa: PTH112 - False where it can't be seen
                    continue
                if os.path.exists(os.path.join(child.path, names.JOB)):  # noqa: PTH110, PTH118 - as in `is_job`
                    return os.path.relpath(child.path, path)
                if not child.is_symlink():
                    waiting.append(child.path)
    return ""


def _refuse_in_bucket(place: str) -> None:
    """As `refuse_place` does; what these credentials may not see above or inside is no reason."""
    url = BucketUrl.parse(place)
    # Asked first: where this can't be seen, nothing else has to be waited for.
    if open_bucket(url).find(f"{url.prefix}/{names.JOB}".lstrip("/")) is not None:
        return
    steps = url.prefix.split("/") if url.prefix else []
    for above in (replace(url, prefix="/".join(steps[:count])) for count in reversed(range(len(steps)))):
        if _is_in_bucket(str(above), names.JOB):
            raise JobError(
                f"{place}: is inside the place of another job ({above}); use a prefix beside it{_FREE_AGAIN}"
            )
    with suppress(TransientError):
        for folder in open_bucket(url).inside(url.prefix)[1][:_MOST_FOLDERS]:
            if _is_in_bucket(str(replace(url, prefix=folder)), names.JOB):
                raise JobError(f"{place}: holds another job ({folder}); use a prefix for this job alone{_FREE_AGAIN}")


def _is_in_bucket(place: str, name: str) -> bool:
    """Whether an object of this name is below a prefix, as far as these credentials may see."""
    url = BucketUrl.parse(place)
    with suppress(TransientError):
        return open_bucket(url).find(f"{url.prefix}/{name}".lstrip("/")) is not None
    return False


def refuse_job(directory: Path) -> None:
    """Refuse a directory for a model where a job is.

    Raises:
        ModelError: it is the directory of a job, or inside one, where no model is yet.
        OptionError: it is no path that a directory can have.
    """
    refuse_impossible(directory)
    if (directory / names.FOLDER).exists():
        raise ModelError(
            f"{directory}: contains a job ({names.FOLDER}), not a model; use another directory{_FREE_AGAIN}"
        )
    has_model = all((directory / name).exists() for name in (CONFIG_FILE, WEIGHTS_FILE))
    if has_model or (directory / TRAINING_FOLDER / PLAN_FILE).exists():
        return  # the job may have been made around it
    for above in Path(os.path.abspath(directory)).parents:  # noqa: PTH100 - not where links lead
        if (above / names.JOB).exists():
            raise ModelError(
                f"{directory}: is inside the directory of a job ({above}), which is for its parts alone; use another "
                f"directory{_FREE_AGAIN}"
            )


def refuse_training(directory: Path) -> None:
    """Refuse a directory for a model that isn't trained there, where a training has begun.

    Raises:
        ModelError: it is the directory of a training that isn't finished.
    """
    if _has_training(directory):
        raise ModelError(
            f"{directory}: contains an unfinished training ({TRAINING_FOLDER}), which the same `unrolled model fit` "
            "resumes; use another directory"
        )


def _has_training(directory: Path) -> bool:
    """Whether a training has begun: it makes the first of these files, and keeps the second."""
    return any((directory / TRAINING_FOLDER / name).exists() for name in TRAINING_FILES)
