"""Finding the rows that an engine fails on, by halving, so that their neighbours are kept.

A lone row that stops for what may pass (memory, above all) is tried again, with longer and longer pauses, before it
is blamed. The pauses are the same however many rows there are, for the engine stands still meanwhile.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unrolled.errors import BrokenWorkerError, reason_of
from unrolled.patience import ATTEMPTS, pauses
from unrolled.ragged import Ragged
from worker.errors import PASSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from worker.engines.engine import Engine

log = logging.getLogger(__name__)

#: The longest reason that is stored for a row.
REASON_CHARACTERS = 500


class _Span(NamedTuple):
    """Rows start..stop of one shard."""

    shard: int
    start: int
    stop: int


def compute_isolating(
    engine: Engine,
    shards: Sequence[Ragged],
    outputs: Sequence[Sequence[NDArray[np.float32]]],
    columns: tuple[VectorColumn, ...],
    runs: Sequence[Sequence[tuple[int, int]]],
    pause: Callable[[float], None],
) -> list[dict[int, str]]:
    """Compute shards; for each of them the rows that the engine fails on, each with the reason.

    Args:
        engine: what computes.
        shards: rows of real tokens.
        outputs: for each shard an array for each column, filled but for the failed rows.
        columns: what is computed.
        runs: for each shard the (start, stop) of runs of rows that may be computed in one call; every row is in one.
        pause: waits so many seconds; what it raises ends the work.

    Raises:
        BrokenWorkerError: the engine fails on anything, so no row is to blame.
    """
    failed: list[dict[int, str]] = [{} for _ in shards]
    spans = [_Span(number, *run) for number, some in enumerate(runs) for run in some]
    waits = pauses()
    for attempt in range(1, ATTEMPTS + 1):
        stopped: dict[_Span, Exception] = {}
        for row, error in _failures(engine, shards, outputs, columns, spans):
            if isinstance(error, PASSING):
                # Without its frames, for they hold arrays, and it may be memory that is short.
                stopped[row] = error.with_traceback(None)
            else:
                _probe(engine, columns, error)
                failed[row.shard][row.start] = _reason(error)
        if not stopped:
            return failed
        if attempt < ATTEMPTS:
            seconds = next(waits)
            log.warning(
                "%d row(s) can't be computed just now (%s); again in %g s",
                len(stopped),
                _reason(next(iter(stopped.values()))),
                seconds,
            )
            pause(seconds)
            spans = list(stopped)
    _probe(engine, columns, next(iter(stopped.values())))
    for row, error in stopped.items():
        failed[row.shard][row.start] = f"{_reason(error)} ({ATTEMPTS} times)"
    return failed


def _failures(
    engine: Engine,
    shards: Sequence[Ragged],
    outputs: Sequence[Sequence[NDArray[np.float32]]],
    columns: tuple[VectorColumn, ...],
    spans: Sequence[_Span],
) -> Iterator[tuple[_Span, Exception]]:
    """Compute spans of rows, halved where the engine fails; the single rows on which it still does."""
    left = list(reversed(spans))
    while left:
        span = left.pop()
        number, start, stop = span
        shard = shards[number]
        try:
            engine.compute([shard.take(start, stop)], [rows_of(shard, outputs[number], columns, start, stop)], columns)
        except BrokenWorkerError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the row that causes it is looked for
            if stop - start == 1:
                yield span, error
            else:
                middle = (start + stop) // 2
                left += [_Span(number, middle, stop), _Span(number, start, middle)]


def _reason(error: Exception) -> str:
    return reason_of(error)[:REASON_CHARACTERS]


def rows_of(
    shard: Ragged,
    outputs: Sequence[NDArray[np.float32]],
    columns: tuple[VectorColumn, ...],
    start: int,
    stop: int,
) -> list[NDArray[np.float32]]:
    """The part of a shard's arrays that belongs to rows start..stop, as views."""
    first, last = int(shard.offsets[start]), int(shard.offsets[stop])
    return [
        array[first:last] if column.per_token else array[start:stop]
        for array, column in zip(outputs, columns, strict=True)
    ]


def _probe(engine: Engine, columns: tuple[VectorColumn, ...], cause: Exception) -> None:
    """Blame a row only while the engine still computes the simplest one there is."""
    simplest = Ragged(np.ones(1, np.int32), np.array([0, 1]))
    try:
        engine.compute([simplest], [[np.empty((1, column.width), np.float32) for column in columns]], columns)
    except Exception as error:  # noqa: BLE001 - as above
        raise BrokenWorkerError(
            f"the {engine.name} engine fails on any row ({reason_of(error)}); the data isn't to blame"
        ) from cause
