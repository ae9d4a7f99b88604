"""An input in a bucket."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from producer.sources.errors import DamagedInputError
from unrolled.errors import RequestError
from unrolled.store.cloud.objects import OneVersion
from unrolled.store.object_file import ObjectFile, native_file
from unrolled.store.read_ahead import ReadAhead, in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unrolled.patience import Steadily
    from unrolled.store.cloud.objects import BucketObjects, ObjectInfo

#: Bytes of a table's end that are fetched when it is opened: the footer of most Parquet files.
_TAIL_BYTES = 1 << 16


class BucketObject:
    """An object; the attributes are those of `Place`."""

    def __init__(self, bucket: BucketObjects, info: ObjectInfo) -> None:
        self._object = OneVersion(bucket, info)
        self.name = bucket.url_of(info.name)
        self.size_bytes: int | None = info.size_bytes
        self.version: str | int = info.version
        self.is_distant = True

    def open(self, steadily: Steadily) -> BinaryIO:
        """See `Place.open`. It is fetched in ranges, some of them ahead of the reader."""
        return cast("BinaryIO", ReadAhead(self.size_bytes or 0, self._fetch, steadily, self.name))

    @contextmanager
    def open_table(self, steadily: Steadily, *, mapped: bool) -> Iterator[Any]:
        """See `Place.open_table`. Each read is one range."""
        del mapped
        size = self.size_bytes or 0

        def fetch(start: int, stop: int) -> bytes:
            return steadily(f"read {self.name}", lambda: in_thread(self._fetch, start, stop).result())

        tail = fetch(max(0, size - _TAIL_BYTES), size) if size else b""
        with native_file(ObjectFile(size, fetch, tail)) as file:
            yield file

    def _fetch(self, start: int, stop: int) -> bytes:
        try:
            return self._object.read(start, stop)
        except RequestError as error:
            raise DamagedInputError(str(error)) from error
