"""Names of objects, which are hostile until checked.

A name is a path without a leading slash: `part-000007-0123456789ab.parquet` or `_unrolled/log/000000.jsonl`. Objects
are created and deleted under names of a narrow alphabet only, which every file system and every bucket keeps as it is.
Objects that people named may be read under any name that stays inside the store.
"""

from __future__ import annotations

import re

from unrolled.errors import RequestError

#: Bytes of one step of a name on most file systems.
LONGEST_STEP_BYTES = 255
#: Bytes of one step of a name of ours, to which `hidden_file` adds.
LONGEST_OWN_STEP_BYTES = 180
#: Bytes of a whole name: 1,024 in a bucket, the prefix of the store included.
LONGEST_NAME_BYTES = 900

_OWN_STEP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*", re.ASCII)
_SHOWN = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def check_own_name(name: str) -> None:
    """Refuse a name that this product would not give to an object.

    Raises:
        RequestError: the name has characters outside `A-Z a-z 0-9 _ . = + -`, a step that is empty or begins with one
            of `. = + -`, or too many bytes.
    """
    for step in name.split("/"):
        if not _OWN_STEP.fullmatch(step) or len(step) > LONGEST_OWN_STEP_BYTES or len(name) > LONGEST_NAME_BYTES:
            raise RequestError(
                f"{_shown(name)} can't be the name of an object; allowed are A-Z a-z 0-9 _ . = + - between slashes,"
                f" beginning with A-Z a-z 0-9 _, at most {LONGEST_OWN_STEP_BYTES} bytes between two slashes and"
                f" {LONGEST_NAME_BYTES} in all"
            )


def check_name(name: str) -> None:
    """Refuse a name that leads out of the store, or that no store can hold.

    Raises:
        RequestError: the name is empty or absolute, has an empty step, `.`, `..`, a control character or a character
            that is not UTF-8, or is too long.
    """
    steps = name.split("/")
    if (
        any(step in {"", ".", ".."} for step in steps)
        or _CONTROL.search(name)
        or max(len(step.encode()) for step in steps) > LONGEST_STEP_BYTES
        or len(name.encode()) > LONGEST_NAME_BYTES
    ):
        raise RequestError(
            f"{_shown(name)} can't be the name of an object; allowed are steps between single slashes, none of them"
            f" `.` or `..`, no control characters, at most {LONGEST_STEP_BYTES} bytes between two slashes and"
            f" {LONGEST_NAME_BYTES} in all"
        )


def check_folder(folder: str) -> None:
    """Refuse a folder that leads out of the store; "" is the store itself.

    Raises:
        RequestError: as `check_name`.
    """
    if folder:
        check_name(folder)


def folder_of(name: str) -> str:
    """The folder that an object is in, "" at the top of the store."""
    return name.rpartition("/")[0]


def _shown(name: str) -> str:
    return ascii(name if len(name) <= _SHOWN else name[:_SHOWN] + "...")
