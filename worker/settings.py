"""A worker's settings: read once at the entry point, checked before anything starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.queue.messages import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENGINES = ("auto", "fused", "tensorflow")
ARITHMETICS = ("float32", "bfloat16")
#: Seconds; the longest lease or grace.
DAY = 86_400
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a worker can be told. Each field is the flag and the variable `UNROLLED_<FIELD>` of its name.

    Attributes:
        broker: Redis URL: `redis://`, `rediss://` or `redis+socket://`.
        model: the model directory; one process serves one model.
        namespace: prefix of every key in Redis; must be the producer's.
        engine: "auto" takes the quickest that is here.
        arithmetic: its precision, which is not that of what is stored; "bfloat16" is the fused engine's.
        threads: of the engine; None for as many as this process may use.
        memory_budget: bytes of outputs in flight: being read, computed and written.
        pool_tokens: most tokens that are computed in one go.
        concurrency: most shards on board at once.
        lease_seconds: how long this worker may be silent before another takes its shards.
        grace_seconds: how long SIGTERM lets shards on board finish before they are given back.
        max_attempts: how often a shard may kill a worker while alone on board.
        output_root: where output directories must lie; None allows any that holds its job's manifest.
        health_file: touched while the worker is well; None for none.
    """

    broker: str
    model: Path
    namespace: str = "unrolled"
    engine: str = "auto"
    arithmetic: str = "float32"
    threads: int | None = None
    memory_budget: int = 2**30
    pool_tokens: int = 2**18
    concurrency: int = 8
    lease_seconds: float = 30.0
    grace_seconds: float = 25.0
    max_attempts: int = 3
    output_root: Path | None = None
    health_file: Path | None = None

    def __post_init__(self) -> None:
        _require(
            bool(NAMESPACE.fullmatch(self.namespace)),
            "namespace",
            self.namespace,
            "lower-case letters, digits, - and _",
        )
        _require(self.engine in ENGINES, "engine", self.engine, " or ".join(ENGINES))
        _require(self.arithmetic in ARITHMETICS, "arithmetic", self.arithmetic, " or ".join(ARITHMETICS))
        _require(
            not (self.engine == "tensorflow" and self.arithmetic == "bfloat16"),
            "arithmetic",
            self.arithmetic,
            "float32 with the tensorflow engine; take --engine fused for bfloat16",
        )
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, "1 or more")
        _require(self.memory_budget >= 2**20, "memory_budget", self.memory_budget, "1M or more")
        _require(self.pool_tokens >= 1, "pool_tokens", self.pool_tokens, "1 or more")
        _require(1 <= self.concurrency <= 256, "concurrency", self.concurrency, "1 to 256")  # noqa: PLR2004 - a bound said in full
        _require(1 <= self.lease_seconds <= DAY, "lease_seconds", self.lease_seconds, f"1 to {DAY:,}")
        _require(0 <= self.grace_seconds <= DAY, "grace_seconds", self.grace_seconds, f"0 to {DAY:,}")
        _require(self.max_attempts >= 1, "max_attempts", self.max_attempts, "1 or more")

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Settings of a worker that is started by `celery -A worker.app worker`.

        Raises:
            ValueError: a variable is missing or not of its kind; the text names it.
        """
        given = {name: environ[f"UNROLLED_{name.upper()}"] for name in _KINDS if f"UNROLLED_{name.upper()}" in environ}
        for name in ("broker", "model"):
            if not given.get(name):
                raise ValueError(f"UNROLLED_{name.upper()} is not set; a worker needs it ({_NEEDS[name]})")
        values: dict[str, object] = {}
        for name, text in given.items():
            try:
                values[name] = _KINDS[name](text)
            except ValueError as error:
                raise ValueError(f"UNROLLED_{name.upper()}={text!r}: {error}") from error
        return cls(**values)  # type: ignore[arg-type]


def parse_bytes(text: str) -> int:
    """A number of bytes: `1500000000`, `512M`, `1.5G`.

    Raises:
        ValueError: it is none.
    """
    text = text.strip().lower().removesuffix("ib").removesuffix("b")
    unit = _UNITS.get(text[-1:], 1)
    try:
        size = int(float(text.rstrip("kmgt")) * unit)
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise ValueError("a number of bytes is expected, such as 512M or 1.5G")
    return size


_KINDS: dict[str, Callable[[str], object]] = {
    "broker": str,
    "model": Path,
    "namespace": str,
    "engine": str,
    "arithmetic": str,
    "threads": int,
    "memory_budget": parse_bytes,
    "pool_tokens": int,
    "concurrency": int,
    "lease_seconds": float,
    "grace_seconds": float,
    "max_attempts": int,
    "output_root": Path,
    "health_file": Path,
}
_NEEDS = {"broker": "such as redis://localhost:6379/0", "model": "a directory made by `unrolled model new`"}


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
