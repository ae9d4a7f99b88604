"""Does a file system do what a job's files need?"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from producer.doctor.check import Check
from unrolled.errors import RequestError
from unrolled.store.disk.direct_file import GATHERED_BYTES, direct_file
from unrolled.store.disk.name_once import name_once

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Some file systems keep times to the second or two.
_SKEW_SECONDS = 5.0


def check_disk(place: Path) -> Iterator[Check]:
    """Try in a directory what publishing does there; nothing of it stays.

    Args:
        place: a directory that can be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".unrolled-doctor-") as name:
            folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
            try:
                yield _check_named_once(folder, Path(name))
            finally:
                os.close(folder)
            yield _check_direct(Path(name))
            yield _check_clock(Path(name))
    except OSError as error:
        yield Check("created once", "unknown", f"{place}: it couldn't be tried: {error.strerror}")


def _check_named_once(folder: int, path: Path) -> Check:
    for name in ("first", "second"):
        (path / name).write_bytes(name.encode())
    try:
        named = [name_once(folder, name, "part") for name in ("first", "second")]
    except RequestError as error:
        found, _, advice = str(error).rpartition("; ")
        return Check("created once", "fail", found, advice)
    if named != [True, False] or (path / "part").read_bytes() != b"first":
        advice = "use a directory on a local disk or on NFS, or a bucket"
        return Check("created once", "fail", "a file that exists was replaced", advice)
    how = "hard links" if os.stat("part", dir_fd=folder).st_nlink > 1 else "renames that replace nothing"
    return Check("created once", "ok", f"a file that exists isn't replaced ({how})")


def _check_direct(path: Path) -> Check:
    with (path / "direct").open("wb") as file, direct_file(file.fileno()) as direct:
        direct.write(bytes(GATHERED_BYTES))
        past = direct.is_direct
    if past:
        return Check("direct writes", "ok", "large files go past the page cache")
    return Check("direct writes", "ok", "not here: large files go through the page cache, which takes processor time")


def _check_clock(path: Path) -> Check:
    began = time.time()
    (path / "now").write_bytes(b"")
    skew = (path / "now").stat().st_mtime - (began + time.time()) / 2
    found = f"the file system's is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > _SKEW_SECONDS:
        return Check("file system's clock", "warn", found, "set both clocks, so that files' times can be compared")
    return Check("file system's clock", "ok", found)
