"""Where a job is in a cloud: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from unrolled.errors import OptionError
from unrolled.store.names import check_name

Scheme = Literal["s3", "gs", "az"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/{1,2}([^/]*)(?:/(.*))?", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A place in a bucket.

    Attributes:
        scheme: of the cloud.
        bucket: its name; for `az` of the container.
        prefix: the folder in the bucket, without slashes at its ends; "" for the whole bucket.
    """

    scheme: Scheme
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @classmethod
    def parse(cls, url: str) -> BucketUrl:
        """Take a URL apart.

        Raises:
            OptionError: it has another scheme, a name that no bucket has, or more than a bucket and a prefix. The text
                does not repeat what may be a password.
        """
        found = _URL.fullmatch(url)
        scheme = found.group(1).lower() if found else ""
        if not found or scheme not in SCHEMES:
            raise OptionError(
                f"{scheme or 'no scheme'}:// is not a place for objects; allowed: a path,"
                f" {', '.join(f'{allowed}://' for allowed in SCHEMES)}"
            )
        bucket, prefix = found.group(2), (found.group(3) or "").rstrip("/")
        if re.search(r"[@?#]", bucket) or re.search(r"[?#]", prefix):
            raise OptionError(
                f"a URL with {scheme}:// has a bucket and a prefix alone, and no name, password or query; remove them"
                " from the URL, since credentials are found where the cloud's own tools find them"
            )
        if not _BUCKET.fullmatch(bucket):
            raise OptionError(
                f"{bucket[:100]!a} is not the name of a bucket; allowed: 3 or more of a-z 0-9 . _ - that begin and"
                f" end with a-z or 0-9, as in {scheme}://BUCKET/PREFIX"
            )
        if prefix:
            check_name(prefix)
        return cls(cast("Scheme", scheme), bucket, prefix)

    def is_in(self, other: BucketUrl) -> bool:
        """Whether this place is another one, or below it."""
        within = not other.prefix or f"{self.prefix}/".startswith(f"{other.prefix}/")
        return (self.scheme, self.bucket) == (other.scheme, other.bucket) and within


def is_url(place: str) -> bool:
    """Whether a place is meant as a URL. One slash is enough: a URL that went through a path has lost the other."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", place) is not None


def shown(place: str | os.PathLike[str]) -> str:
    """A path as it is; a URL with the slash that it has lost on its way through a path, and without secrets.

    A name and a password before the bucket, and what follows a question mark, such as a signature, are left out.
    """
    text = os.fspath(place)
    if not is_url(text):
        return text
    whole = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)", r"\1://", text)
    return re.sub(r"\?.*", "?…", re.sub(r"//[^/]*@", "//…@", whole, count=1), flags=re.DOTALL)
