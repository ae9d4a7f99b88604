"""Contestants, and the turns that they take."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from model import LAYERS, padded
from numpy.typing import NDArray
from peers import Peer

from unrolled.format.columns import VectorColumn
from unrolled.ragged import Ragged

#: Seconds between two turns, in which threads that still spin for more work go to sleep.
PAUSE = 0.05


class Contestant(Protocol):
    """Something that computes rows, a turn at a time."""

    name: str
    arithmetic: str
    detail: str

    def turn(self, number: int) -> int:
        """Compute; how many real tokens they were."""
        ...

    def states(self, rows: Ragged) -> NDArray[np.float32]:
        """The last layer's states (tokens, units) of some rows."""
        ...


class Pooled:
    """An engine of ours: each turn takes the next pool.

    Args:
        name: of the contestant.
        engine: what computes.
        units: of its outputs.
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
        """Compute one pool, the next each time; how many tokens it has."""
        pool = self._pools[number % len(self._pools)]
        self._compute(pool, self._outputs[: len(pool.values)])
        return len(pool.values)

    def states(self, rows: Ragged) -> NDArray[np.float32]:
        """The states of rows' tokens, (tokens, units), to compare contestants by."""
        outputs = np.zeros((len(rows.values), self._outputs.shape[1]), np.float32)
        self._compute(rows, outputs)
        return outputs

    def _compute(self, rows: Ragged, outputs: NDArray[np.float32]) -> None:
        self._engine.compute([rows], [[outputs]], self._columns)


class Batched:
    """Another library: each turn takes the same batches of rows of about one length, from all lengths alike.

    Args:
        peer: what computes.
        rows: of the text.
        seconds: of a turn, about.
        sizes: of batches to try; the quickest is kept.
    """

    def __init__(self, peer: Peer, rows: Ragged, seconds: float, sizes: Sequence[int]) -> None:
        self.name, self.arithmetic = peer.name, peer.arithmetic
        self._peer, self._rows = peer, rows
        self._order = np.argsort(-rows.lengths, kind="stable")
        rate = self._first_rate(sizes[0])
        trials = {}
        for size in sizes:
            self._batches = self._spread_batches(size, rate * seconds / 4)
            self.turn(0)  # shapes that are new cost compilation
            trials[size] = timed(self.turn, 0)
        best = max(trials, key=lambda size: trials[size])
        self.detail = f"batches of {best}"
        self._batches = self._spread_batches(best, trials[best] * seconds)

    def turn(self, number: int) -> int:  # noqa: ARG002 - all turns are alike
        """Compute the chosen batches; how many real tokens they have."""
        for ids, lengths in self._batches:
            self._peer.run(ids, lengths)
        return int(sum(lengths.sum() for _, lengths in self._batches))

    def states(self, rows: Ragged) -> NDArray[np.float32]:
        """The states of rows' tokens, (tokens, units), in the rows' own order."""
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
        """Batches of rows sorted by length, longest first, at even distances until about so many tokens are there."""
        groups = math.ceil(len(self._order) / size)
        count = min(groups, max(1, round(tokens / len(self._rows.values) * groups)))
        chosen = ((np.arange(count) + 0.5) * groups / count).astype(int)
        rows = [self._order[k * size : (k + 1) * size] for k in chosen]
        return [(padded(self._rows, some), self._rows.lengths[some]) for some in rows]


def timed(turn: Callable[[int], int], number: int) -> float:
    """Real tokens a second of one turn."""
    began = time.perf_counter()
    tokens = turn(number)
    return tokens / (time.perf_counter() - began)


def take_turns(contestants: Sequence[Contestant], repeats: int) -> list[list[float]]:
    """Rates of each, in tokens a second; a first turn, which touches the memory, isn't counted."""
    rates: list[list[float]] = [[] for _ in contestants]
    for number in range(repeats + 1):
        for contestant, found in zip(contestants, rates, strict=True):
            time.sleep(PAUSE)
            rate = timed(contestant.turn, number)
            if number:
                found.append(rate)
    return rates


def pools_of(rows: Ragged, tokens: int) -> list[Ragged]:
    """The rows in their order, in as few pools of about one size as have at most so many tokens."""
    count = math.ceil(len(rows.values) / tokens)
    cuts = np.searchsorted(rows.offsets, np.linspace(0, len(rows.values), count + 1))
    return [rows.take(int(a), int(b)) for a, b in itertools.pairwise(cuts) if a < b]
