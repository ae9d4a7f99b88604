"""Errors of an input as a whole."""

from unrolled.errors import RequestError


class DamagedInputError(RequestError):
    """An input can't be read any further; its text says why, and `SourceError` adds where."""


class TruncatedInputError(DamagedInputError):
    """Compressed content that ends too early; of the beginning of an input, that is no damage."""


class SourceError(RequestError):
    """An input can't be read to its end; all rows before the damage have been yielded.

    Args:
        file: the input's name, as in `SourceRow.file`.
        position: number of rows read from it, which is also the position of the first missing row.
        reason: why it can't be read any further.
    """

    def __init__(self, file: str, position: int, reason: str) -> None:
        rows = "row before that was" if position == 1 else "rows before that were"
        super().__init__(
            f"{file}: {reason}; {position} {rows} read. "
            "Repair the input and run the same command again: a job keeps those that it has stored, if any"
        )
        self.file = file
        self.position = position
