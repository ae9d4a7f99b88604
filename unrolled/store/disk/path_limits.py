"""Paths that no directory can have: the system's own errors for them name neither the cause nor a way out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from unrolled.errors import OptionError

#: What the names inside of a directory of the product need, with those of temporary files.
_OWN_BYTES = 256
#: Limits of Linux and macOS, for a file system that doesn't tell its own.
_NAME_BYTES, _PATH_BYTES = 255, 1024
_SHOWN = 60


def refuse_impossible(place: str | Path) -> None:
    """Refuse a path that is too long, that links lead round in a circle or to nothing, or that begins with `~`.

    The shell puts the home directory in place of `~` at the beginning of a word, but not in `--out=~/out`, nor within
    quotes; a directory of that name that is there may be meant.

    Args:
        place: a path; it may not exist.

    Raises:
        OptionError: nothing can be at this path.
    """
    path = Path(os.path.abspath(place))  # noqa: PTH100 - `absolute` keeps `..`
    shown = os.fspath(place)
    if len(shown) > _SHOWN:
        shown = f"{shown[: _SHOWN // 2]}…{shown[-_SHOWN // 3 :]}"
    there = _nearest(path, shown)
    if why := why_home(os.fspath(place)):
        raise OptionError(f"{shown}: {why}")
    _refuse_to_nothing(path, shown)
    names, whole = _limit(there, "PC_NAME_MAX", _NAME_BYTES), _limit(there, "PC_PATH_MAX", _PATH_BYTES)
    for name in path.parts:
        if (size := len(os.fsencode(name))) > names:
            raise OptionError(
                f"{shown}: the name {name[:20]}… has {size:,} bytes, and may have {names:,}; choose a shorter one"
            )
    if (size := len(os.fsencode(path))) > whole - _OWN_BYTES:
        raise OptionError(
            f"{shown}: the path has {size:,} bytes, and may have {whole - _OWN_BYTES:,}; choose a shorter one"
        )


def why_home(place: str) -> str:
    """What is wrong with a path that begins with `~`, which the shell has left; empty if nothing is."""
    if place.split("/", maxsplit=1)[0] != "~" or os.path.lexists("~"):
        return ""
    home = f"$HOME{place[1:]}"
    return (
        f"its ~ isn't the home directory here, because the shell takes it so only at a word's beginning: write {home}"
    )


def whole_home(place: str) -> str:
    """What a program should give for a path that begins with `~`, which nothing has replaced; empty for others."""
    return f"its ~ isn't the home directory here: give {os.path.expanduser(place)}" if why_home(place) else ""  # noqa: PTH111 - Path's fails where no home is known


def _nearest(path: Path, shown: str) -> Path:
    """The path, or the nearest directory above it that can be looked at.

    Raises:
        OptionError: on the way there are too many symbolic links.
    """
    for above in (path, *path.parents):
        try:
            above.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                _refuse_circle(path, shown)
        else:
            return above
    return Path(path.anchor)


def _refuse_circle(path: Path, shown: str) -> None:
    for link in (*reversed(path.parents), path):
        if link.is_symlink():
            try:
                link.stat()
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise OptionError(
                        f"{shown}: the symbolic link {link} leads round in a circle, or through too many others; "
                        "remove it, or name another directory"
                    ) from error


def _refuse_to_nothing(path: Path, shown: str) -> None:
    for link in (*reversed(path.parents), path):
        if os.path.islink(link):  # noqa: PTH114 - False, too, where it can't be seen
            try:
                link.stat()
            except FileNotFoundError as error:
                raise OptionError(
                    f"{shown}: {link} is a symbolic link to {os.path.realpath(link)}, which doesn't exist; make that, "
                    "remove the link, or name another directory"
                ) from error
            except OSError:  # it may be there
                return


def _limit(there: Path, name: str, usual: int) -> int:
    try:
        return os.pathconf(there, name)
    except (OSError, ValueError):
        return usual
