"""Finding the rows that an engine fails on, by halving, so that their neighbours are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import BrokenWorkerError
from unrolled.ragged import Ragged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.outputs import OutputColumn
    from worker.engines import Engine

#: The longest reason that is stored for a row.
REASON_CHARACTERS = 500


def compute_isolating(
    engine: Engine,
    shard: Ragged,
    outputs: Sequence[NDArray[np.float32]],
    columns: tuple[OutputColumn, ...],
    parts: Sequence[tuple[int, int]],
) -> dict[int, str]:
    """Compute a shard; the rows that the engine fails on, each with the reason.

    Args:
        engine: what computes.
        shard: rows of real tokens.
        outputs: an array for each column, filled but for the failed rows.
        columns: what is computed.
        parts: runs of rows, (first, end), that may be computed in one go; all rows together.

    Raises:
        BrokenWorkerError: the engine fails on anything, so no row is to blame.
    """
    failed: dict[int, str] = {}
    spans = list(reversed(parts))
    while spans:
        start, stop = spans.pop()
        try:
            engine.compute([shard.take(start, stop)], [rows_of(shard, outputs, columns, start, stop)], columns)
        except BrokenWorkerError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the row that causes it is looked for
            if stop - start == 1:
                _probe(engine, columns, error)
                failed[start] = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
            else:
                middle = (start + stop) // 2
                spans += [(middle, stop), (start, middle)]
    return failed


def rows_of(
    shard: Ragged,
    outputs: Sequence[NDArray[np.float32]],
    columns: tuple[OutputColumn, ...],
    start: int,
    stop: int,
) -> list[NDArray[np.float32]]:
    """The part of a shard's arrays that belongs to rows start..stop, as views."""
    first, last = int(shard.offsets[start]), int(shard.offsets[stop])
    return [
        array[first:last] if column.per_token else array[start:stop]
        for array, column in zip(outputs, columns, strict=True)
    ]


def _probe(engine: Engine, columns: tuple[OutputColumn, ...], cause: Exception) -> None:
    """Blame a row only while the engine still computes the simplest one there is."""
    simplest = Ragged(np.ones(1, np.int32), np.array([0, 1]))
    try:
        engine.compute([simplest], [[np.empty((1, column.width), np.float32) for column in columns]], columns)
    except Exception as error:  # noqa: BLE001 - as above
        raise BrokenWorkerError(
            f"the {engine.name} engine fails on any row ({type(error).__name__}: {error}); the data isn't to blame"
        ) from cause
