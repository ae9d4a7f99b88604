"""The files that a report is written to: each on its own, none of somebody else's, and none among a job's parts."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from unrolled.errors import OptionError
from unrolled.job import names
from unrolled.store.posix import PosixStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from unrolled.store.store import Store

#: The names of a page and its pictures beside a job's records.
_OF_A_REPORT = re.compile(r"report(-[a-z]+)?\.(html|png)")
#: What a page has near its beginning.
GENERATOR = '<meta name="generator" content="unrolled">'
_HEAD_BYTES = 512
#: Columns that a table of points has before all others.
POINT_COLUMNS = ("id", "x", "y", "length", "file")


def check_targets(written: Mapping[str, Path | None], read: Mapping[str, Path | None]) -> None:
    """Refuse files that a report must not write, before a job is read for it.

    Args:
        written: files that will be written, by the options that name them.
        read: files that will be read, by their options.

    Raises:
        OptionError: two are the same file, one is a file of another kind, in no directory, or among a job's parts.
    """
    seen = {os.path.realpath(path): option for option, path in read.items() if path is not None}
    for option, path in written.items():
        if path is None:
            continue
        _refuse_unreachable(option, path)
        if other := seen.get(os.path.realpath(path)):
            raise OptionError(f"{other} and {option} are both {path}; name different files")
        seen[os.path.realpath(path)] = option
        if file := next((above for above in path.absolute().parents if above.is_file()), None):
            raise OptionError(f"{option} is {path}, but {file} is a file; name another place")
        if not path.absolute().parent.is_dir():
            raise OptionError(f"{option} is {path}: its directory doesn't exist; make it, or name another file")
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OptionError(f"{option} is {path}, a pipe, a socket or a device, and no file; name a file")
        if path.is_file() and not (_is_page(path) if option == "--to" else _is_table_of_points(path)):
            raise OptionError(f"{option} is {path}, which no report has written; name another file, or remove it")
        if _is_a_jobs(path):
            raise OptionError(f"{option} is {path}: the directory of a job is for its parts alone; name another file")


def delete_report(store: Store) -> None:
    """Delete what reports have written beside a job's records: a page has ids and texts of rows."""
    if isinstance(store, PosixStore):
        for path in (store.path / names.FOLDER).glob("report*"):
            if _OF_A_REPORT.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _refuse_unreachable(option: str, path: Path) -> None:
    """Refuse a path that no file can have, or that this user can't see or read."""
    try:
        if path.is_file():
            path.open("rb").close()
        else:
            path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        found = "a symbolic link that leads round in a circle" if error.errno == errno.ELOOP else error.strerror
        raise OptionError(f"{option} is {path}: {found}; name another file") from error


def _is_page(path: Path) -> bool:
    """Whether a file is a page that a report has written, or is empty."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head or GENERATOR.encode() in head


def _is_table_of_points(path: Path) -> bool:
    """Whether a file is a table that a report has written, or is empty."""
    import pyarrow as pa  # noqa: PLC0415 - most reports write no table
    import pyarrow.parquet as pq  # noqa: PLC0415

    if not path.stat().st_size:
        return True
    try:
        return tuple(pq.read_schema(path).names[: len(POINT_COLUMNS)]) == POINT_COLUMNS
    except pa.ArrowException:
        return False


def _is_a_jobs(path: Path) -> bool:
    """Whether a file would be among the parts of a job, or among its records; reports may be there."""
    folder = path.resolve().parent
    if (folder / names.JOB).exists():
        return True
    records = next((each for each in (folder, *folder.parents) if (each.parent / names.JOB).exists()), None)
    return records is not None and records.name == names.FOLDER and not path.name.startswith("report")
