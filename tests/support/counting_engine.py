"""An engine that is cheap and exact, and misbehaves on demand; worker processes run it in tests.

A row's outputs are a checksum of its prefix, so a row that was computed in the wrong company, order or length shows
as other numbers. Every call is noted in a file before it is answered, so that a test can count starts and deaths.
"""

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import BrokenWorkerError
from unrolled.format.columns import VectorColumn
from unrolled.tokenization.ragged import Ragged
from worker.engines.engine import PoolStats

PLAN_VARIABLE = "COUNTING_PLAN"
_MODULUS = 65_521  # every sum below stays far under 2**24, where float32 counts exactly


@dataclass(frozen=True)
class Plan:
    """What the engine does besides computing.

    Attributes:
        journal: file in which each call is noted.
        gate: the engine waits, in mid-compute, until this path exists; empty for no wait.
        seconds: how long each call takes at least.
        fails_on: token ids for which the call raises ValueError.
        breaks_on: token ids for which it raises BrokenWorkerError.
        kills_on: token ids for which the process is killed.
    """

    journal: str
    gate: str = ""
    seconds: float = 0.0
    fails_on: list[int] = field(default_factory=list)
    breaks_on: list[int] = field(default_factory=list)
    kills_on: list[int] = field(default_factory=list)

    @classmethod
    def from_environ(cls) -> Self:
        return cls(**json.loads(os.environ[PLAN_VARIABLE]))

    def to_environ(self) -> dict[str, str]:
        return {PLAN_VARIABLE: json.dumps(asdict(self))}


class CountingEngine:
    """Fills outputs[t, u] with (checksum of the row's first t + 1 tokens) + u, in any layer, and pools them."""

    name = "fused"
    arithmetic = "float32"
    description = "counts"

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def compute(
        self,
        shards: Sequence[Ragged],
        outputs: Sequence[Sequence[NDArray[np.float32]]],
        columns: tuple[VectorColumn, ...],
    ) -> PoolStats:
        note(Path(self._plan.journal), shards)
        while self._plan.gate and not Path(self._plan.gate).exists():
            time.sleep(0.005)
        time.sleep(self._plan.seconds)
        for shard in shards:
            self._misbehave(set(shard.values.tolist()))
        return fill(shards, outputs, columns)

    def _misbehave(self, tokens: set[int]) -> None:
        if tokens & set(self._plan.kills_on):
            os.kill(os.getpid(), signal.SIGKILL)
        if found := tokens & set(self._plan.breaks_on):
            raise BrokenWorkerError(f"token {min(found)} breaks this engine")
        if found := tokens & set(self._plan.fails_on):
            raise ValueError(f"token {min(found)} can't be computed")


def fill(shards, outputs, columns):
    """Do what an engine does: write each column's array in place, and say what it took."""
    for shard, arrays in zip(shards, outputs, strict=True):
        for array, column in zip(arrays, columns, strict=True):
            assert array.shape == (column.vectors(shard.rows, shard.values.size), column.width)
            for row in range(shard.rows):
                start, stop = shard.offsets[row : row + 2]
                states = expected_outputs(shard.values[start:stop], column.width)
                if column.per_token:
                    array[start:stop] = states
                else:
                    array[row] = expected_pooled(states, column.pooling)
    tokens = sum(shard.values.size for shard in shards)
    return PoolStats(tokens, computed=tokens)


def expected_pooled(states, pooling):
    """One vector for a row; zeros if it has no token."""
    if not len(states):
        return np.zeros(states.shape[1], np.float32)
    if pooling == "mean":
        return states.mean(axis=0, dtype=np.float64).astype(np.float32)
    return {"max": states.max(axis=0), "last": states[-1], "first": states[0]}[pooling]


def expected_outputs(tokens: NDArray[np.int32], units: int) -> NDArray[np.float32]:
    """The engine's outputs for one row: float32 (real tokens, units)."""
    states = []
    state = 1
    for token in tokens[tokens != 0].tolist():
        state = (31 * state + token) % _MODULUS
        states.append(state)
    return (np.array(states, np.float32).reshape(-1, 1) + np.arange(units, dtype=np.float32)).astype(np.float32)


def note(journal: Path, shards: Sequence[Ragged]) -> None:
    """Add a line with the process and the first token of each row that isn't empty, shard by shard."""
    firsts = [shard.values[shard.offsets[:-1][shard.lengths > 0]].tolist() for shard in shards]
    with journal.open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), "shards": firsts}) + "\n")
