"""Telling a model's directory from a job's, so that neither is written into the other."""

from __future__ import annotations

from pathlib import Path

from unrolled.errors import JobError, ModelError
from unrolled.job import names
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.store.bucket_url import is_url


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


def refuse_job(directory: Path) -> None:
    """Refuse a directory for a model where a job is.

    Raises:
        ModelError: it is the directory of a job.
    """
    if (directory / names.FOLDER).exists():
        raise ModelError(f"{directory}: contains a job ({names.FOLDER}), not a model; use another directory")
