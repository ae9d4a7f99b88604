"""The directory, or the prefix in a bucket, that every output directory must be in."""

from __future__ import annotations

import os
from pathlib import Path

from unrolled.errors import OptionError, RequestError
from unrolled.store.bucket_url import BucketUrl, is_url


class OutputRoot:
    """A limit to the places that jobs may have.

    Args:
        root: a path, or the URL of a bucket or of a prefix in one.

    Raises:
        RequestError: it is another URL, or names a place that no job can have.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        text = os.fspath(root)
        self._root = BucketUrl.parse(text) if is_url(text) else Path(text).resolve()
        self._named = None if is_url(text) else os.path.abspath(text)  # noqa: PTH100 - follows no link

    def __str__(self) -> str:
        return str(self._root)

    def check_exists(self) -> None:
        """Check that a path is that of a directory: else no job could be in it. A prefix needs no object.

        Raises:
            OptionError: it isn't.
        """
        if isinstance(self._root, Path) and not self._root.is_dir():
            found = "is not a directory" if self._root.exists() else "does not exist"
            raise OptionError(f"{self}: {found}; name the directory that contains the output directories")

    def contains(self, place: str) -> bool:
        """Whether the place of a job is in it; a path without its symbolic links."""
        try:
            if isinstance(self._root, BucketUrl):
                return is_url(place) and BucketUrl.parse(place).is_in(self._root)
            return not is_url(place) and _resolved(place).is_relative_to(self._root)
        except (RequestError, ValueError, OSError, RuntimeError):  # a hostile URL, a zero byte, links in a circle
            return False

    def link_in(self, place: str) -> str:
        """Of a path that isn't in it, what to say if it seems to be, but for a symbolic link; else empty.

        It isn't said where that leads: anybody with access to Redis can name a path to a worker.
        """
        try:
            real = None if is_url(place) or self._named is None else _resolved(place)
        except (ValueError, OSError, RuntimeError):
            return ""
        if real is None or self._named is None or real.is_relative_to(str(self)):
            return ""
        named = Path(os.path.abspath(place))  # noqa: PTH100 - follows no link
        seems = any(named.is_relative_to(root) for root in (str(self), self._named))
        return " (its symbolic links lead elsewhere)" if seems else ""


def _resolved(place: str) -> Path:
    """The path without symbolic links.

    Raises:
        OSError: links lead in a circle, which Python 3.13 leaves in the path.
        RuntimeError: links lead in a circle, on earlier versions.
    """
    found = Path(place).resolve()
    if any(path.is_symlink() for path in (found, *found.parents)):
        raise OSError(f"{place}: too many levels of symbolic links")
    return found
