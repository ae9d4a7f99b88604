"""Files that appear whole, or not at all, in place of the file that was there.

A file is written under a hidden name in its own directory, made durable, and renamed. A reader never sees half a file;
after a crash there is the old file, the new one or none. Of two publishers of one name, the last one's file remains,
whole. Objects of a job are never replaced: they are created in a store.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from unrolled.store.disk.hidden_file import fill, hidden_file, opened_directory, sync_directory
from unrolled.store.disk.refusals import explained


def publish(directory: Path, name: str, write: Callable[[BinaryIO], object], *, cached: bool = True) -> Path:
    """Make a file durable under its name, all at once, in place of one that exists.

    Args:
        directory: of the file; it must exist.
        name: of the file, without a directory.
        write: gives the content to the binary file it is called with.
        cached: whether the content goes through the page cache; see `hidden_file.fill`.

    Returns:
        The file's path.

    Raises:
        TransientError: the operating system refused; the text says which file, why and what to do. What
            `write` raises besides OSError goes through. Nothing is left behind either way.
    """
    path = directory / name
    with (
        explained(f"write {path}", {errno.ENOENT: f"make the directory {directory}, or bring it back"}),
        opened_directory(directory) as descriptor,
        hidden_file(descriptor, name) as (temporary, file),
    ):
        fill(file, write, cached=cached)
        os.replace(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        # The new name itself is durable only when its directory is.
        sync_directory(descriptor)
    return path


def publish_bytes(path: Path, content: bytes) -> None:
    """Make a small file durable, all at once, in place of one that exists.

    Raises:
        TransientError: as `publish`.
    """

    def write(file: BinaryIO) -> None:
        file.write(content)

    publish(path.parent, path.name, write)
