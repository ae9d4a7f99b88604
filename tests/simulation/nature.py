"""The nature of a run, drawn once at its start: how often things fail, and the kind of each job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


@dataclass(slots=True)
class Nature:
    """How often things fail, each as a probability.

    Attributes:
        faults: an operation of a store or of the ledger fails, or its answer is lost.
        deaths: an actor's process dies before or after an operation.
        pauses: an actor's process pauses for a while, often for longer than a lease.
        losses: the ledger loses something, at one step.
        cuts: the power fails, at one step.
        damages: an object is damaged, at one step.
        failing: a row can't be computed, at one attempt.
        bad: a request is bad as a whole, at one attempt.
        stops: a worker is asked to stop, at one operation that fails.
        giving_up: a command ends with an error at the first operation that fails, instead of trying again.
        slow_syncs: a sync takes many steps; until its end, nothing becomes durable.
        hesitation: an actor that has read a log to its end, or listed a folder, does nothing for a while.
        longest_pause: in steps; two steps are about one tick of the ledger's clock.
        is_calm: nothing fails any more, and no look-up lags, so everything must end.
    """

    faults: float
    deaths: float
    pauses: float
    losses: float
    cuts: float
    damages: float
    failing: float
    bad: float
    stops: float
    giving_up: float
    slow_syncs: float
    hesitation: float
    longest_pause: int
    is_calm: bool = False

    @classmethod
    def drawn(cls, rng: random.Random) -> Nature:
        """Choose how often things fail."""
        return cls(
            faults=rng.choice((0, 0.1, 0.25)),
            deaths=rng.choice((0, 0.005, 0.02)),
            pauses=rng.choice((0, 0.01, 0.04)),
            losses=rng.choice((0, 0.004, 0.02)),
            cuts=rng.choice((0, 0.004)),
            damages=rng.choice((0, 0, 0.02)),
            failing=rng.choice((0.1, 0.3)),
            bad=rng.choice((0.03, 0.25)),
            stops=rng.choice((0, 0.1)),
            giving_up=rng.choice((0, 0.2)),
            slow_syncs=rng.choice((0, 0.2, 0.5)),
            hesitation=rng.choice((0, 0.05, 0.2)),
            longest_pause=rng.choice((120, 120, 400)),
        )

    def calm_down(self) -> None:
        """From now on, let nothing fail except rows."""
        self.faults = self.deaths = self.pauses = self.losses = self.cuts = self.giving_up = self.slow_syncs = 0
        self.stops = self.hesitation = self.damages = 0
        self.is_calm = True


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a job.

    Attributes:
        is_disk: whether its store is a disk, where a new name must be synced to be durable, and not a bucket.
        lag: how many of the last changes a look-up may fail to show.
        is_live: whether its input can't be read again.
        may_be_discarded: whether somebody may discard it.
        page: names in one page of a listing.
    """

    is_disk: bool
    lag: int
    is_live: bool
    may_be_discarded: bool
    page: int

    @classmethod
    def drawn(cls, rng: random.Random) -> Kind:
        """Choose a kind."""
        is_disk = rng.random() < 0.5
        return cls(
            is_disk=is_disk,
            lag=rng.choice((0, 12, 60)) if is_disk else 0,
            is_live=rng.random() < 0.5,
            may_be_discarded=rng.random() < 0.12,
            page=rng.choice((2, 1000)),
        )
