"""What goes wrong with an input as a whole."""

from unrolled.errors import RequestError


class DamagedInputError(RequestError):
    """An input can't be read on; its text says why, and `SourceError` adds where."""


class SourceError(RequestError):
    """An input broke off while it was read; every row before the damage had been yielded.

    Attributes:
        file: the input's name as in `SourceRow.file`.
        position: number of rows read from it before, so also the position of the first row that is missing.
    """

    def __init__(self, file: str, position: int, reason: str) -> None:
        super().__init__(
            f"{file}: {reason}; {position} rows before that were read. "
            "Repair the file and run the same command again: it goes on from there"
        )
        self.file = file
        self.position = position
