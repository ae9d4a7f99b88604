"""What computes a pool of rows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.ragged import Ragged


class Engine(Protocol):
    """Anything that turns rows of token ids into the last layer's states.

    Attributes:
        name: "fused" or "tensorflow"; stored in every file.
        precision: of the arithmetic, "float32" or "bfloat16"; stored in every file.
        units: width of one output vector.
        description: one line that tells which path was taken and why; logged at start.
    """

    name: str
    precision: str
    units: int
    description: str

    def compute(self, shards: Sequence[Ragged], outputs: Sequence[NDArray[np.float32]]) -> None:
        """Fill in the state after every token.

        A row's result depends on that row and the model alone: not on its neighbours, their order or number.

        Args:
            shards: rows of real token ids, each in 1..vocab_size; a row may be empty.
            outputs: for each shard a float32 (tokens, units) C-contiguous array, written in place.
        """
        ...
