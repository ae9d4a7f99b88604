"""What a worker's heartbeat says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Facts of a heartbeat that are numbers from 0, with the attributes' names.
_NUMBERS = (
    "longest_seconds", "tokens_per_second", "busy_share", "computed_share", "read_seconds", "plan_seconds",
    "compute_seconds", "write_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as its last heartbeat described it.

    Attributes:
        name: host and process.
        model: fingerprint of the model that it serves.
        engine: its engine's name and arithmetic.
        on_board: how many shards it holds.
        longest_seconds: how long it has held the one that it took first.
        tokens_per_second: real tokens per second of its engine's time.
        busy_share: the share of its time in which the engine computes.
        computed_share: computed steps over real tokens: below 1 where rows share prefixes, above 1 where the
            TensorFlow engine pads batches. 0 before the first.
        read_seconds, plan_seconds, compute_seconds, write_seconds: since its start, summed over its threads.
        lease_seconds: how long it may be silent; None where the heartbeat doesn't say.
    """

    name: str
    model: str
    engine: str
    on_board: int
    longest_seconds: float
    tokens_per_second: float
    busy_share: float
    computed_share: float = 0.0
    read_seconds: float = 0.0
    plan_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    lease_seconds: float | None = None

    @classmethod
    def parse(cls, name: str, facts: Mapping[str, Any]) -> Self:
        """Read a heartbeat. Anybody with access to Redis may have written it, so its facts may be anything."""
        return cls(
            name=name,
            model=str(facts.get("model"))[:64],
            engine=" ".join(str(facts[key])[:20] for key in ("engine", "arithmetic") if key in facts),
            on_board=int(_number(facts, "on_board")),
            lease_seconds=_number(facts, "lease_seconds") or None,
            **{key: _number(facts, key) for key in _NUMBERS},
        )


def _number(facts: Mapping[str, Any], key: str) -> float:
    value = facts.get(key)
    return float(value) if isinstance(value, int | float) and 0 <= value < 10**15 else 0.0
