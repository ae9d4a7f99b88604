"""The operation before which an actor has stopped, and its possible fates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unrolled.store.memory import Fault, Lag, Operation

if TYPE_CHECKING:
    import random

    from simulation.job import SimulatedJob
    from simulation.nature import Nature

_LOOKS = [Fault.REFUSED]
_DELETES = [Fault.REFUSED, Fault.LOST_REQUEST, Fault.LOST_ANSWER, Fault.LATE]
_CREATES = [*_DELETES, Fault.EXISTS]
_LOSSES = ["request", "answer"]


class StoreCall(NamedTuple):
    """An operation of a job's store."""

    job: SimulatedJob
    operation: Operation

    def fate(self, rng: random.Random, nature: Nature) -> Fault | Lag | None:
        """Draw its fate: it succeeds (None), fails, or shows the past."""
        if rng.random() < nature.faults:
            faults = _FAULTS[self.job.kind.is_disk, self.operation.kind]
            return faults[int(rng.random() * len(faults))]
        if self.job.kind.lag and not nature.is_calm and self.operation.kind in ("read", "list"):
            chance, lag = rng.random(), self.job.kind.lag
            return Lag(lag if chance < 0.2 else rng.randint(0, lag)) if chance < 0.5 else None
        return None

    @property
    def may_break_the_ledger(self) -> bool:
        """Whether it may leave the ledger without a shard that waits."""
        return self.operation.kind == "delete"

    def __str__(self) -> str:
        return f"{self.operation.kind} {self.job.place}/{self.operation.name}"


class LedgerCall(NamedTuple):
    """An operation of the ledger."""

    method: str
    arguments: tuple[object, ...]

    def fate(self, rng: random.Random, nature: Nature) -> str | None:
        """Draw what is lost of it: nothing (None), the request or the answer."""
        return rng.choice(_LOSSES) if rng.random() < nature.faults else None

    @property
    def may_break_the_ledger(self) -> bool:
        """Whether it may leave the ledger without a shard that waits."""
        return self.method in ("enter", "remove", "take_some_out")

    def __str__(self) -> str:
        return f"{self.method} {', '.join(map(str, self.arguments))}"


class Moment(NamedTuple):
    """Anything else that takes a step."""

    may_break_the_ledger = False

    def fate(self, rng: random.Random, nature: Nature) -> None:
        """Nothing can happen to it."""
        del rng, nature

    def __str__(self) -> str:
        return "…"


Call = StoreCall | LedgerCall | Moment
_FAULTS = {
    (is_disk, kind): faults
    for is_disk in (False, True)
    for kind, faults in {
        "read": _LOOKS,
        "list": _LOOKS,
        "sync": [Fault.REFUSED, Fault.LOST_ANSWER],
        "delete": _DELETES,
        "create": [*_CREATES, Fault.FULL if is_disk else Fault.CONFLICT],
    }.items()
}
