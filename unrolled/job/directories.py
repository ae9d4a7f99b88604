"""Telling directories of models, of jobs and of several jobs apart, so that none is written into another."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from unrolled.errors import JobError, ModelError, OptionError
from unrolled.job import names
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.store.bucket_url import is_url
from unrolled.store.disk.path_limits import refuse_impossible

#: Entries of a directory that are looked at for jobs; a directory of jobs has fewer.
_MOST_CHILDREN = 1000


def refuse_model(place: str) -> None:
    """Refuse a place for a job where a model is.

    Args:
        place: path, or URL of a prefix in a bucket.

    Raises:
        JobError: it is the directory of a model.
    """
    if is_url(place):
        return
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if (Path(place) / name).exists():
            raise JobError(f"{place}: contains a model ({name}), not a job; use another --out")


def refuse_place(place: str) -> None:
    """Refuse a place that no job should have: the root directory, or one that other jobs are mixed with.

    Args:
        place: path, or URL of a prefix in a bucket.

    Raises:
        OptionError: it is empty, the root directory, or no path that a directory can have.
        JobError: it is inside the directory of another job, or holds the directories of other jobs.
    """
    if not place:
        raise OptionError("--out is empty; name a directory, or . for this one")
    if is_url(place):
        return
    refuse_impossible(place)
    path = Path(place).resolve()
    if path == Path(path.anchor):
        raise OptionError(f"--out {place} is the root directory; name a directory for this job alone")
    for above in path.parents:
        if (above / names.JOB).exists():
            raise JobError(f"{place}: is inside the directory of another job ({above}); use a directory beside it")
    if (path / names.JOB).exists() or not path.is_dir():
        return
    try:
        jobs = [child.name for child in islice(path.iterdir(), _MOST_CHILDREN) if (child / names.JOB).exists()]
    except OSError:
        return  # opening it says what is wrong
    if jobs:
        raise JobError(f"{place}: holds the directory of another job ({min(jobs)}); use a directory for this job alone")


def refuse_job(directory: Path) -> None:
    """Refuse a directory for a model where a job is.

    Raises:
        ModelError: it is the directory of a job.
        OptionError: it is no path that a directory can have.
    """
    refuse_impossible(directory)
    if (directory / names.FOLDER).exists():
        raise ModelError(f"{directory}: contains a job ({names.FOLDER}), not a model; use another directory")
