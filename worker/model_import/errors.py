"""The errors of files that can't be imported."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from unrolled.errors import ModelError, install_command, printable


class ImportRefusedError(ModelError):
    """The file contains something that can't be imported; the text says what, what can be, and what to do.

    Args:
        text: may contain names from the file, in which control characters are escaped.
    """

    def __init__(self, text: str) -> None:
        super().__init__(printable(text))


class ContradictionError(ImportRefusedError):
    """The file can't be computed by any program, because its parts don't fit each other."""


def refuse_missing(package: str, extra: str) -> ImportRefusedError:
    """The error for a format whose package isn't installed; an extra of this name brings it."""
    return ImportRefusedError(f"this format needs {package}, which isn't installed: {install_command(extra)}")


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Name the layer or table in the errors that libraries raise for damaged arrays."""
    try:
        yield
    # zipfile raises a RuntimeError of what it can't decode.
    except (OSError, ValueError, IndexError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise ImportRefusedError(f"{name}: its arrays can't be read ({error}); get a fresh copy") from error
