"""The paths that a user's pattern matches.

Unlike `glob.glob`, `**` goes through each directory once, so links that lead round in circles end; a directory that
can't be read is an error rather than a directory without files; and wildcards stand for no name that begins with `_`,
as they stand for none that begins with `.`, unless the pattern has that character, too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Names that begin so are of programs, not of people.
_PRIVATE = (".", "_")


def is_private(name: str) -> bool:
    """Whether a name below a directory is left out."""
    return name.startswith(_PRIVATE)


def fits(name: str, step: str) -> bool:
    """Whether a name, without its directories, matches one step of a pattern."""
    return fnmatchcase(name, step) and (not is_private(name) or step.startswith(name[0]))


def matching_paths(pattern: str) -> list[str]:
    """The paths that match, sorted, spelt as the pattern is.

    Args:
        pattern: a path with wildcards as `fnmatch` has them; `**` stands for any number of directories, and at the end
            for all that is below.

    Raises:
        OSError: a directory can't be read.
    """
    root = pattern[: len(pattern) - len(pattern.lstrip("/"))]
    steps = [step for step, again in groupby(pattern[len(root) :].split("/")) for _ in ([0] if step == "**" else again)]
    return sorted(set(_matches(root, steps)))


def _matches(folder: str, steps: Sequence[str]) -> Iterator[str]:
    step, *rest = steps
    if step == "**":
        for inner in _folders(folder, set()):
            if rest:
                yield from _matches(inner, rest)
            else:
                yield from filter(
                    None, [inner, *(_joined(inner, name) for name in _names(inner) if not is_private(name))]
                )
        return
    found = [name for name in _names(folder) if fits(name, step)] if has_magic(step) else [step]
    for path in (_joined(folder, name) for name in found):
        if not rest:
            if os.path.lexists(path):
                yield path
        elif os.path.isdir(path):  # noqa: PTH112 - names stay as given
            yield from _matches(path, rest)


def _folders(folder: str, visited: set[tuple[int, int]]) -> Iterator[str]:
    """A directory and those below it; links are followed, but not in circles."""
    try:
        status = os.stat(folder or ".")  # noqa: PTH116 - names stay as given
    except FileNotFoundError:
        return  # it was removed meanwhile
    if (status.st_dev, status.st_ino) in visited:
        return
    visited.add((status.st_dev, status.st_ino))
    yield folder
    for name in _names(folder):
        path = _joined(folder, name)
        if not is_private(name) and os.path.isdir(path):  # noqa: PTH112 - names stay as given
            yield from _folders(path, visited)


def _names(folder: str) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):  # it was removed meanwhile
        return sorted(os.listdir(folder or "."))  # noqa: PTH208 - names stay as given
    return []


def _joined(folder: str, name: str) -> str:
    return os.path.join(folder, name)  # noqa: PTH118 - names stay as given
