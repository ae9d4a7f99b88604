"""The product's settings and random numbers for a run, restored afterwards."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

from producer.enqueue import runs
from producer.jobs import decisions
from unrolled.job import payload
from unrolled.job.job import Job
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.protocol import chapters, ledger_update, opening, spooling
from unrolled.protocol.chapter import Chapter
from unrolled.queue import ledger
from unrolled.store import memory
from worker.runtime import attempt, away_jobs, worker_leases

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping

    from unrolled.store.store import Store

#: Cached results of each pure function that is called thousands of times in a run.
_KEPT = 4096


def _kept(function: Callable[..., Any]) -> Any:
    return functools.lru_cache(_KEPT)(function)


class _Secrets:
    """In place of the module `secrets` in the product's modules: random numbers that depend on the seed."""

    def __init__(self, rng: random.Random) -> None:
        self.randbits = rng.getrandbits
        self._rng = rng

    def token_hex(self, size: int) -> str:
        return self._rng.randbytes(size).hex()


class _Log:
    """In place of a worker's log: an unexpected failure ends the run, because it is a bug in the product."""

    def warning(self, *_: object) -> None: ...

    info = error = warning

    def exception(self, *_: object) -> None:
        error = sys.exception()
        if error and not isinstance(error, MemoryError):
            raise error


_PURE = [
    (Job, "decode", _kept(Job.decode)),
    (Segment, "decode", _kept(Segment.decode)),
    (ShardId, "parse", _kept(ShardId.parse)),
    (Chapter, "decode", _kept(Chapter.decode)),
    (payload, "decode", _kept(payload.decode)),
    (memory, "check_name", _kept(memory.check_name)),
    (memory, "check_own_name", _kept(memory.check_own_name)),
    (memory, "check_folder", _kept(memory.check_folder)),
    (memory, "folder_of", _kept(memory.folder_of)),
]


@contextlib.contextmanager
def settings(rng: random.Random, stores: Mapping[str, Store]) -> Iterator[None]:
    """Let a few rows need several segments and chunks, draw names from the seed, and find stores by their places.

    Args:
        rng: the run's random numbers.
        stores: the stores, by place.
    """

    def open_store(place: str, *, make: bool = False) -> Store:
        del make
        return stores[place]

    most_entries = rng.choice((1, 2, 1000))
    wanted = [
        (opening, "open_store", open_store),
        *_PURE,
        (attempt, "log", _Log()),
        (away_jobs, "log", _Log()),
        (worker_leases, "log", _Log()),
        (ledger_update, "CHUNK", rng.choice((1, 3))),
        (chapters, "SEGMENTS", rng.choice((1, 3, 1000, 1000))),
        *((module, "MOST_ENTRIES", most_entries) for module in (decisions, runs)),
        *(
            (module, "secrets", _Secrets(rng))
            for module in (ledger, ledger_update, opening, runs, spooling)
            if hasattr(module, "secrets")
        ),
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in wanted]
    for owner, name, value in wanted:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
