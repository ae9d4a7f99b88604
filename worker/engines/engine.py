"""What computes a pool of rows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.format.columns import VectorColumn
from unrolled.ragged import Ragged


class Engine(Protocol):
    """Anything that turns rows of token ids into the states of layers.

    Attributes:
        name: "fused" or "tensorflow"; stored in every file.
        arithmetic: of the arithmetic, "float32" or "bfloat16"; stored in every file.
        description: one line that tells which path was taken and why; logged at start.
    """

    name: str
    arithmetic: str
    description: str

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> None:
        """Fill in what the columns hold.

        A row's result depends on that row and the model alone: not on its neighbours, their order or number.

        Args:
            shards: rows of real token ids, each in 1..vocab_size; a row may be empty.
            outputs: for each shard and column a float32, C-contiguous array, written in place: (tokens, width), the
                layer's output after every token, or (rows, width), pooled over each row; an empty row gives zeros.
            columns: of the model's layers, the same for all shards.
        """
        ...
