"""Creating a job in a store, and opening one that exists."""

# Over 150 lines: two ways to a job, and each reason for which it isn't the one that is asked for.

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unrolled.errors import JobError
from unrolled.job import names
from unrolled.job.job import Job
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.patience import at_once
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.objects import Objects
from unrolled.store.bucket_url import is_url
from unrolled.store.place import check_creates_once, open_store
from unrolled.store.posix import PosixStore

if TYPE_CHECKING:
    from pathlib import Path

    from unrolled.patience import Steadily


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job in its store.

    Attributes:
        job: what is computed, and how.
        key: names the job in Redis; it doesn't depend on the path or mount by which the job was opened.
        objects: the job's objects.
    """

    job: Job
    key: str
    objects: Objects

    @property
    def place(self) -> str:
        """The path or URL of its store, without credentials, as it was given."""
        return str(self.objects.store)

    @property
    def address(self) -> str:
        """The absolute path or the URL of its store, without credentials: for processes in other directories."""
        store = self.objects.store
        return str(store.path.absolute()) if isinstance(store, PosixStore) else str(store)

    def with_patience(self, steadily: Steadily) -> OpenJob:
        """The same job, with other patience for its objects."""
        return OpenJob(self.job, self.key, Objects(self.objects.store, steadily))


def open_job(place: Path | str, steadily: Steadily = at_once) -> OpenJob:
    """Open the job in a store.

    Args:
        place: path of a directory, or URL of a prefix in a bucket.
        steadily: tries each operation until it works; by default each is tried once.

    Raises:
        JobError: the store has no job, or one that this version can't read.
        RequestError: the place can't be opened.
        TransientError: the store can't be read now.
    """
    objects = Objects(open_store(place), steadily)
    if os.path.isfile(place):  # noqa: PTH113 - a URL is no path
        raise JobError(f"{place}: is a file; name the directory of a job")
    content = objects.read(names.JOB)
    if content is None:
        makes = "`unrolled run` or `unrolled enqueue` makes one"
        if all(os.path.exists(os.path.join(place, name)) for name in (CONFIG_FILE, WEIGHTS_FILE)):  # noqa: PTH110, PTH118
            makes = "it is the directory of a model; name the --out of a job"
        raise JobError(f"{objects.store}: no job here ({names.JOB} is missing); {makes}")
    job, key = Job.decode(f"{objects.store}/{names.JOB}", content)
    return OpenJob(job, key, objects)


def create_job(place: Path | str, job: Job, steadily: Steadily = at_once, *, append: bool = False) -> OpenJob:
    """Create a job, or open it if the store has it.

    Args:
        place: path of a directory, which is created if it is missing, or URL of a prefix in a bucket.
        job: what is to be computed, and how.
        steadily: tries each operation until it works; by default each is tried once.
        append: whether the job's inputs may be those of the job that the store has, and then others.

    Raises:
        JobError: the store has another job, or files that readers would mistake for parts.
        RequestError: the place can't be opened, or its server replaces objects.
        TransientError: the store can't be read or written now.
    """
    objects = Objects(open_store(place, make=True), steadily)
    content = objects.read(names.JOB)
    if content is None:
        if found := sorted(name for name in objects.list(names.PARTS) if name.endswith(".parquet"))[:3]:
            lost = f"restore {names.JOB} from a copy, or " if any(True for _ in objects.list(names.LOG)) else ""
            raise JobError(
                f"{objects.store}: holds {', '.join(found)} and no job; {lost}use an empty directory for --out"
            )
        if is_url(os.fspath(place)):  # a disk's links never replace anything
            steadily(f"write to {objects.store}", lambda: check_creates_once(objects.store))
        content = objects.settle(names.JOB, job.encode(secrets.token_hex(8)))  # one of two processes creates it
    else:
        objects.sync(names.FOLDER)  # its creator may have died before it was durable
    there, key = Job.decode(f"{objects.store}/{names.JOB}", content)
    now = there if job.inputs == there.inputs or there.live else _grown(there, job, objects)
    refuse_other_job(str(objects.store), now, job, append=append)
    return OpenJob(there, key, objects)


def _grown(job: Job, asked: Job, objects: Objects) -> Job:
    """A job with the inputs that it has by now, where others are asked for.

    Raises:
        JobError: only its log shows where these ended before, and the log is lost.
        TransientError: the store can't be read now.
    """
    log = Log()
    catch_up(log, objects)
    is_lost = not log.length and asked.inputs.continues(job.inputs)
    if is_lost and any(True for _ in names.parts_in(objects.list(names.PARTS))):
        # Cut without these ends, the rows would be in other shards, beside those that are there.
        raise JobError(
            f"{objects.store}: the files of its log ({names.LOG}) are lost, and parts of it are there. Restore them "
            f"from a copy; without one, run the command with which the job began, of {job.inputs} alone and without "
            "--append, and after it each that added to the job, with --append, in the order in which they did"
        )
    return replace(job, inputs=log.grown_to or job.inputs)


def refuse_other_job(place: str, job: Job, asked: Job, *, append: bool) -> None:
    """Refuse a job that isn't the one that a store has.

    Args:
        place: the path or URL of the store.
        job: the job that it has, with the inputs that the job has now.
        asked: the job that is asked for, whose inputs were made of their names.
        append: whether its inputs may be the job's, and then others.

    Raises:
        JobError: it is another job.
    """
    if append and job.live:
        raise JobError(
            f"{place}: holds a job that reads a stream, and --append adds to files. To add to a stream, run the job's "
            "`unrolled enqueue --follow` again"
        )
    goes_on = not job.live and asked.inputs != job.inputs and asked.inputs.continues(job.inputs)
    different = job.differences(replace(asked, inputs=job.inputs) if goes_on and append else asked)
    advice = "Use another --out, or the options of that job to resume it"
    if job.differences(replace(asked, inputs=job.inputs)) == "":
        if append:
            advice = (
                "--append adds to the end: name that job's inputs first, in its order, and new ones after them; or use "
                "another --out"
            )
        elif goes_on:
            advice = "Use --append to add the rows of the new inputs to that job, or use another --out"
    if different:
        raise JobError(f"{place}: holds a job with {different}. {advice}")
