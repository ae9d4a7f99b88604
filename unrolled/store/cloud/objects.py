"""Objects that people put into a bucket: found, listed with all that is below a folder, and read in one version."""

# Over 150 lines: what a bucket says of its objects, and how one version of an object is read.

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import obstore
from obstore.exceptions import PreconditionError

from unrolled.errors import RequestError, TransientError
from unrolled.store.bucket_url import BucketUrl
from unrolled.store.cloud import options
from unrolled.store.cloud.error import ERRORS, is_no_bucket, is_out_of_range
from unrolled.store.cloud.listing import PAGE
from unrolled.store.cloud.options import asking, connected

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore import GetOptions, ObjectMeta
    from obstore.store import AzureStore, GCSStore, RetryConfig, S3Store

    _Bucket: TypeAlias = S3Store | GCSStore | AzureStore

#: For a range of some megabytes, or a page of a listing.
_SECONDS = 60
#: Each request is sent again by obstore, while the answer is that of an overloaded server or none.
_RETRIES: RetryConfig = {"max_retries": 6, "retry_timeout": timedelta(seconds=20)}


class ObjectInfo(NamedTuple):
    """One object of a listing.

    Attributes:
        name: its whole name in the bucket.
        size_bytes: its size.
        version: its ETag without quotes, or the time of its change where the server gives no ETag.
    """

    name: str
    size_bytes: int
    version: str


class BucketObjects:
    """The objects of a bucket, which are only read.

    Args:
        url: of the bucket; its prefix doesn't matter.

    All methods raise a TransientError where the bucket can't be reached or refuses. The text says which object, why,
    and what to do.

    Raises:
        RequestError: the environment's settings for this cloud can't be used.
    """

    def __init__(self, url: BucketUrl) -> None:
        self._url = BucketUrl(url.scheme, url.bucket, "")
        self._bucket: _Bucket = connected(self._url, _SECONDS, _RETRIES, options.SILENT_SECONDS)
        self._listing: _Bucket = connected(self._url, _SECONDS, _RETRIES, options.LISTING_SECONDS)

    def url_of(self, name: str) -> str:
        """The URL of an object or a folder."""
        return f"{self._url}/{name}"

    def find(self, name: str) -> ObjectInfo | None:
        """The object of this name; None where there is none, or no bucket."""
        with asking(f"read {self.url_of(name)}"):
            try:
                return _info(self._bucket.head(name))
            except FileNotFoundError:
                return None

    def below(self, folder: str) -> Iterator[ObjectInfo]:
        """All objects in a folder and in the folders in it, a page at a time; "" is the whole bucket."""
        with asking(f"list {self.url_of(folder)}"):
            for page in obstore.list(self._listing, folder or None, chunk_size=PAGE):
                # Some tools make an object that represents the folder and has its name.
                yield from (_info(meta) for meta in page if meta["path"] not in {"", folder})

    def inside(self, folder: str) -> tuple[Sequence[ObjectInfo], Sequence[str]]:
        """The objects in a folder, and the whole names of the folders in it."""
        with asking(f"list {self.url_of(folder)}"):
            found = obstore.list_with_delimiter(self._listing, folder or None)
            objects = [_info(meta) for meta in found["objects"] if meta["path"] not in {"", folder}]
            return objects, list(found["common_prefixes"])

    def read(self, name: str, start: int, stop: int, etag: str | None) -> tuple[ObjectInfo, str | None, bytes]:
        """The bytes `[start:stop]` of an object.

        Args:
            name: of the object.
            start: where the range begins; it is not empty, and within the object.
            stop: where it ends.
            etag: as the server gave it; None for any version.

        Returns:
            What the object is now, its ETag, and the bytes.

        Raises:
            RequestError: the object is gone, or has another ETag.
        """
        options: GetOptions = {"range": (start, stop)}
        if etag is not None:
            options["if_match"] = etag
        with asking(f"read {self.url_of(name)}"):
            try:
                got = self._bucket.get(name, options=options)
                return _info(got.meta), got.meta["e_tag"], got.bytes().to_bytes()
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                raise RequestError("is gone") from None
            except PreconditionError:
                raise RequestError(CHANGED) from None
            except ERRORS as error:
                if is_out_of_range(error):
                    raise RequestError(CHANGED) from None
                raise


#: What is said of an object that isn't what it was.
CHANGED = "has changed since this command found it; give the command again"


class OneVersion:
    """An object that is read by ranges, all of them of the version that the first of them found.

    Args:
        bucket: that it is in.
        info: of the listing.
    """

    def __init__(self, bucket: BucketObjects, info: ObjectInfo) -> None:
        self.info = info
        self._bucket = bucket
        self._etag: str | None = None
        self._version: str | None = None

    def __str__(self) -> str:
        return self._bucket.url_of(self.info.name)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes `[start:stop]`, which must be in the object.

        Raises:
            RequestError: it is gone, or was replaced by another version.
            TransientError: the bucket can't be reached, or refuses.
        """
        if stop <= start:
            return b""
        now, etag, content = self._bucket.read(self.info.name, start, stop, self._etag)
        if self._version is None:
            # Some clouds write ETags in listings in another way than in answers, so one that differs proves nothing.
            if now.size_bytes != self.info.size_bytes:
                raise RequestError(CHANGED)
            self._version, self._etag = now.version, etag
        elif now.version != self._version or now.size_bytes != self.info.size_bytes:
            raise RequestError(CHANGED)  # the server ignores If-Match
        if len(content) != stop - start:
            raise TransientError(f"cannot read {self}: {len(content)} of {stop - start} bytes arrived; try again")
        return content


def _info(meta: ObjectMeta) -> ObjectInfo:
    etag = meta["e_tag"]
    return ObjectInfo(meta["path"], meta["size"], etag.strip('"') if etag else meta["last_modified"].isoformat())
