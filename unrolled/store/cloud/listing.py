"""Listing one folder of a bucket, which knows of names only, and lists all that begin with the folder's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unrolled.store.bucket_url import BucketUrl

#: Names in one page of a listing, as the clouds give them.
PAGE = 1000


class Jump:
    """Finds folders within the listed one that are worth jumping over, where names are listed in order.

    Args:
        beginning: of the names in the listed folder.
        url: of the bucket.

    Attributes:
        offset: the name after which the listing is to go on; None where there is nothing to jump over.
    """

    def __init__(self, beginning: str, url: BucketUrl) -> None:
        self.offset: str | None = None
        self._beginning = beginning
        # Azure's listing can't begin in the middle, and that of an S3 Express bucket (--x-s3) has no order.
        self._may = url.scheme != "az" and not url.bucket.endswith("--x-s3")
        self._inner, self._names, self._last = "", 0, ""

    def is_due(self, name: str) -> bool:
        """Whether to go on after `offset`, given the next name."""
        self._may = self._may and name >= self._last
        self._last = name
        inner, slash, _ = name.removeprefix(self._beginning).partition("/")
        if not slash or inner != self._inner:
            self._inner, self._names = inner if slash else "", 0
        self._names += bool(slash)
        if self._names < PAGE or not self._may:
            return False
        # A tilde is behind the names that this product gives. Others behind it are seen, and passed over one by one.
        offset = f"{self._beginning}{inner}/~"
        if name >= offset:
            return False
        self.offset = offset
        return True
