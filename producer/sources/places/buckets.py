"""The objects that a user's URL names: `s3://BUCKET/KEY`, all below `s3://BUCKET/FOLDER/`, or a pattern."""

# Over 150 lines: what a URL may stand for, and the search for it.

from __future__ import annotations

import glob
import re
from typing import TYPE_CHECKING

from producer.sources.notices import MODEL_FILES, notice_of_model
from unrolled.errors import RequestError
from unrolled.job.names import JOB
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.store.bucket_url import BucketUrl
from unrolled.store.patterns import fits, is_private
from unrolled.store.place import open_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from producer.sources.places.bucket_object import BucketObject
    from unrolled.store.cloud.objects import BucketObjects, ObjectInfo

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/]*)/*(.*)", re.DOTALL)
#: What may be a password, and must not be shown; a `?` without a name and a value is a part of a pattern.
_QUERY = re.compile(r"[?&#][A-Za-z0-9_.-]+=")

#: How many reasons are shown where all that a URL names is left out.
_SHOWN = 3


def is_bucket_url(given: str) -> bool:
    """Whether an input is meant as a URL, of whatever kind."""
    return _URL.fullmatch(given) is not None


class Buckets:
    """The buckets that inputs are in, each connected to once."""

    def __init__(self) -> None:
        self._open: dict[str, BucketObjects] = {}

    def find(self, given: str, notices: list[str]) -> Iterator[BucketObject]:
        """Yield the objects of a URL, in the order in which a directory of the same names would be read.

        Args:
            given: a URL for which `is_bucket_url` holds.
            notices: gets messages about what is left out.

        Raises:
            RequestError: nothing is found, the URL can't be used, or the extra `[cloud]` is not installed.
            TransientError: the bucket can't be reached, or refuses.
        """
        url, key = _parsed(given)
        if str(url) not in self._open:
            self._open[str(url)] = open_bucket(url)
        bucket = self._open[str(url)]
        from producer.sources.places.bucket_object import BucketObject  # noqa: PLC0415 - needs the extra

        for info in _Search(bucket, notices).find(key):
            yield BucketObject(bucket, info)


def _parsed(given: str) -> tuple[BucketUrl, str]:
    """The URL of the bucket, and the key or pattern in it.

    Raises:
        RequestError: it can't be used; the text doesn't repeat what may be a password.
    """
    found = _URL.fullmatch(given)
    scheme, bucket, key = found.groups() if found else ("", "", "")
    url = BucketUrl.parse(f"{scheme}://{bucket}{'?' if _QUERY.search(key) else ''}")
    return url, key


class _Search:
    """Looks for objects in one bucket."""

    def __init__(self, bucket: BucketObjects, notices: list[str]) -> None:
        self._bucket = bucket
        self._notices = notices
        self._outputs: dict[str, bool] = {}

    def find(self, key: str) -> Sequence[ObjectInfo]:
        """The objects that a key, a folder or a pattern names.

        Raises:
            RequestError: there are none.
        """
        folder = key.rstrip("/")
        if folder and folder == key and (found := self._bucket.find(key)) and found.size_bytes:
            return [found]
        if not glob.has_magic(key) and self._bucket.find(_joined(folder, JOB)):
            url = self._bucket.url_of(folder)
            raise RequestError(
                f"input {url}: is the output directory of a job; to read objects in it, name them, such as "
                f"its parts: '{url}/*.parquet'"
            )
        before = len(self._notices)
        walked = self._walk(folder)
        if walked or not glob.has_magic(key):
            return walked or self._nothing(key, before)
        matches = sorted(self._matches("", folder.split("/")), key=lambda match: match[0])
        return [info for _, infos in matches for info in infos] or self._nothing(key, before)

    def _nothing(self, key: str, before: int) -> Sequence[ObjectInfo]:
        url = self._bucket.url_of(key)
        why = "; ".join([*dict.fromkeys(self._notices[before:])][:_SHOWN])
        if glob.has_magic(key):  # what is in a folder that is left out isn't compared with the pattern
            raise RequestError(
                f"input {url}: no object {'to read ' * bool(why)}matches this pattern{f' ({why})' * bool(why)}"
            )
        if why:
            raise RequestError(f"input {url}: all that could be read is left out: {why}")
        if not key or key.endswith("/"):
            raise RequestError(f"input {url}: no object below it to read")
        raise RequestError(f"input {url}: no such object, and none below {url}/")

    def _matches(self, folder: str, steps: Sequence[str]) -> Iterator[tuple[str, Sequence[ObjectInfo]]]:
        """The matches of a pattern in a folder: a name that matches, and the object of that name or those below it."""
        step, *rest = steps
        if step == "**":
            if rest:
                yield from self._matches(folder, rest)
                for inner in self._folders(folder):
                    yield from self._matches(inner, steps)
            else:
                yield folder, self._walk(folder)
        elif rest and not glob.has_magic(step):
            yield from self._matches(_joined(folder, step), rest)
        else:
            objects, folders = self._bucket.inside(folder)
            if not rest:
                matching = [info for info in objects if fits(_last(info.name), step) and info.size_bytes]
                yield from ((info.name, [info]) for info in self._without_models(matching, objects))
            for inner in folders:
                if fits(_last(inner), step) and not self._is_output(inner):
                    yield from self._matches(inner, rest) if rest else [(inner, self._walk(inner))]

    def _folders(self, folder: str) -> Iterable[str]:
        inside = (inner for inner in self._bucket.inside(folder)[1] if not is_private(_last(inner)))
        return (inner for inner in inside if not self._is_output(inner))

    def _is_output(self, folder: str) -> bool:
        """Whether a folder that a pattern finds is a job's: its own parts would be other inputs each time."""
        if folder not in self._outputs:
            self._outputs[folder] = self._bucket.find(_joined(folder, JOB)) is not None
            if self._outputs[folder]:
                self._notices.append(f"{self._bucket.url_of(folder)} is the output directory of a job: left out")
        return self._outputs[folder]

    def _without_models(self, found: Sequence[ObjectInfo], objects: Iterable[ObjectInfo]) -> list[ObjectInfo]:
        """Some objects without those of the models among all objects of their folders."""
        names = {info.name for info in objects if _last(info.name) in MODEL_FILES}
        folders = [name.removesuffix(CONFIG_FILE) for name in sorted(names) if _last(name) == CONFIG_FILE]
        models = {folder for folder in folders if f"{folder}{WEIGHTS_FILE}" in names}
        own = {folder + name for folder in models for name in MODEL_FILES}
        left_out = {info.name.rpartition("/")[0] for info in found if info.name in own}
        self._notices += [notice_of_model(self._bucket.url_of(folder)) for folder in sorted(left_out)]
        return [info for info in found if info.name not in own]

    def _walk(self, folder: str) -> Sequence[ObjectInfo]:
        """All objects below a folder but private ones, in the order in which a directory is walked."""
        found: list[ObjectInfo] = []
        jobs: list[str] = []
        beginning = f"{folder}/" if folder else ""
        for info in self._bucket.below(folder):
            inner = info.name.removeprefix(beginning)
            if inner == JOB or inner.endswith(f"/{JOB}"):
                jobs.append(info.name.removesuffix(JOB))
            elif not any(map(is_private, inner.split("/"))):
                found.append(info)
        for job in jobs:
            self._notices.append(f"{self._bucket.url_of(job.rstrip('/'))} is the output directory of a job: left out")
        # An empty object with the name of a folder only represents the folder.
        folders = {info.name.rpartition("/")[0] for info in found}
        kept = (info for info in found if info.size_bytes or info.name not in folders)
        inputs = [info for info in kept if not info.name.startswith(tuple(jobs))]
        return sorted(self._without_models(inputs, inputs), key=_order)


def _order(info: ObjectInfo) -> tuple[tuple[bool, str], ...]:
    """Files of a folder come before those of the folders in it."""
    *folders, name = info.name.split("/")
    return (*((True, step) for step in folders), (False, name))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _joined(folder: str, step: str) -> str:
    return f"{folder}/{step}" if folder else step
