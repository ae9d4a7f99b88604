"""The facts in a worker's heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from producer.terminal.text import duration, figure
from unrolled.errors import printable
from unrolled.job.offer import Offer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Most troubles of a worker that are believed, and most characters of each.
_MOST_TROUBLES, _TROUBLE_CHARACTERS = 10, 500
#: A pool that is computed for longer than this is named where a job's progress is shown.
_LONG_POOL_SECONDS = 5.0
#: Facts of a heartbeat that are numbers from 0, with the attributes' names.
_NUMBERS = (
    "longest_seconds", "tokens_per_second", "busy_share", "computed_share", "room_wait_seconds", "read_seconds",
    "engine_wait_seconds", "plan_seconds", "compute_seconds", "write_seconds", "tokens",
    "up_seconds", "pool_tokens", "pool_seconds",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker as its last heartbeat described it.

    Attributes:
        name: host and process.
        offer: what it computes; None where its heartbeat names nothing.
        on_board: how many shards it held then.
        longest_seconds: how long it has held the one that it took first.
        threads: of its engine on the CPU; None on a GPU, or if the heartbeat doesn't say.
        tokens_per_second: real tokens per second of its engine's time for them.
        busy_share: the share of its time in which the engine computes, with the time of its present pool.
        computed_share: computed steps over real tokens: below 1 where rows share prefixes, above 1 where the
            TensorFlow engine pads batches. 0 before the first.
        room_wait_seconds, engine_wait_seconds: how long shards have waited since its start for memory (or while one ran
            alone) and for the engine, summed over shards.
        read_seconds, plan_seconds, compute_seconds, write_seconds: since its start, summed over its threads.
        tokens: real tokens that it has computed since its start.
        up_seconds: since its start.
        pool_tokens: real tokens in the pool that it computes; 0 where its engine is idle.
        pool_seconds: how long it has computed this pool.
        lease_seconds: how long it may be silent; None where the heartbeat doesn't say.
        silent_seconds: how long ago that heartbeat was.
        troubles: what is in its way: the job's key, None where it concerns all jobs, and a text.
    """

    name: str
    offer: Offer | None
    on_board: int
    longest_seconds: float
    tokens_per_second: float
    busy_share: float
    computed_share: float = 0.0
    threads: int | None = None
    room_wait_seconds: float = 0.0
    engine_wait_seconds: float = 0.0
    read_seconds: float = 0.0
    plan_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    tokens: float = 0.0
    up_seconds: float = 0.0
    pool_tokens: float = 0.0
    pool_seconds: float = 0.0
    lease_seconds: float | None = None
    silent_seconds: float = 0.0
    troubles: tuple[tuple[str | None, str], ...] = ()

    @property
    def is_late(self) -> bool:
        """Whether it hasn't been heard of for half a lease."""
        return bool(self.lease_seconds) and self.silent_seconds > (self.lease_seconds or 0.0) / 2

    @property
    def is_lost(self) -> bool:
        """Whether it hasn't been heard of for a lease: what it held is free for other workers."""
        return bool(self.lease_seconds) and self.silent_seconds > (self.lease_seconds or 0.0)

    @property
    def held(self) -> int:
        """How many shards it holds, by its last heartbeat, if that is still valid."""
        return 0 if self.is_lost else self.on_board

    @property
    def long_pool(self) -> str:
        """Its present pool, if it takes long: nothing of it is counted before its end. Else empty."""
        if self.pool_seconds < _LONG_POOL_SECONDS or self.is_lost:
            return ""
        return f"a pool of {figure(self.pool_tokens)} tokens for {duration(self.pool_seconds)}"

    @classmethod
    def parse(cls, name: str, facts: Mapping[str, Any]) -> Self:
        """Read a heartbeat. Anybody with access to Redis may have written it: name and facts may be anything."""
        return cls(
            name=printable(name),
            offer=Offer.parse(str(facts.get("offer"))),
            on_board=int(_number(facts, "on_board")),
            threads=int(_number(facts, "threads")) or None,
            lease_seconds=_number(facts, "lease_seconds") or None,
            silent_seconds=_number(facts, "silent_seconds"),
            troubles=tuple(_troubles(facts.get("troubles"))),
            **{key: _number(facts, key) for key in _NUMBERS},
        )


def _troubles(found: object) -> Iterator[tuple[str | None, str]]:
    for one in found[:_MOST_TROUBLES] if isinstance(found, list) else ():
        if isinstance(one, list) and len(one) == 2 and isinstance(one[1], str):  # noqa: PLR2004 - key and text
            yield one[0] if isinstance(one[0], str) else None, printable(one[1][:_TROUBLE_CHARACTERS])


def _number(facts: Mapping[str, Any], key: str) -> float:
    value = facts.get(key)
    return float(value) if isinstance(value, int | float) and 0 <= value < 10**15 else 0.0
