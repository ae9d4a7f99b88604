"""Models in buckets, copied once to this machine and checked each time that they are used.

The copies are in `models/` below `UNROLLED_CACHE`, else `$XDG_CACHE_HOME/unrolled`, else `~/.cache/unrolled`. A copy is
a model directory, named after the URL and the versions of its objects; it appears whole or not at all, and is never
changed. `fingerprint` beside its files is that of the model.
"""

# Over 150 lines: one copy, from the look into the bucket to the sweep of old ones.

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import ModelError, RequestError, TransientError
from unrolled.model.files import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, fingerprint_of
from unrolled.patience import at_once
from unrolled.store.bucket_url import BucketUrl
from unrolled.store.lock import lock_file
from unrolled.store.place import open_bucket
from unrolled.store.publish import publish_bytes
from unrolled.store.read_ahead import ReadAhead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from unrolled.patience import Steadily
    from unrolled.store.cloud.objects import BucketObjects, ObjectInfo

    _Objects = Mapping[str, ObjectInfo]

#: Copies that are kept; the one that was used longest ago goes first.
MOST_COPIES = 8
_FILES = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE)
_FINGERPRINT = "fingerprint"
_ATTEMPTS = 3
_LOCK_SECONDS = 600
_COPY_BYTES = 1 << 20


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this machine keeps copies.

    Raises:
        RequestError: the user has no home directory, and the environment names no other place.
    """
    place = environment.get("UNROLLED_CACHE") or f"{environment.get('XDG_CACHE_HOME') or '~/.cache'}/unrolled"
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise RequestError(f"{place}: this user has no home directory; name another place in UNROLLED_CACHE") from None


def local_copy(place: str, steadily: Steadily = at_once) -> Path:
    """The copy of a model in a bucket, made now unless this machine has it.

    Args:
        place: URL of the model's prefix.
        steadily: tries each look at the bucket until it works; by default once.

    Raises:
        ModelError: there is no model, or it changes all the time.
        RequestError: the URL can't be used.
        TransientError: the bucket can't be reached, or the copy can't be written.
    """
    url = BucketUrl.parse(place)
    bucket = open_bucket(url)
    copies = cache_directory() / "models"
    try:
        copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        for _ in range(_ATTEMPTS):
            found = steadily(f"read {url}", lambda: _find(bucket, url))
            with _locked(copies / f".{_key(url, found)}.lock"):
                copy = copies / _key(url, found)
                if _is_whole(copy) or _fetch(bucket, url, found, copy, steadily):
                    os.utime(copy)
                    _sweep(copies, copy)
                    return copy
    except OSError as error:
        raise TransientError(
            f"{url}: can't be copied to {copies} ({error.strerror or error}); make room there, or let UNROLLED_CACHE"
            " name another directory"
        ) from error
    raise ModelError(f"{url}: changes while it is read; try again when all of its objects are in place")


def _find(bucket: BucketObjects, url: BucketUrl) -> _Objects:
    """The model's objects by the names of its files."""
    named = {name: bucket.find(f"{url.prefix}/{name}" if url.prefix else name) for name in _FILES}
    found = {name: info for name, info in named.items() if info is not None}
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if name not in found:
            bucket.inside(url.prefix)  # says so where there is no bucket
            raise ModelError(f"{url}: has no object {name}; a model needs {CONFIG_FILE} and {WEIGHTS_FILE}")
    return found


def _key(url: BucketUrl, found: _Objects) -> str:
    named = [str(url), *([name, info.size_bytes, info.version] for name, info in sorted(found.items()))]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


def _fetch(bucket: BucketObjects, url: BucketUrl, found: _Objects, copy: Path, steadily: Steadily) -> bool:
    """Make a copy; False where the model in the bucket has changed meanwhile."""
    shutil.rmtree(copy, ignore_errors=True)  # one that is damaged
    scratch = Path(tempfile.mkdtemp(prefix=".copy-", dir=copy.parent))
    try:
        for name, info in found.items():
            try:
                _copy(bucket, info, scratch / name, steadily)
            except RequestError:
                return False
        # The objects were read one after the other, and may be of two models.
        if steadily(f"read {url}", lambda: _find(bucket, url)) != found:
            return False
        publish_bytes(scratch / _FINGERPRINT, fingerprint_of(scratch).encode())
        with contextlib.suppress(FileExistsError):
            os.rename(scratch, copy)  # noqa: PTH104 - a Path's would be the same
        return _is_whole(copy)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy(bucket: BucketObjects, info: ObjectInfo, target: Path, steadily: Steadily) -> None:
    from unrolled.store.cloud.objects import OneVersion  # noqa: PLC0415 - needs the extra

    fetched = OneVersion(bucket, info)
    with (
        ReadAhead(info.size_bytes, fetched.read, steadily, str(fetched)) as source,
        target.open("xb") as file,
    ):
        shutil.copyfileobj(source, file, _COPY_BYTES)
        file.flush()
        os.fsync(file.fileno())


def _is_whole(copy: Path) -> bool:
    """Whether a copy is there and has the bytes that were fetched."""
    try:
        return (copy / _FINGERPRINT).read_text() == fingerprint_of(copy)
    except (OSError, UnicodeDecodeError):
        return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process fetch while others wait; without a lock, several fetch, and the first copy stays."""
    try:
        lock = lock_file(path, _LOCK_SECONDS, 0o600)
    except OSError:
        yield
        return
    with lock:
        yield


def _sweep(copies: Path, used: Path) -> None:
    """Remove the copies that were used longest ago, and what killed processes left."""
    with contextlib.suppress(OSError):
        found = sorted((path for path in copies.iterdir() if path != used), key=_used, reverse=True)
        whole = [path for path in found if not path.name.startswith(".")]
        latest = _used(used)
        old = [path for path in found if path.name.startswith(".") and latest - _used(path) > 24 * 3600]
        for path in (*whole[MOST_COPIES - 1 :], *old):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _used(path: Path) -> float:
    return path.stat().st_mtime
