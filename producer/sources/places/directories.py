"""The files that a user's path or pattern names."""

# Over 150 lines: a path, a directory and a pattern, and what is left out of each.

import glob
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NoReturn

from producer.sources.notices import MODEL_FILES, notice_of_model
from producer.sources.places.local_file import LocalFile, shown
from unrolled.errors import RequestError
from unrolled.job.names import JOB, part_object, parts_in
from unrolled.model.files import CONFIG_FILE, TRAINING_FOLDER, WEIGHTS_FILE
from unrolled.store.disk.path_limits import why_home
from unrolled.store.patterns import is_private, matching_paths

#: How many reasons are shown where all that matches a pattern is left out.
_SHOWN = 3


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
            why = error.strerror
            if isinstance(error, FileNotFoundError) and os.path.islink(path):  # noqa: PTH114 - as below
                why = f"is a symbolic link to {shown(os.path.realpath(path))}, which doesn't exist"
            raise RequestError(f"input {shown(path)}: {why}") from error
        if os.path.isdir(path):  # noqa: PTH112 - names stay as given
            raise RequestError(f"input {file.name}: is a directory")
        if not os.access(path, os.R_OK):
            raise RequestError(f"input {file.name}: no permission to read it")
        # Those of a shell, as in <(command), are in /dev, and somebody writes to them.
        if stat.S_ISFIFO(os.stat(path).st_mode) and not path.startswith(("/dev/", "/proc/")):  # noqa: PTH116 - as above
            notices.append(f"{file.name} is a named pipe: it is read when another program opens it to write")
        yield file


def _paths(given: str, notices: list[str]) -> Iterator[str]:
    if os.path.isdir(given):  # noqa: PTH112 - names stay as given
        yield from _below(given, notices)
    elif os.path.lexists(given):
        yield given
    elif "\0" not in given and glob.has_magic(given):
        yield from _matching(given, notices)
    else:
        raise RequestError(f"input {shown(given)!r}: {_why_absent(given)}")


def _below(given: str, notices: list[str]) -> Iterator[str]:
    """The files below a directory.

    Raises:
        RequestError: there are none, or it is a job's.
    """
    if os.path.exists(os.path.join(given, JOB)):  # noqa: PTH110, PTH118 - names stay as given
        raise RequestError(
            f"input {shown(given)}: is the output directory of a job; to read files in it, name them, such as "
            f"{_files_in(given)}"
        )
    path, before = None, len(notices)
    for path in _walk(given, notices):
        yield path
    if path is None:
        raise RequestError(f"input {shown(given)}: {_why_none(notices[before:], 'the directory has no file to read')}")


def _matching(pattern: str, notices: list[str]) -> Iterator[str]:
    """The files that match a pattern, and those below the directories that do.

    Raises:
        RequestError: there are none.
    """
    try:
        matches = matching_paths(pattern)
    except OSError as error:
        raise RequestError(f"input {shown(str(error.filename))}: {error.strerror}") from error
    if not matches:
        home = f"; {why}" if (why := why_home(pattern)) else ""
        raise RequestError(f"input {shown(pattern)}: no file matches this pattern{home}")
    path, before = None, len(notices)
    for match in _without_outputs(matches, pattern, notices):
        for path in _walk(match, notices) if os.path.isdir(match) else (match,):  # noqa: PTH112 - names stay as given
            yield path
    if path is None:
        why = _why_none(notices[before:], "the directories that match have no file to read")
        raise RequestError(f"input {shown(pattern)}: {why}")


def _why_none(left_out: Iterable[str], otherwise: str) -> str:
    why = "; ".join(list(dict.fromkeys(left_out))[:_SHOWN])
    return f"all that could be read is left out: {why}" if why else otherwise


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
    if why := why_home(path):
        return f"no such file or directory; {why}"
    return "no such file or directory"


def _without_outputs(matches: Iterable[str], pattern: str, notices: list[str]) -> Iterator[str]:
    """The matches of a pattern that are in no job's output directory, unless the pattern itself names that directory.

    A pattern that matches a job's own parts would find other inputs each time. The files of models are left out, too.
    """
    steps = list(itertools.takewhile(lambda step: not glob.has_magic(step), pattern.split("/")))
    named, found = "/".join(steps), dict[str, bool]()

    def is_output(folder: str) -> bool:
        if len(folder) <= len(named):
            return False
        if folder not in found:
            found[folder] = os.path.exists(os.path.join(folder, JOB))  # noqa: PTH110, PTH118 - names stay as given
            if found[folder]:
                notices.append(f"{shown(folder)} is the output directory of a job: left out")
            else:
                found[folder] = is_output(os.path.dirname(folder))  # noqa: PTH120 - names stay as given
        return found[folder]

    for match in matches:
        folder = match if os.path.isdir(match) else os.path.dirname(match)  # noqa: PTH112, PTH120 - names stay as given
        if is_output(folder):
            continue
        if folder != match and os.path.basename(match) in MODEL_FILES and _has_model(folder):  # noqa: PTH119 - as above
            notices.append(notice_of_model(shown(folder)))
            continue
        yield match


def _inputs_among(names: Iterable[str], folder: str, notices: list[str]) -> list[str]:
    """The names in a directory that may be inputs, in order: neither private nor a model's."""
    found = sorted(name for name in names if not is_private(name))
    if MODEL_FILES.isdisjoint(found) or not _has_model(folder):
        return found
    notices.append(notice_of_model(shown(folder)))
    return [name for name in found if name not in MODEL_FILES]


def _has_model(folder: str) -> bool:
    """Whether a model is in a directory, or is being trained there."""
    there = (os.path.exists(os.path.join(folder, name)) for name in (CONFIG_FILE, TRAINING_FOLDER))  # noqa: PTH110, PTH118 - names stay as given
    return os.path.exists(os.path.join(folder, WEIGHTS_FILE)) and any(there)  # noqa: PTH110, PTH118 - as above


def _walk(top: str, notices: list[str]) -> Iterator[str]:
    """Yield a directory's regular files; links are followed, but not in circles."""

    def failed(error: OSError) -> NoReturn:
        raise RequestError(f"input {shown(str(error.filename))}: {error.strerror}") from error

    visited: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(top, onerror=failed, followlinks=True):
        try:
            status = os.stat(folder)  # noqa: PTH116 - os.walk gives text
        except OSError as error:
            failed(error)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        if os.path.exists(os.path.join(folder, JOB)):  # noqa: PTH110, PTH118 - os.walk gives text
            notices.append(f"{shown(folder)} is the output directory of a job: left out")
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not is_private(name))
        for name in _inputs_among(names, folder, notices):
            path = os.path.join(folder, name)  # noqa: PTH118 - os.walk gives text
            if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - os.walk gives text
                # Opening a pipe would wait for a writer forever.
                notices.append(f"{shown(path)} is not a regular file: left out")
                continue
            yield path
