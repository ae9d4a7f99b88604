"""The rows that flow through the producer: rows as they were read, bad rows, and rows of token ids.

They are named tuples, because there are one or two for each row of a corpus, and creating a frozen dataclass takes
twice as long.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: The initial states of a row of which only a part was read, for a plan.
PARTLY_READ = object()


class SourceRow(NamedTuple):
    """One row as it was read; either `text` or `tokens` is given, never both.

    Attributes:
        file: the label of the input, "-" for standard input.
        position: number of the row in that input, from 0.
        id: the user's id; None if the input has none.
        text: the text to tokenize.
        tokens: token ids as they were read (a list or an integer array), or vectors (a list of lists, or an array), not
            checked yet.
        state: the initial states as they were read (a list, or an array), not checked yet; None if none are read.
    """

    file: str
    position: int
    id: str | None
    text: str | None
    tokens: object
    state: object = None


class BadRow(NamedTuple):
    """One row that can't be used, with the reason; it goes to quarantine.

    Attributes:
        file: as in `SourceRow`.
        position: as in `SourceRow`.
        id: the user's id; None if it couldn't be read.
        reason: what was found and what is allowed.
    """

    file: str
    position: int
    id: str | None
    reason: str


class Row(NamedTuple):
    """One row of checked token ids, or of checked vectors.

    Attributes:
        file: as in `SourceRow`.
        position: as in `SourceRow`.
        id: the user's id, or `automatic_id(file, position)`.
        tokens: int32 (steps,), each in 0..vocab_size, 0 (padding) anywhere; may be empty. Of a row of vectors 1 for
            each vector, or 0 where it is padding.
        vectors: float32 (steps, width); None for a row of token ids.
        state: float32 (numbers,), its initial states; None if the model reads none.
    """

    file: str
    position: int
    id: str
    tokens: NDArray[np.int32]
    vectors: NDArray[np.float32] | None = None
    state: NDArray[np.float32] | None = None


def automatic_id(file: str, position: int) -> str:
    """The id of a row whose input has none."""
    return f"{file}#{position}"


SourceBatch = list[SourceRow | BadRow]
RowBatch = list[Row | BadRow]
