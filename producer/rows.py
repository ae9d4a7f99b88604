"""What flows through the producer: rows as they were read, rows that can't be used, rows of token ids.

Named tuples, for there is one or two of them for each row of a corpus: a frozen data class takes twice as long to
make.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SourceRow(NamedTuple):
    """One row as it was read; either `text` or `tokens` is given, never both.

    Attributes:
        file: the input's name as the user gave it, "-" for standard input.
        position: row number within that file, from 0.
        id: the user's own id, None where the input has none.
        text: the text to be tokenized.
        tokens: token ids as they came in (a list or an integer array), not checked yet.
    """

    file: str
    position: int
    id: str | None
    text: str | None
    tokens: object


class BadRow(NamedTuple):
    """One row that can't be used, with the reason; it goes to quarantine.

    Attributes:
        file: as in `SourceRow`.
        position: as in `SourceRow`.
        id: the user's own id where one could be read.
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
        id: the user's own id, else `automatic_id(file, position)`.
        tokens: int32 (steps,), each in 0..vocab_size, 0 (padding) anywhere; may be empty.
    """

    file: str
    position: int
    id: str
    tokens: NDArray[np.int32]


def automatic_id(file: str, position: int) -> str:
    """The id of a row that came without one."""
    return f"{file}#{position}"


SourceBatch = list[SourceRow | BadRow]
RowBatch = list[Row | BadRow]
