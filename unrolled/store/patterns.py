"""The paths that a user's pattern matches.

Unlike `glob.glob`, `**` goes through each directory once, so links that lead round in circles end; and what this user
may not look at is an error rather than nothing. Of an input's pattern, wildcards stand for no name that begins with
`_`, as they stand for none that begins with `.`, unless the step of the pattern begins so, too.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed import StrPath

#: Beginnings of names of programs, not of people: of an input, and of all else.
PRIVATE, HIDDEN = (".", "_"), (".",)
#: What is not there, or is no directory in which something could be.
_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


def is_private(name: str) -> bool:
    """Whether a name below an input's directory is left out."""
    return name.startswith(PRIVATE)


def fits(name: str, step: str, left_out: tuple[str, ...] = PRIVATE) -> bool:
    """Whether a name, without its directories, matches one step of a pattern.

    Args:
        name: of a file or a directory.
        step: of the pattern.
        left_out: wildcards stand for no name that begins so.
    """
    return fnmatchcase(name, step) and (not name.startswith(left_out) or step.startswith(name[0]))


def matching_paths(pattern: str, left_out: tuple[str, ...] = PRIVATE) -> list[str]:
    """The paths that match, sorted, spelt as the pattern is.

    Args:
        pattern: a path with wildcards as `fnmatch` has them; `**` stands for any number of directories, and at the end
            for all that is below.
        left_out: wildcards stand for no name that begins so.

    Raises:
        OSError: this user may not read a directory, or look at what is in it.
    """
    root = pattern[: len(pattern) - len(pattern.lstrip("/"))]
    steps = [step for step, again in groupby(pattern[len(root) :].split("/")) for _ in ([0] if step == "**" else again)]
    return sorted(set(_Search(left_out).matches(root, steps)))


class _Search:
    """Looks for the matches of one pattern.

    Args:
        left_out: as `matching_paths` takes it.
    """

    def __init__(self, left_out: tuple[str, ...]) -> None:
        self._left_out = left_out

    def matches(self, folder: str, steps: Sequence[str]) -> Iterator[str]:
        """Yield the paths in a directory that match steps of a pattern."""
        step, *rest = steps
        if step == "**":
            for inner in self._folders(folder, set()):
                yield from self.matches(inner, rest) if rest else filter(None, [inner, *self._seen(inner)])
            return
        found = [step]
        if has_magic(step):
            found = [name for name in _names(folder) if fits(name, step, self._left_out)]
        for path in (_joined(folder, name) for name in found):
            if not rest:
                if _look(os.lstat, path) is not None:
                    yield path
            elif _is_directory(path):
                yield from self.matches(path, rest)

    def _folders(self, folder: str, visited: set[tuple[int, int]]) -> Iterator[str]:
        """A directory and those below it; links are followed, but not in circles."""
        status = _look(os.stat, folder or ".")
        if status is None or (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        yield folder
        for path in self._seen(folder):
            if _is_directory(path):
                yield from self._folders(path, visited)

    def _seen(self, folder: str) -> list[str]:
        """The paths in a directory that wildcards may stand for."""
        return [_joined(folder, name) for name in _names(folder) if not name.startswith(self._left_out)]


def _names(folder: str) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):  # it was removed meanwhile
        return sorted(os.listdir(folder or "."))  # noqa: PTH208 - names stay as given
    return []


def _look(how: Callable[[StrPath], os.stat_result], path: str) -> os.stat_result | None:
    """What there is at a path; None if nothing is."""
    try:
        return how(path)
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise


def _is_directory(path: str) -> bool:
    status = _look(os.stat, path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _joined(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118 - names stay as given
