"""Finds the rows that an engine fails on, by halving, so that all other rows are computed.

A single row that fails because something is missing for now (above all, memory) is tried again, with longer and longer
pauses, before it is blamed. All of these rows wait together, because the engine is idle during a pause.

It is one file because search, retries and probe are one algorithm.
"""

# Over 150 lines: one search, and what it may blame.

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unrolled.errors import BrokenWorkerError, counted, reason_of
from unrolled.patience import ATTEMPTS, pauses
from unrolled.tokenization.ragged import Ragged, runs
from worker.errors import PASSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn
    from worker.engines.engine import Engine

log = logging.getLogger(__name__)

#: The longest reason that is stored for a row.
REASON_CHARACTERS = 500


class _Run(NamedTuple):
    """Rows start..stop of one shard."""

    shard: int
    start: int
    stop: int


class _Pool(NamedTuple):
    """The rows to compute, the engine, and the arrays for the results; see `compute_isolating`."""

    engine: Engine
    shards: Sequence[Ragged]
    outputs: Sequence[Sequence[NDArray[np.float32]]]
    columns: tuple[VectorColumn, ...]

    def compute(self, run: _Run) -> None:
        shard = self.shards[run.shard]
        arrays = rows_of(shard, self.outputs[run.shard], self.columns, run.start, run.stop)
        self.engine.compute([shard.take(run.start, run.stop)], [arrays], self.columns)


def compute_isolating(
    engine: Engine,
    shards: Sequence[Ragged],
    outputs: Sequence[Sequence[NDArray[np.float32]]],
    columns: tuple[VectorColumn, ...],
    pool_tokens: int,
    pause: Callable[[float], None],
) -> list[dict[int, str]]:
    """Compute shards, and find the rows that the engine fails on.

    Args:
        engine: the engine.
        shards: rows of real tokens.
        outputs: for each shard an array for each column; all rows are filled in but those that fail.
        columns: what is computed.
        pool_tokens: the most tokens in one call of the engine; a longer row is computed alone.
        pause: waits for this many seconds; an exception from it ends the work.

    Returns:
        For each shard the rows that fail: their indices, each with its reason.

    Raises:
        BrokenWorkerError: the engine fails on every row, so no row is to blame.
    """
    # One function, because it is one series of tries over the same rows.
    pool = _Pool(engine, shards, outputs, columns)
    failed: list[dict[int, str]] = [{} for _ in shards]
    left = [_Run(number, *run) for number, shard in enumerate(shards) for run in runs(shard.offsets[1:], pool_tokens)]
    waits = pauses()
    for attempt in range(1, ATTEMPTS + 1):
        stopped: dict[_Run, Exception] = {}
        for row, error in _failures(pool, left):
            if isinstance(error, PASSING):
                # Without its frames, because they hold arrays, and memory may be short.
                stopped[row] = error.with_traceback(None)
            else:
                _probe(pool, error)
                failed[row.shard][row.start] = _reason(error)
        if not stopped:
            break
        first = next(iter(stopped.values()))
        if attempt == ATTEMPTS:
            _probe(pool, first)
            for row, error in stopped.items():
                failed[row.shard][row.start] = f"{_reason(error)} ({ATTEMPTS} times)"
            break
        seconds = next(waits)
        log.warning(
            "%s can't be computed now (%s); again in %g s", counted(len(stopped), "row"), _reason(first), seconds
        )
        pause(seconds)
        left = list(stopped)
    return failed


def _failures(pool: _Pool, left: Sequence[_Run]) -> Iterator[tuple[_Run, Exception]]:
    """Compute runs of rows, halving those that the engine fails on; yields the single rows on which it still fails."""
    todo = list(reversed(left))
    while todo:
        run = todo.pop()
        try:
            pool.compute(run)
        except BrokenWorkerError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the error is, it has a row that causes it
            if run.stop - run.start == 1:
                yield run, error
            else:
                middle = (run.start + run.stop) // 2
                todo += [run._replace(start=middle), run._replace(stop=middle)]


def rows_of(
    shard: Ragged,
    outputs: Sequence[NDArray[np.float32]],
    columns: tuple[VectorColumn, ...],
    start: int,
    stop: int,
) -> list[NDArray[np.float32]]:
    """The parts of a shard's arrays that belong to a run of its rows.

    Args:
        shard: the shard's rows.
        outputs: for each column float32 (tokens or rows, width), of all the shard's rows.
        columns: the columns.
        start: the first row.
        stop: the end of the run.

    Returns:
        For each column a view of its array.
    """
    first, last = int(shard.offsets[start]), int(shard.offsets[stop])
    return [
        array[first:last] if column.per_token else array[start:stop]
        for array, column in zip(outputs, columns, strict=True)
    ]


def _reason(error: Exception) -> str:
    return reason_of(error)[:REASON_CHARACTERS]


def _probe(pool: _Pool, cause: Exception) -> None:
    """Compute the simplest row that there is, because a row is to blame only while the engine works for others."""
    width = next((shard.vectors.shape[1] for shard in pool.shards if shard.vectors is not None), None)
    vectors = None if width is None else np.zeros((1, width), np.float32)
    given = next((shard.states.shape[1] for shard in pool.shards if shard.states is not None), None)
    states = None if given is None else np.zeros((1, given), np.float32)
    simplest = Ragged(np.ones(1, np.int32), np.array([0, 1]), vectors, states)
    outputs = [np.empty((1, column.width), np.float32) for column in pool.columns]
    try:
        pool.engine.compute([simplest], [outputs], pool.columns)
    except Exception as error:  # noqa: BLE001 - whatever the error is, the engine is broken
        raise BrokenWorkerError(
            f"the {pool.engine.name} engine fails on any row ({reason_of(error)}); the data isn't to blame"
        ) from cause
