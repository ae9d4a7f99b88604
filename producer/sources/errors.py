"""Errors of an input as a whole."""

from unrolled.errors import RequestError

_IF_WRONG = ". If wrong ones are among them, the command says that the input has changed: then use another --out"


class DamagedInputError(RequestError):
    """An input can't be read any further; its text says why, and `SourceError` adds where."""


class TruncatedInputError(DamagedInputError):
    """Compressed content that ends too early; of the beginning of an input, that is no damage."""


class CorruptInputError(DamagedInputError):
    """Compressed content that may be wrong from some place on, which shows only when more has been decompressed."""


class SourceError(RequestError):
    """An input can't be read to its end; all rows before the damage have been yielded.

    Args:
        file: the input's name, as in `SourceRow.file`.
        position: number of rows read from it, which is also the position of the first missing row.
        error: why it can't be read any further.
    """

    def __init__(self, file: str, position: int, error: DamagedInputError) -> None:
        rows = "row before that was" if position == 1 else "rows before that were"
        may_be_wrong = isinstance(error, CorruptInputError) and position > 0
        super().__init__(
            f"{file}: {error}; {position} {rows} read{', some of which may be wrong' * may_be_wrong}. "
            "Repair the input and run the same command again: a job keeps those that it has stored, if any"
            f"{_IF_WRONG * may_be_wrong}"
        )
        self.file = file
        self.position = position
