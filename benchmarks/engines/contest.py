"""The contestants: an engine of Unrolled, or another library."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from model import LAYERS, padded
from numpy.typing import NDArray
from peers import Peer
from turns import timed

from unrolled.format.columns import VectorColumn
from unrolled.tokenization.ragged import Ragged


class Contestant(Protocol):
    """Something that computes rows, a turn at a time."""

    name: str
    arithmetic: str
    detail: str

    def turn(self, number: int) -> int:
        """Compute something; returns the number of real tokens."""
        ...

    def states(self, rows: Ragged) -> NDArray[np.float32]:
        """The last layer's states (tokens, units) of some rows."""
        ...


class Pooled:
    """An engine of Unrolled: each turn computes the next pool.

    Args:
        name: name of the contestant.
        engine: the engine.
        units: width of its outputs.
        pools: rows in the order of the text, as a worker gets them.
    """

    def __init__(self, name: str, engine: Any, units: int, pools: Sequence[Ragged]) -> None:
        self.name, self.arithmetic, self.detail = (
            name,
            engine.arithmetic,
            f"{len(pools)} pool{'s' if len(pools) > 1 else ''}",
        )
        self._engine, self._pools = engine, pools
        self._columns = (VectorColumn("none", LAYERS - 1, units),)
        self._outputs = np.zeros((max(len(pool.values) for pool in pools), units), np.float32)

    def turn(self, number: int) -> int:
        """Compute the next pool; returns the number of its tokens."""
        pool = self._pools[number % len(self._pools)]
        self._compute(pool, self._outputs[: len(pool.values)])
        return len(pool.values)

    def states(self, rows: Ragged) -> NDArray[np.float32]:
        """The states of the rows' tokens, (tokens, units)."""
        outputs = np.zeros((len(rows.values), self._outputs.shape[1]), np.float32)
        self._compute(rows, outputs)
        return outputs

    def _compute(self, rows: Ragged, outputs: NDArray[np.float32]) -> None:
        self._engine.compute([rows], [[outputs]], self._columns)


class Batched:
    """Another library: each turn computes the same batches. The rows of a batch have about one length.

    Args:
        peer: the library.
        rows: the text's rows.
        seconds: length of a turn, about.
        sizes: sizes of batches to try; the fastest is used.
    """

    def __init__(self, peer: Peer, rows: Ragged, seconds: float, sizes: Sequence[int]) -> None:
        self.name, self.arithmetic = peer.name, peer.arithmetic
        self._peer, self._rows = peer, rows
        self._order = np.argsort(-rows.lengths, kind="stable")
        rate = self._first_rate(sizes[0])
        trials = {}
        for size in sizes:
            self._batches = self._spread_batches(size, rate * seconds / 4)
            self.turn(0)  # new shapes may be compiled
            trials[size] = timed(self.turn, 0)
        best = max(trials, key=lambda size: trials[size])
        self.detail = f"batches of {best}"
        self._batches = self._spread_batches(best, trials[best] * seconds)

    def turn(self, number: int) -> int:  # noqa: ARG002 - all turns compute these rows
        """Compute the chosen batches; returns the number of their real tokens."""
        for ids, lengths in self._batches:
            self._peer.run(ids, lengths)
        return int(sum(lengths.sum() for _, lengths in self._batches))

    def states(self, rows: Ragged) -> NDArray[np.float32]:
        """The states of the rows' tokens, (tokens, units), in the order of the rows."""
        order = np.argsort(-rows.lengths, kind="stable")
        found = self._peer.states(padded(rows, order), rows.lengths[order])[np.argsort(order)]
        return found[np.arange(found.shape[1]) < rows.lengths[:, None]]

    def _first_rate(self, size: int) -> float:
        middle = len(self._order) // 2
        chosen = self._order[middle : middle + size]
        self._batches = [(padded(self._rows, chosen), self._rows.lengths[chosen])]
        self.turn(0)
        return timed(self.turn, 0)

    def _spread_batches(self, size: int, tokens: float) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Batches with this many tokens in all, spread evenly over the rows sorted by length, longest first."""
        groups = math.ceil(len(self._order) / size)
        count = min(groups, max(1, round(tokens / len(self._rows.values) * groups)))
        chosen = ((np.arange(count) + 0.5) * groups / count).astype(int)
        rows = [self._order[k * size : (k + 1) * size] for k in chosen]
        return [(padded(self._rows, some), self._rows.lengths[some]) for some in rows]


def pools_of(rows: Ragged, tokens: int) -> list[Ragged]:
    """The rows in order, in as few pools of about equal size as possible with about this many tokens at most."""
    count = math.ceil(len(rows.values) / tokens)
    cuts = np.searchsorted(rows.offsets, np.linspace(0, len(rows.values), count + 1))
    return [rows.take(int(a), int(b)) for a, b in itertools.pairwise(cuts) if a < b]
