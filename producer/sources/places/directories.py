"""The files that a user's path or pattern names."""

import glob
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from producer.sources.notices import OF_A_JOB, OF_A_MODEL
from producer.sources.places.local_file import LocalFile, shown
from unrolled.errors import RequestError
from unrolled.job.directories import has_training
from unrolled.job.names import JOB, part_object, parts_in
from unrolled.model.files import CONFIG_FILE, WEIGHTS_FILE
from unrolled.store.patterns import is_private, matching_paths


def find_files(given: str, notices: list[str]) -> Iterator[LocalFile]:
    """Yield the files of a path or a pattern, in sorted order.

    Args:
        given: a file, a directory, or a pattern, which may contain `**`.
        notices: gets messages about what is left out.

    Raises:
        RequestError: nothing is found, or it can't be read.
    """
    for path in _paths(given, notices):
        try:
            file = LocalFile.of(path)
        except OSError as error:
            raise RequestError(f"input {shown(path)}: {error.strerror}") from error
        if os.path.isdir(path):  # noqa: PTH112 - names stay as given
            raise RequestError(f"input {file.name}: is a directory")
        if not os.access(path, os.R_OK):
            raise RequestError(f"input {file.name}: no permission to read it")
        yield file


def _paths(given: str, notices: list[str]) -> Iterator[str]:
    if os.path.isdir(given):  # noqa: PTH112 - names stay as given
        if kind := _kind_of(given):
            raise RequestError(
                f"input {shown(given)}: is {kind}; to read files in it, name them, such as {_files_in(given)}"
            )
        yield from _walk(given, notices)
    elif os.path.lexists(given):
        yield given
    elif "\0" not in given and glob.has_magic(given):
        try:
            matches = matching_paths(given)
        except OSError as error:
            raise RequestError(f"input {shown(str(error.filename))}: {error.strerror}") from error
        if not matches:
            raise RequestError(f"input {shown(given)}: no file matches this pattern")
        for match in _without_outputs(matches, given, notices):
            yield from _walk(match, notices) if os.path.isdir(match) else (match,)  # noqa: PTH112 - names stay as given
    else:
        raise RequestError(f"input {shown(given)!r}: {_why_absent(given)}")


def _kind_of(directory: str) -> str:
    """What a directory is that isn't one of inputs, for people: a job's or a model's; "" otherwise."""
    if os.path.exists(os.path.join(directory, JOB)):  # noqa: PTH110, PTH118 - names stay as given
        return OF_A_JOB
    is_whole = all(os.path.exists(os.path.join(directory, name)) for name in (CONFIG_FILE, WEIGHTS_FILE))  # noqa: PTH110, PTH118 - names stay as given
    return OF_A_MODEL if is_whole or has_training(Path(directory)) else ""


def _files_in(directory: str) -> str:
    """A pattern for the user's own files in the directory of a job, or else for its parts."""
    names = sorted(name for name in os.listdir(directory) if not is_private(name))  # noqa: PTH208 - names stay as given
    parts = {part_object(shard) for shard in parts_in(names)}
    which, pattern = "its parts: ", "*.parquet"
    if (own := next((name for name in names if name not in parts), None)) is not None:
        extension = os.path.splitext(own)[1]  # noqa: PTH122 - names stay as given
        which, pattern = "", f"*{extension}" if extension else own
    return f"{which}'{shown(os.path.join(directory, pattern))}'"  # noqa: PTH118 - names stay as given


def _why_absent(path: str) -> str:
    """Why there is nothing at a path, which may be in a directory that this user may not enter."""
    try:
        os.lstat(path)
    except PermissionError as error:
        return str(error.strerror)
    except (OSError, ValueError):
        pass
    return "no such file or directory"


def _without_outputs(matches: Iterable[str], pattern: str, notices: list[str]) -> Iterator[str]:
    """The matches of a pattern that are in no directory of a job or a model, unless the pattern itself names that.

    A pattern that matches a job's own parts would find other inputs each time.
    """
    steps = list(itertools.takewhile(lambda step: not glob.has_magic(step), pattern.split("/")))
    named, found = "/".join(steps), dict[str, bool]()

    def is_output(folder: str) -> bool:
        if len(folder) <= len(named):
            return False
        if folder not in found:
            found[folder] = bool(kind := _kind_of(folder))
            if kind:
                notices.append(f"{shown(folder)} is {kind}: left out")
            else:
                found[folder] = is_output(os.path.dirname(folder))  # noqa: PTH120 - names stay as given
        return found[folder]

    for match in matches:
        if not is_output(match if os.path.isdir(match) else os.path.dirname(match)):  # noqa: PTH112, PTH120 - names stay as given
            yield match


def _walk(top: str, notices: list[str]) -> Iterator[str]:
    """Yield a directory's regular files; links are followed, but not in circles."""

    def failed(error: OSError) -> NoReturn:
        raise RequestError(f"input {shown(str(error.filename))}: {error.strerror}") from error

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
        if kind := _kind_of(folder):
            notices.append(f"{shown(folder)} is {kind}: left out")
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not is_private(name))
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - os.walk gives text
            if is_private(name):
                continue
            if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - os.walk gives text
                # Opening a pipe would wait for a writer forever.
                notices.append(f"{shown(path)} is not a regular file: left out")
                continue
            count += 1
            yield path
    if not count:
        raise RequestError(f"input {shown(top)}: the directory has no file to read")
