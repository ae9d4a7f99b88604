"""Rows on their way through the producer: as they were read, as token ids, and those that can't be used.

They are named tuples because each row of a corpus needs one or two, and a frozen dataclass takes twice as long to make.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SourceRow(NamedTuple):
    """One row as it was read, with either `text` or `tokens`.

    Attributes:
        file: the input's name as the user gave it, "-" for standard input.
        position: row number within that file, from 0.
        id: the id that the input gives it; None where it gives none.
        text: the text to be tokenized.
        tokens: token ids as they were read (a list or an integer array), not checked yet.
    """

    file: str
    position: int
    id: str | None
    text: str | None
    tokens: object


class BadRow(NamedTuple):
    """One row that can't be used and goes to quarantine.

    Attributes:
        file: as in `SourceRow`.
        position: as in `SourceRow`.
        id: the id that the input gives it; None where none could be read.
        reason: what was found and what is allowed.
    """

    file: str
    position: int
    id: str | None
    reason: str


class Row(NamedTuple):
    """One row of checked token ids.

    Attributes:
        file: as in `SourceRow`.
        position: as in `SourceRow`.
        id: the id that the input gives it, else `automatic_id(file, position)`.
        tokens: int32 (steps,), each in 0..vocab_size, 0 (padding) anywhere; may be empty.
    """

    file: str
    position: int
    id: str
    tokens: NDArray[np.int32]


def automatic_id(file: str, position: int) -> str:
    """The id of a row to which the input gives none."""
    return f"{file}#{position}"


SourceBatch = list[SourceRow | BadRow]
RowBatch = list[Row | BadRow]
