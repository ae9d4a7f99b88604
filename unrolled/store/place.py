"""The store at a path or a URL, and a proof that it does what the others rest on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import RequestError, from_extra
from unrolled.store.bucket_url import BucketUrl, is_url
from unrolled.store.posix import PosixStore
from unrolled.store.store import Creation, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from unrolled.store.cloud.objects import BucketObjects


def open_store(place: str | Path, *, make: bool = False) -> Store:
    """The store at a path or a URL.

    Args:
        place: a directory, or `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`, with credentials
            where the tools of that cloud find them.
        make: whether a directory that is missing is made. Without it, a directory that is missing has to come back, and
            every operation says so. A bucket is never made.

    Raises:
        RequestError: another scheme, a URL that can't be used, or the extra `[cloud]` is not installed.
        TransientError: the directory can't be made.
    """
    if not is_url(os.fspath(place)):
        return PosixStore(place, make=make)
    url = BucketUrl.parse(os.fspath(place))
    with from_extra(str(url), "cloud"):
        from unrolled.store.bucket import BucketStore  # noqa: PLC0415 - needs the extra
    return BucketStore(str(url))


def absolute(place: str | os.PathLike[str]) -> str:
    """A path or a URL that stays right when the program changes its directory; ".." and links are kept as they are."""
    text = os.fspath(place)
    return text if is_url(text) else str(Path(text).absolute())


def absolute_where_it_is(place: str | os.PathLike[str], resolved: str) -> str:
    """A path that `absolute` has resolved, in whichever process this is.

    Args:
        place: as it was given.
        resolved: what `absolute` gave for it, perhaps on another machine, where the same files may be elsewhere.

    Returns:
        `resolved`; or `place` where only that exists, as in a working directory that was copied to this machine.
    """
    is_copied = not is_url(resolved) and not Path(resolved).exists() and Path(place).exists()
    return os.fspath(place) if is_copied else resolved


def open_bucket(url: BucketUrl) -> BucketObjects:
    """The objects that people put into a bucket, to be read.

    Args:
        url: of the bucket; its prefix doesn't matter.

    Raises:
        RequestError: the settings in the environment can't be used, or the extra `[cloud]` is not installed.
    """
    with from_extra(str(url), "cloud"):
        from unrolled.store.cloud.objects import BucketObjects  # noqa: PLC0415 - needs the extra
    return BucketObjects(url)


def check_creates_once(store: Store, look: Callable[[str], object] = str) -> None:
    """Prove that a store never replaces an object: create one twice, and delete it.

    Servers and file systems that replace it, or ignore the condition, are found before a job rests on them.

    Args:
        store: any.
        look: called with the object's name while it exists.

    Raises:
        RequestError: the store replaced the object, or refuses to create one.
        TransientError: the store can't be reached.
    """
    name = f"_unrolled/probe/{os.urandom(8).hex()}"
    store.create(name, b"first")
    try:
        look(name)
        second = store.create(name, b"second")
        found = store.read(name)
    finally:
        store.delete(name)
    if second is not Creation.EXISTS or found != b"first":
        raise RequestError(
            f"{store} replaces an object that exists: it ignores `If-None-Match: *`; use a bucket of Amazon S3, Google"
            " Cloud Storage or Azure Blob Storage, a current version of the server, or a directory"
        )
