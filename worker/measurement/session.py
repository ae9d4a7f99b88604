"""One measurement: an engine, rows like the job's, and a few seconds."""

# Over 150 lines: the steps of a measurement, which share the engine and the clock.

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np

from unrolled.format.file_info import FileInfo
from unrolled.format.output_spec import OutputSpec
from unrolled.format.seal import Sealing
from unrolled.job.shard_id import ShardId
from unrolled.model.directory import open_model
from unrolled.settings.worker_options import WorkerOptions
from unrolled.tokenization.ragged import Ragged, runs
from worker.engines.choice import choose_engine
from worker.measurement.cuts import Cut, cut_to, rows_beyond
from worker.parquet.shard_file import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from unrolled.settings.measurement import MeasurementRequest

#: Tokens of the first run, which shows how many fit into the time.
_TRIAL_TOKENS = 4096
#: Parts of a pool's time: for its rows' beginnings, and for what comes after them.
_HEAD, _TAIL = 0.6, 0.3
#: Memory for the outputs of a run, and of the part that is encoded.
_OUTPUT_BYTES, _PART_BYTES = 256 << 20, 16 << 20
#: A run is done again with more tokens if it took less than this part of its time.
_TOO_SHORT = 0.4


class Run(NamedTuple):
    """One run of the engine.

    Attributes:
        tokens: real tokens.
        computed: steps that were computed for them.
        seconds: how long it took.
    """

    tokens: int
    computed: int
    seconds: float


class Session:
    """An engine that is ready, and the pools that it is measured with.

    Args:
        request: what is measured.
        rows: the rows of all pools, without padding.

    Raises:
        UnrolledError: the model or the engine can't be used.
    """

    def __init__(self, request: MeasurementRequest, rows: Ragged) -> None:
        model = open_model(request.model)
        self._request, self._padding = request, model.config.padding
        # A model that pads rows computes none that is longer.
        self._rows = rows if self._padding is None else _beginnings(rows, rows.rows, self._padding.length)
        if model.config.vector_dim is not None:
            self._rows = _drawn(rows, model.config.vector_dim)
        self._rows = _begun(self._rows, model.config.given_dim)
        self._spec = OutputSpec.from_options(request.stored)
        self._columns = self._spec.columns(model.config)
        self._fingerprint = model.fingerprint
        self._engine = choose_engine(WorkerOptions(**request.options), model)
        self._largest_outputs = 0
        self.description = self._engine.description

    def measure(self) -> dict[str, Any]:
        """Measure every pool, the encoding of a part, and memory."""
        loaded = _peak_bytes()
        lengths = self._rows.lengths.copy()
        for row, length in self._request.lengths.items():
            lengths[row] = length if self._padding is None else min(length, self._padding.length)
        pools, start = [], 0
        for rows in self._request.pools:
            stop = start + rows
            pools.append(self._pool(self._rows.take(start, stop), lengths[start:stop]))
            start = stop
        engine_bytes = max(0, _peak_bytes() - loaded - self._largest_outputs)
        encoded = self._encode()
        return {"loaded_bytes": loaded, "engine_bytes": engine_bytes, "pools": pools, **encoded}

    def _pool(self, pool: Ragged, lengths: NDArray[np.int64]) -> dict[str, float]:
        """How long a pool takes.

        Args:
            pool: its rows, of long ones the beginnings.
            lengths: int64 (rows,): tokens of the whole rows.

        Returns:
            tokens: of the whole rows; seconds: for them, with what the measured rows share; computed_share: of the
            measured ones; and measured_tokens.
        """
        seconds = self._request.seconds / len(self._request.pools)
        sent = pool.lengths
        longest = int(sent[sent < lengths].min(initial=int(lengths.max())))
        cut = self._cut(lengths, _TRIAL_TOKENS, longest)
        self._run(_beginnings(pool, *cut))  # memory is touched for the first time, and TensorFlow makes its graph
        head = self._run(_beginnings(pool, *cut))
        # A small run is slower than a large one, so the first guess may be far too low.
        for _ in range(3):
            if cut.size(lengths) == lengths.sum() or head.seconds > _TOO_SHORT * _HEAD * seconds:
                break
            affordable = round(head.tokens * _HEAD * seconds / max(head.seconds, 1e-6))
            cut = self._cut(lengths, min(affordable, self._most_tokens(pool)), longest)
            if cut.size(lengths) <= head.tokens:
                break
            if self._engine.name == "tensorflow":
                self._run(_beginnings(pool, *cut))
            head = self._run(_beginnings(pool, *cut))
        in_all = int(np.minimum(lengths, cut.tokens).sum())
        took, beyond = head.seconds * in_all / max(head.tokens, 1), cut.beyond(lengths)
        if beyond:
            tail = self._tail(pool, rows_beyond(lengths, cut.tokens), _TAIL * seconds)
            took += beyond * tail.seconds / max(tail.tokens, 1)
        return {
            "tokens": int(lengths.sum()),
            "seconds": took,
            "computed_share": head.computed / max(head.tokens, 1),
            "level_cut": bool(beyond),
            "measured_tokens": head.tokens,
        }

    def _cut(self, lengths: NDArray[np.int64], most: int, longest: int) -> Cut:
        """The part of a pool that is measured; of padded rows whole ones, because each takes equally long."""
        if self._padding is None:
            return cut_to(lengths, most, longest)
        return Cut(max(1, min(len(lengths), most // self._padding.length)), self._padding.length)

    def _tail(self, pool: Ragged, rows: int, seconds: float) -> Run:
        """Some rows that advance together for a while, without a common beginning."""
        order = np.argsort(-pool.lengths, kind="stable")
        steps = max(8, _TRIAL_TOKENS // 8 // rows)
        run = Run(0, 0, 0.0)
        for _ in range(3):
            run = self._run(_distinct(pool, order, rows, steps))
            if run.seconds > _TOO_SHORT * seconds:
                break
            steps = max(steps, min(8 * steps, round(steps * seconds / max(run.seconds, 1e-6))))
        return run

    def _run(self, rows: Ragged) -> Run:
        outputs = [
            np.zeros((column.vectors(rows.rows, rows.values.size), column.width), np.float32)
            for column in self._columns
        ]
        for array in outputs:
            array.fill(1)  # the system gives memory where it is first written
        self._largest_outputs = max(self._largest_outputs, sum(array.nbytes for array in outputs))
        began = time.perf_counter()
        stats = self._engine.compute([rows], [outputs], self._columns)
        return Run(stats.tokens, stats.computed, time.perf_counter() - began)

    def _most_tokens(self, pool: Ragged) -> int:
        """Tokens whose outputs fit into the memory of a run."""
        per_token = sum(4 * column.width for column in self._columns if column.per_token)
        per_row = sum(4 * column.width for column in self._columns if not column.per_token)
        average = per_token + per_row * pool.rows / max(pool.values.size, 1)
        return max(1, int(_OUTPUT_BYTES / max(average, 1)))

    def _encode(self) -> dict[str, float]:
        """How long it takes to encode a part of these rows."""
        per_token = sum(4 * column.width for column in self._columns if column.per_token)
        per_row = sum(4 * column.width for column in self._columns if not column.per_token) + 64
        weights = np.cumsum(self._rows.lengths * (per_token + 5) + per_row)
        rows = self._rows.take(*runs(weights, _PART_BYTES)[0])
        rng = np.random.default_rng(0)
        vectors = [
            rng.standard_normal((column.vectors(rows.rows, rows.values.size), column.width), np.float32)
            for column in self._columns
        ]
        shard = ShardId(0, "0" * 12)
        info = FileInfo(self._fingerprint, "fused", "float32", "0", shard, rows.rows, rows.values.size)
        ids = [str(number) for number in range(rows.rows)]
        null = _Null()
        for _ in range(2):  # the first touches memory
            null.size, sealing, began = 0, Sealing(cast("BinaryIO", null)), time.perf_counter()
            encode(cast("BinaryIO", sealing), info, ids, rows, vectors, self._spec, self._columns)
            sealing.finish()
            seconds = time.perf_counter() - began
        return {"encoded_bytes": null.size, "encode_seconds": seconds}


class _Null:
    """A file that counts what is written."""

    size = 0

    def write(self, data: bytes | memoryview) -> int:
        self.size += len(data)
        return len(data)


def _beginnings(pool: Ragged, rows: int, tokens: int) -> Ragged:
    """The first rows of a pool, each up to some tokens."""
    beginnings = [pool.values[start : min(stop, start + tokens)] for start, stop in _spans(pool)[:rows]]
    return _joined(pool, beginnings, np.arange(len(beginnings)))


def _distinct(pool: Ragged, order: NDArray[np.int64], rows: int, steps: int) -> Ragged:
    """As many rows of `steps` tokens, from different places of the longest rows."""
    spans = _spans(pool)
    found = []
    for number in range(rows):
        start, stop = spans[int(order[number % len(order)])]
        length = stop - start
        place = start + (7919 * number) % max(1, length - steps)
        part = pool.values[place : min(place + steps, stop)]
        found.append(np.resize(part, steps) if part.size else np.ones(steps, np.int32))
    return _joined(pool, found, order[np.arange(len(found)) % len(order)])


def _spans(pool: Ragged) -> list[tuple[int, int]]:
    return list(zip(pool.offsets[:-1].tolist(), pool.offsets[1:].tolist(), strict=True))


def _joined(pool: Ragged, rows: Sequence[NDArray[np.int32]], of: NDArray[np.int64]) -> Ragged:
    """Rows made of the pool's rows `of`, whose initial states they have."""
    states = None if pool.states is None else pool.states[of]
    return Ragged.from_lengths(np.concatenate(rows), [row.size for row in rows], pool.vectors, states)


def _drawn(rows: Ragged, width: int) -> Ragged:
    """Rows of vectors, which are drawn: the time doesn't depend on their numbers, but on which of them are equal."""
    used, numbers = np.unique(rows.values, return_inverse=True)
    vectors = np.random.default_rng(0).standard_normal((len(used), width), np.float32)
    return Ragged((numbers + 1).astype(np.int32), rows.offsets, vectors)


def _begun(rows: Ragged, width: int) -> Ragged:
    """Rows with initial states, which are drawn: each row has one of its own, as the plan assumes."""
    if not width:
        return rows
    return rows._replace(states=np.random.default_rng(0).standard_normal((rows.rows, width), np.float32))


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
