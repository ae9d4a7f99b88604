"""The interface of the engines, which compute pools of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from unrolled.tokenization.ragged import Ragged


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The statistics of one computed pool.

    Attributes:
        tokens: real tokens in the pool.
        computed: steps that were computed for them: fewer than tokens if rows share prefixes (a mean over layers and
            directions that share unequally), more if batches are padded.
        plan_seconds: the part of the time that was spent on finding shared prefixes.
    """

    tokens: int = 0
    computed: int = 0
    plan_seconds: float = 0.0

    def __add__(self, other: PoolStats) -> PoolStats:
        return PoolStats(
            self.tokens + other.tokens, self.computed + other.computed, self.plan_seconds + other.plan_seconds
        )


class Engine(Protocol):
    """Turns rows of token ids into the states of layers.

    Attributes:
        name: "fused" or "tensorflow"; stored in every file.
        arithmetic: how it computes, "float32", "bfloat16" or "bfloat16x3"; stored in every file.
        description: one line that says which path was taken and why; logged at the start.
    """

    name: str
    arithmetic: str
    description: str

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> PoolStats:
        """Compute a pool and write its outputs into the caller's arrays.

        A row's result depends on that row and the model alone, not on the other rows, their order or their number.

        Args:
            shards: rows of real token ids, each id in 1..vocab_size; a row may be empty.
            outputs: for each shard and column a float32, C-contiguous array: (tokens, width), the layer's output
                after every token, or (rows, width), the row's outputs pooled, zeros for an empty row.
            columns: what is computed of every shard; of the model's layers.

        Returns:
            What it took.

        Raises:
            BrokenWorkerError: the engine can't compute anything any more; no row is to blame.
            MemoryError: memory is short; these or fewer rows may be computed later.
            TransientError: something else is missing for now; the rows may be computed later.
            RequestError: the rows or the columns can't be computed, now or later. Any other exception is understood
                as this one. What the arrays contain after an exception is undefined.
        """
        ...
