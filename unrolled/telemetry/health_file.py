"""The file by which a supervisor sees that a worker is well: it is written again and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unrolled.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

_KEY = "on_board"
#: Bytes of a larger file than any of this kind.
_MOST_BYTES = 256


def write_health_file(path: Path, on_board: int) -> None:
    """Say that this worker is well, and how many shards it holds.

    Raises:
        OSError: the file can't be written.
    """
    path.write_text(json.dumps({_KEY: on_board}))


def check_health_file(path: Path) -> None:
    """Refuse a file that can't be written, or that is another one: its content would be lost.

    Raises:
        OptionError: it is refused.
    """
    if path.is_dir():
        found = "is a directory"
    elif not path.parent.is_dir():
        found = "its directory doesn't exist"
    elif path.is_file() and not _may_be_replaced(path):
        found = "exists, and no worker has written it"
    else:
        return
    raise OptionError(f"--health-file {path}: {found}; name a new file in a directory that this worker can write to")


def _may_be_replaced(path: Path) -> bool:
    try:
        size = path.stat().st_size
        return not size or (size < _MOST_BYTES and list(json.loads(path.read_bytes())) == [_KEY])
    except (OSError, ValueError, TypeError):
        return False
