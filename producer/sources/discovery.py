"""The files that the user's names stand for, in a fixed order."""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from producer.sources.formats.by_name import by_extension
from producer.sources.options import Compression, Format, SourceOptions
from unrolled.errors import OptionError, RequestError
from unrolled.job.names import JOB

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input.

    Attributes:
        label: the name in its rows: the path as given, or as found below a directory or by a pattern, with escapes for
            bytes that are not UTF-8; "-" for standard input.
        path: the path to open.
        format: the format of its content.
        compression: by its extension; that of standard input is recognized by the first bytes.
        size_bytes: size on disk; None for a pipe.
    """

    label: str
    path: str
    format: Format
    compression: Compression
    size_bytes: int | None


@dataclass(slots=True)
class Discovery:
    """Files in the order in which they are read, and notices for the user."""

    files: list[SourceFile] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def discover(inputs: Sequence[str], options: SourceOptions) -> Discovery:
    """Find the files.

    Directories are walked in sorted order, without names that begin with "." or "_"; patterns may contain `**`. A file
    with several names is read once.

    Args:
        inputs: files, directories, glob patterns, and "-".
        options: only `format` and `follow` matter here.

    Raises:
        RequestError: nothing is found for an input, or it can't be read.
    """
    if not inputs:
        raise RequestError("no input given; name files, directories or patterns, or - for standard input")
    if options.follow and list(inputs) != [STANDARD_INPUT]:
        raise OptionError(f"--follow reads only standard input; found {' '.join(inputs)}, allowed: -")
    found = Discovery()
    seen: dict[tuple[int, int], str] = {}
    labels: set[str] = set()
    for given in inputs:
        for path in _paths(given, found.notices):
            try:
                status = None if path == STANDARD_INPUT else os.stat(path)  # noqa: PTH116 - labels stay as given
            except OSError as error:
                raise RequestError(f"input {_label(path)}: {error.strerror}") from error
            source = _source(path, status, options)
            key = (-1, -1) if status is None else (status.st_dev, status.st_ino)
            if key in seen:
                found.notices.append(f"{source.label} is the same input as {seen[key]}: read once")
                continue
            if source.label in labels:
                raise RequestError(f"two inputs are both called {source.label}; rename one")
            seen[key] = source.label
            labels.add(source.label)
            found.files.append(source)
    return found


def _source(path: str, status: os.stat_result | None, options: SourceOptions) -> SourceFile:
    if status is None:
        return SourceFile(STANDARD_INPUT, path, options.format or "text", "none", None)
    if stat.S_ISDIR(status.st_mode):
        raise RequestError(f"input {_label(path)}: is a directory")
    if not os.access(path, os.R_OK):
        raise RequestError(f"input {_label(path)}: no permission to read it")
    format_, compression = by_extension(path)
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    return SourceFile(_label(path), path, options.format or format_, compression, size)


def _label(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _paths(given: str, notices: list[str]) -> Iterator[str]:
    if given == STANDARD_INPUT:
        yield given
    elif os.path.isdir(given):  # noqa: PTH112 - labels stay as given
        yield from _walk(given, notices)
    elif os.path.lexists(given):
        yield given
    elif "\0" not in given and glob.has_magic(given):
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207 - labels stay as given
        if not matches:
            raise RequestError(f"input {_label(given)}: no file matches this pattern")
        for match in matches:
            yield from _walk(match, notices) if os.path.isdir(match) else (match,)  # noqa: PTH112 - labels stay as given
    else:
        raise RequestError(f"input {_label(given)!r}: no such file or directory")


def _walk(top: str, notices: list[str]) -> Iterator[str]:
    """Yield a directory's regular files; links are followed, but not in circles."""

    def failed(error: OSError) -> NoReturn:
        raise RequestError(f"input {_label(str(error.filename))}: {error.strerror}") from error

    visited: set[tuple[int, int]] = set()
    count = 0
    for folder, folders, names in os.walk(top, onerror=failed, followlinks=True):
        try:
            status = os.stat(folder)  # noqa: PTH116 - os.walk gives text
        except OSError as error:
            failed(error)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        if os.path.exists(os.path.join(folder, JOB)):  # noqa: PTH110, PTH118
            notices.append(f"{_label(folder)} is the output directory of a job: left out")
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - os.walk gives text
            if name.startswith((".", "_")):
                continue
            if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - os.walk gives text
                # Opening a pipe would wait for a writer forever.
                notices.append(f"{_label(path)} is not a regular file: left out")
                continue
            count += 1
            yield path
    if not count:
        raise RequestError(f"input {_label(top)}: the directory has no file to read")
