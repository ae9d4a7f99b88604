"""From what the user named to the files that are read, in a fixed order."""

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NoReturn

from producer.sources.options import Compression, Format, SourceOptions
from unrolled.errors import OptionError, RequestError

STANDARD_INPUT = "-"

_COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".arrows": "arrow", ".ipc": "arrow", ".feather": "arrow",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input.

    Attributes:
        label: the name that its rows carry: the path as given (as found, below a directory or a pattern),
            bytes that are no UTF-8 written as escapes; "-" for standard input.
        path: what is opened.
        format: how its content is read.
        compression: by its extension; standard input goes by its first bytes.
        size_bytes: on disk, None for a pipe.
    """

    label: str
    path: str
    format: Format
    compression: Compression
    size_bytes: int | None


@dataclass(slots=True)
class Discovery:
    """Files in reading order, and what the user should be told about them."""

    files: list[SourceFile] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def discover(inputs: Sequence[str], options: SourceOptions) -> Discovery:
    """Find the files.

    Directories are walked in sorted order, without names that begin with "." or "_"; patterns know `**`. A
    file that is reached twice, by whatever name, is read once.

    Args:
        inputs: files, directories, glob patterns, and "-".
        options: `format` and `follow` count here.

    Raises:
        RequestError: nothing is found for one of the inputs, or it can't be read.
    """
    if not inputs:
        raise RequestError("no input given; name files, directories or patterns, or - for standard input")
    if options.follow and list(inputs) != [STANDARD_INPUT]:
        raise OptionError(f"--follow reads standard input alone; found {' '.join(inputs)}, allowed: -")
    found = Discovery()
    seen: dict[tuple[int, int], str] = {}
    labels: set[str] = set()
    for given in inputs:
        for path in _paths(given, found.notices):
            try:
                status = None if path == STANDARD_INPUT else os.stat(path)  # noqa: PTH116  (labels stay as given)
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


def by_extension(path: str) -> tuple[Format, Compression]:
    """Tell format and compression by the name; an unknown extension is text."""
    stem, extension = os.path.splitext(path)  # noqa: PTH122  (labels stay as given)
    compression = _COMPRESSIONS.get(extension.lower(), "none")
    if compression != "none":
        extension = PurePath(stem).suffix
    return _FORMATS.get(extension.lower(), "text"), compression


def _label(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _paths(given: str, notices: list[str]) -> Iterator[str]:
    if given == STANDARD_INPUT:
        yield given
    elif os.path.isdir(given):  # noqa: PTH112  (as above)
        yield from _walk(given, notices)
    elif os.path.lexists(given):
        yield given
    elif "\0" not in given and glob.has_magic(given):
        matches = sorted(glob.glob(given, recursive=True))  # noqa: PTH207  (as above)
        if not matches:
            raise RequestError(f"input {_label(given)}: no file matches this pattern")
        for match in matches:
            yield from _walk(match, notices) if os.path.isdir(match) else (match,)  # noqa: PTH112
    else:
        raise RequestError(f"input {_label(given)!r}: no such file or directory")


def _walk(top: str, notices: list[str]) -> Iterator[str]:
    """Yield a directory's regular files, following links but no loop of them."""

    def failed(error: OSError) -> NoReturn:
        raise RequestError(f"input {_label(str(error.filename))}: {error.strerror}") from error

    visited: set[tuple[int, int]] = set()
    count = 0
    for folder, folders, names in os.walk(top, onerror=failed, followlinks=True):
        try:
            status = os.stat(folder)  # noqa: PTH116
        except OSError as error:
            failed(error)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118
            if name.startswith((".", "_")):
                continue
            if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
                # A pipe in a directory would wait for a writer forever.
                notices.append(f"{_label(path)} is no regular file: left out")
                continue
            count += 1
            yield path
    if not count:
        raise RequestError(f"input {_label(top)}: the directory holds no file to read")
