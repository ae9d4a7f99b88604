"""Finding the rows that an engine fails on, by halving, so that their neighbours are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import BrokenWorkerError
from unrolled.ragged import Ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.engines import Engine

#: The longest reason that is stored for a row.
REASON_CHARACTERS = 500


def compute_isolating(engine: Engine, shard: Ragged, outputs: NDArray[np.float32]) -> dict[int, str]:
    """Compute a shard; the rows that the engine fails on, each with the reason.

    Args:
        engine: what computes.
        shard: rows of real tokens.
        outputs: float32 (tokens, units), filled but for the failed rows.

    Raises:
        BrokenWorkerError: the engine fails on anything, so no row is to blame.
    """
    failed: dict[int, str] = {}
    spans = [(0, shard.rows)]
    while spans:
        start, stop = spans.pop()
        first, last = int(shard.offsets[start]), int(shard.offsets[stop])
        try:
            engine.compute([shard.take(start, stop)], [outputs[first:last]])
        except BrokenWorkerError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the row that causes it is looked for
            if stop - start == 1:
                _probe(engine, error)
                failed[start] = f"{type(error).__name__}: {error}"[:REASON_CHARACTERS]
            else:
                middle = (start + stop) // 2
                spans += [(middle, stop), (start, middle)]
    return failed


def _probe(engine: Engine, cause: Exception) -> None:
    """Blame a row only while the engine still computes the simplest one there is."""
    try:
        engine.compute([Ragged(np.ones(1, np.int32), np.array([0, 1]))], [np.empty((1, engine.units), np.float32)])
    except Exception as error:  # noqa: BLE001 - as above
        raise BrokenWorkerError(
            f"the {engine.name} engine fails on any row ({type(error).__name__}: {error}); the data isn't to blame"
        ) from cause
