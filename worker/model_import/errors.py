"""Why a file can't be imported."""

from unrolled.errors import ModelError


class ImportRefusedError(ModelError):
    """The file holds something that this program can't take over; the text says what, what it can, and what to do."""


def refuse_missing(package: str, extra: str) -> ImportRefusedError:
    """The error that says which package a format needs."""
    return ImportRefusedError(f"this format needs {package}, which isn't installed: {extra}")
