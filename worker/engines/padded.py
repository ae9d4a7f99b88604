"""Rows of models that compute padding: each row is padded, all its steps are computed, and real tokens' are kept."""

# Over 150 lines: one engine, from the rows that come in to the vectors that are kept.

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import ModelError, RequestError
from unrolled.format.columns import VectorColumn
from unrolled.model.directory import ModelDirectory
from unrolled.model.padding import AFTER
from unrolled.tokenization.ragged import Ragged
from worker.engines.engine import PoolStats
from worker.engines.vectors import with_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from unrolled.model.config import ModelConfig
    from unrolled.model.padding import Padding
    from worker.engines.engine import Engine

    Float32 = NDArray[np.float32]

#: The most bytes of padded outputs at once; the padded outputs of one row may be more.
SCRATCH_BYTES = 64 << 20
#: Tensors of the first layer that have a row for each id if ids are one-hot vectors.
_OF_IDS = ("kernel", "input_factor")


def make_padded(model: ModelDirectory, make: Callable[[ModelDirectory], Engine]) -> Engine:
    """An engine for a model, which pads rows if the model's rows are padded.

    Args:
        model: the model.
        make: makes an engine for a model whose rows aren't padded.
    """
    if model.config.padding is None:
        return make(model)
    return PaddedEngine(make(_unpadded(model)), model.config, model.config.padding)


def refuse_padding(config: ModelConfig) -> None:
    """Check that an engine, which pads no rows itself, gets a model that pads none.

    Raises:
        ModelError: the model pads rows.
    """
    if config.padding is not None:
        raise ModelError("the model's rows are padded; make its engine with worker.engines.padded.make_padded")


class PaddedEngine:
    """An engine that pads rows, and keeps the outputs at their real tokens.

    A row's outputs depend on that row alone, as those of the engine that computes the padded rows do. Padding that
    rows have in common is shared like other tokens. A mean is the sum of a row's float32 states in float64, divided by
    their number.

    Args:
        engine: computes padded rows, for the model of `_unpadded`.
        config: the model's configuration.
        padding: its padding.

    Attributes:
        name: the engine's.
        arithmetic: the engine's.
        description: the engine's, and how rows are padded.
    """

    def __init__(self, engine: Engine, config: ModelConfig, padding: Padding) -> None:
        self._engine, self._padding = engine, padding
        self._vocab_size, self._depth, self._given_dim = config.vocab_size, len(config.layers), config.given_dim
        self._padding_id = padding.id or config.vocab_size + 1
        self.name, self.arithmetic = engine.name, engine.arithmetic
        self.description = f"{engine.description}, rows padded {padding}"

    def __getattr__(self, name: str) -> Any:
        """What else the engine says about itself, such as its threads."""
        if name.startswith("_"):  # before __init__ there is no engine to ask
            raise AttributeError(name)
        return getattr(self._engine, name)

    def compute(
        self, shards: Sequence[Ragged], outputs: Sequence[Sequence[Float32]], columns: tuple[VectorColumn, ...]
    ) -> PoolStats:
        """Fill outputs[i][j] with column j of shard i; see `worker.engines.engine.Engine`.

        Raises:
            RequestError: a row is too long, or an id isn't one of the model's. Nothing has been computed.
        """
        for number, shard in enumerate(shards):
            self._check(shard)
            with_states(number, shard, self._given_dim)
        widths = {column.layer_of(self._depth): column.width for column in columns}
        layers = tuple(VectorColumn("none", layer, width) for layer, width in widths.items())
        stats = PoolStats(sum(shard.values.size for shard in shards))
        for runs in self._pieces([shard.rows for shard in shards], sum(widths.values())):
            taken = [shards[number].take(start, stop) for number, start, stop in runs]
            made, computed = self._compute(taken, layers)
            stats += PoolStats(computed=computed.computed, plan_seconds=computed.plan_seconds)
            for (number, start, stop), rows, steps in zip(runs, taken, made, strict=True):
                first, last = int(shards[number].offsets[start]), int(shards[number].offsets[stop])
                for array, column in zip(outputs[number], columns, strict=True):
                    kept = array[first:last] if column.per_token else array[start:stop]
                    self._keep(column, steps[column.layer_of(self._depth)], rows.lengths, kept)
        return stats

    def _check(self, shard: Ragged) -> None:
        longest = int(shard.lengths.max(initial=0))
        if longest > self._padding.length:
            raise RequestError(self._padding.why_too_long(longest))
        if shard.values.size and not (shard.values.min() >= 1 and shard.values.max() <= self._vocab_size):
            raise RequestError(f"a token id isn't in 1..{self._vocab_size}")

    def _pieces(self, rows: Sequence[int], width: int) -> Iterator[list[tuple[int, int, int]]]:
        """All rows in pieces whose padded outputs fit into SCRATCH_BYTES: for each the runs (shard, start, stop)."""
        most = max(1, SCRATCH_BYTES // (4 * width * self._padding.length))
        piece: list[tuple[int, int, int]] = []
        room = most
        for number, count in enumerate(rows):
            start = 0
            while start < count:
                stop = min(count, start + room)
                piece.append((number, start, stop))
                room, start = room - (stop - start), stop
                if not room:
                    yield piece
                    piece, room = [], most
        if piece:
            yield piece

    def _compute(
        self, runs: Sequence[Ragged], layers: tuple[VectorColumn, ...]
    ) -> tuple[list[dict[int, Float32]], PoolStats]:
        """For each run of rows and each layer float32 (rows with tokens, length, width); and what it took."""
        values = np.concatenate([rows.values for rows in runs])
        counts = [int(np.count_nonzero(rows.lengths)) for rows in runs]
        lengths = np.concatenate([rows.lengths for rows in runs])
        real = self._real(lengths[lengths > 0])
        ids = np.full(real.shape, self._padding_id, np.int32)
        ids[real] = values
        states = [rows.states[rows.lengths > 0] for rows in runs if rows.states is not None]
        padded = Ragged(
            ids.ravel(),
            np.arange(len(ids) + 1, dtype=np.int64) * self._padding.length,
            states=np.concatenate(states) if states else None,
        )
        made = [np.empty((ids.size, column.width), np.float32) for column in layers]
        stats = self._engine.compute([padded], [made], layers)
        ends = np.cumsum(counts)[:-1]
        split = {
            column.layer_of(self._depth): np.split(array.reshape(*ids.shape, column.width), ends)
            for column, array in zip(layers, made, strict=True)
        }
        return [{layer: parts[number] for layer, parts in split.items()} for number in range(len(runs))], stats

    def _real(self, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which steps of padded rows of these lengths are real tokens, bool (rows, length)."""
        steps = np.arange(self._padding.length)
        if self._padding.side == AFTER:
            return np.asarray(steps < lengths[:, None])
        return np.asarray(steps >= self._padding.length - lengths[:, None])

    def _keep(self, column: VectorColumn, steps: Float32, lengths: NDArray[np.int64], kept: Float32) -> None:
        """Store a column of some rows.

        Args:
            column: the column.
            steps: the padded outputs of the rows with tokens, (rows with tokens, length, width).
            lengths: int64 (rows,).
            kept: the part of the caller's array, (tokens, width) or (rows, width).
        """
        has_tokens = lengths > 0
        filled = lengths[has_tokens]
        starts = np.zeros_like(filled) if self._padding.side == AFTER else self._padding.length - filled
        if column.per_token:
            kept[...] = steps[self._real(filled)]
            return
        kept[~has_tokens] = 0
        if not len(filled):
            return
        if column.pooling in ("first", "last"):
            places = starts if column.pooling == "first" else starts + filled - 1
            kept[has_tokens] = steps[np.arange(len(steps)), places]
            return
        tokens, begins = steps[self._real(filled)], np.cumsum(filled) - filled
        if column.pooling == "max":
            kept[has_tokens] = np.maximum.reduceat(tokens, begins, axis=0)
        else:
            # Converted before, because a sum that converts on its way may be cut anywhere.
            kept[has_tokens] = np.add.reduceat(tokens.astype(np.float64), begins, axis=0) / filled[:, None]


@dataclass(frozen=True, slots=True)
class _Unpadded(ModelDirectory):
    """A model whose rows contain their padding: its id 0 is the id after the largest one.

    Attributes:
        own: the model whose rows are padded.
    """

    own: ModelDirectory

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The tensors; see `ModelDirectory.weights`."""
        weights, config = self.own.weights(), self.own.config
        if config.vocab_size == self.config.vocab_size:
            return weights
        if config.embedding_dim is not None:
            return {**weights, "embedding": np.concatenate([weights["embedding"], weights["embedding"][:1]])}
        names = [f"{prefix}.{part}" for prefix in config.layers[0].prefixes(0) for part in _OF_IDS]
        return weights | {
            name: np.concatenate([weights[name], np.zeros_like(weights[name][:1])]) for name in names if name in weights
        }


def _unpadded(model: ModelDirectory) -> ModelDirectory:
    """The model for rows that contain their padding."""
    config = model.config
    has_id = config.padding is not None and config.padding.id > 0
    inner = replace(config, vocab_size=config.vocab_size + (not has_id), padding=None)
    return _Unpadded(model.path, inner, model.fingerprint, model.tokenizer_path, model)
