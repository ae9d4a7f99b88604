"""A store in a bucket: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

An object is created by one PUT that the server carries out only where there is no object of that name, so it is whole
or not there, and durable when the answer arrives. Uploads in several parts are never used.
"""

# Over 150 lines: one class, one method for each thing that a store does.

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import obstore

from unrolled.store.bucket_url import BucketUrl
from unrolled.store.cloud import options
from unrolled.store.cloud.error import ERRORS, explained, is_final, is_no_bucket, is_out_of_range, is_whole, reason_of
from unrolled.store.cloud.gathered import Gathered
from unrolled.store.cloud.listing import PAGE, Jump
from unrolled.store.cloud.options import asking, check_process, connected
from unrolled.store.names import check_folder, check_name, check_own_name
from unrolled.store.object_file import ObjectFile, native_file
from unrolled.store.settle import UnknownOutcomeError, settle
from unrolled.store.store import Content, Creation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obstore import OffsetRange, SuffixRange
    from obstore.store import AzureStore, GCSStore, RetryConfig, S3Store

    _Bucket: TypeAlias = S3Store | GCSStore | AzureStore
    _Range: TypeAlias = tuple[int, int] | OffsetRange | SuffixRange

#: Bytes of an object's end that are fetched when it is opened: the footer of most Parquet files, and a whole small one.
TAIL_BYTES = 1 << 16
#: What is read to see whether an object exists. A HEAD would not say that the bucket is missing; and Azure's emulator
#: has no answer for the first byte alone of an empty object.
_BEGINNING = (0, 2)
#: A part of 64 MiB is put or read within this at 2 Mbit/s.
_LONGEST_SECONDS = 300
#: The largest object that is put within `SILENT_SECONDS` at 1 Mbit/s; nearly all but parts and rows are smaller.
_SMALL_BYTES = 1 << 20
#: Each request but a create is sent again by obstore, while the answer is that of an overloaded server or none.
_RETRIES: RetryConfig = {"max_retries": 6, "retry_timeout": timedelta(seconds=20)}
_NO_RETRIES: RetryConfig = {"max_retries": 0}


class BucketStore:
    """Objects in a bucket.

    Args:
        url: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.

    Attributes:
        url: of the store.

    Raises:
        RequestError: the URL can't be used, or the environment's settings for this cloud can't.
    """

    def __init__(self, url: str) -> None:
        self.url = BucketUrl.parse(url)
        self._bucket: _Bucket = connected(self.url, _LONGEST_SECONDS, _RETRIES, options.SILENT_SECONDS)
        self._listing: _Bucket = connected(self.url, _LONGEST_SECONDS, _RETRIES, options.LISTING_SECONDS)
        # Each answer to a create has to be seen: a request that obstore sent twice says "exists" of its own object.
        self._creating: _Bucket = connected(self.url, _LONGEST_SECONDS, _NO_RETRIES, options.SILENT_SECONDS)
        self._creating_large: _Bucket = connected(self.url, _LONGEST_SECONDS, _NO_RETRIES)

    def __str__(self) -> str:
        return str(self.url)

    def __repr__(self) -> str:
        return f"BucketStore({str(self.url)!r})"

    def __reduce__(self) -> tuple[type[BucketStore], tuple[str]]:
        """Another process connects by itself, with the credentials that it finds."""
        return BucketStore, (str(self.url),)

    def create(self, name: str, content: Content) -> Creation:
        """See `Store.create`. The whole content is in memory, once."""
        check_own_name(name)
        body = Gathered(content)
        creation = settle(f"{self}/{name}", lambda: self._put(name, body), lambda: self._is_there(name))
        body.release()
        return creation

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """See `Store.read`."""
        check_name(name)
        if stop is not None and stop <= start:
            return b"" if self._is_there(name) else None
        rest: OffsetRange | None = {"offset": start} if start else None
        got = self._get(self._bucket, name, rest if stop is None else (start, stop))
        return None if got is None else got[1]

    def open(self, name: str) -> BinaryIO | None:
        """See `Store.open`. Its end is fetched now, other ranges when they are read."""
        check_name(name)
        # Azure has no ranges that are counted from the end.
        from_end = self.url.scheme != "az"
        got = self._get(self._bucket, name, {"suffix": TAIL_BYTES} if from_end else _BEGINNING)
        if got is None:
            return None
        size, content = got
        return native_file(
            ObjectFile(size, lambda start, stop: self.read(name, start, stop), content if from_end else b"")
        )

    def list(self, folder: str = "") -> Iterator[str]:
        """See `Store.list`."""
        check_folder(folder)
        beginning = f"{folder}/" if folder else ""
        offset: str | None = None
        while True:
            # A bucket lists what is below a folder as well. So a folder in it whose names fill a page is jumped over.
            jump = Jump(beginning, self.url)
            with asking(f"list {self}/{folder}"):
                pages = obstore.list(self._listing, folder or None, offset=offset, chunk_size=PAGE)
                for meta in (meta for page in pages for meta in page):
                    name = meta["path"]
                    inner = name.removeprefix(beginning)
                    # Some tools make an object that represents the folder and has its name.
                    if name not in {"", folder} and "/" not in inner and not inner.startswith("."):
                        yield name
                    if jump.is_due(name):
                        break
            if jump.offset is None:
                return
            offset = jump.offset

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        check_own_name(name)
        with asking(f"delete {self}/{name}"):
            try:
                self._bucket.delete(name)
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise

    def sync(self, folder: str = "") -> None:
        """See `Store.sync`: nothing to do, since every object in a bucket is durable."""
        check_folder(folder)

    def changed_at(self, name: str) -> float:
        """When an object was created by the server's clock, in seconds since 1970, without fractions in some clouds.

        Raises:
            TransientError: the store can't be reached, or there is no object.
        """
        check_name(name)
        with asking(f"read {self}/{name}"):
            return self._bucket.head(name)["last_modified"].timestamp()

    def _put(self, name: str, body: Gathered) -> Creation:
        check_process()
        bucket = self._creating
        try:
            if len(body) > _SMALL_BYTES:
                bucket = self._creating_large
                with suppress(FileNotFoundError):
                    # A server that is silent is noticed before so much is sent to it.
                    self._creating.get(name, options={"range": _BEGINNING}).bytes()
                    return Creation.EXISTS
            bucket.put(name, body.pieces, mode="create", use_multipart=False)
        except ERRORS as error:
            body.abandon()
            if is_final(error):
                raise explained(f"create {self}/{name}", error) from None
            raise UnknownOutcomeError(reason_of(error)) from None
        return Creation.CREATED

    def _is_there(self, name: str) -> bool:
        return self._get(self._creating, name, _BEGINNING) is not None

    def _get(self, bucket: _Bucket, name: str, wanted: _Range | None) -> tuple[int, bytes] | None:
        """An object's size and the bytes of a range; None where there is no object."""
        with asking(f"read {self}/{name}"):
            try:
                got = bucket.get(name, options={} if wanted is None else {"range": wanted})
                return got.meta["size"], got.bytes().to_bytes()
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise
                return None
            except ERRORS as error:
                if is_out_of_range(error):
                    return 0, b""
                if is_whole(error) and bucket.head(name)["size"] == 0:
                    return 0, b""
                raise
