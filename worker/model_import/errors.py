"""The error of a file that can't be imported."""

from unrolled.errors import ModelError


class ImportRefusedError(ModelError):
    """The file contains something that can't be imported; the text says what, what can be, and what to do."""


def refuse_missing(package: str, extra: str) -> ImportRefusedError:
    """The error for a format whose package isn't installed; `extra` says how to install it."""
    return ImportRefusedError(f"this format needs {package}, which isn't installed: {extra}")
