"""The facts that a report shows about a job, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.plan.beside import Beside
    from producer.report.lengths import Lengths
    from producer.report.states.state_map import StateMap
    from producer.report.throughput import Timeline
    from producer.report.training import Training
    from producer.report.trouble import Reason
    from unrolled.format.columns import VectorColumn
    from unrolled.job.inputs import Inputs
    from unrolled.job.job import Job
    from unrolled.model.config import ModelConfig


#: A smaller share of the tokens than this isn't explained by the rounding of records of time.
ALMOST_ALL = 0.995


@dataclass(frozen=True, slots=True)
class Facts:
    """A job at one moment. Tokens are real tokens.

    Attributes:
        job: what is computed, and how.
        inputs: its inputs by now.
        key: names the job.
        state: "complete", "finished, not complete", "not complete", "cancelled" or "discarded".
        ended: whether the input was read to its end.
        rows, tokens: cut from the input so far; rows include those in quarantine.
        rows_published, tokens_published: in parts.
        shards, parts, dead: how many there are; a part is a published shard.
        unseen: shards that wait, and whose rows aren't found.
        size_bytes: size of all parts.
        refused, failed: rows in quarantine: those that the producer refused, and those that the engine failed on.
        not_finite: vectors that the map leaves out, because a number of theirs is infinite or not a number.
        retried_rows: rows that were queued again after the engine had failed on them, each counted once.
        retried_shards: dead shards that were given another life.
        deaths: the first few dead shards, each with its reason.
        reasons: rows in quarantine by reason; `other_reasons` counts those beyond the different reasons.
        damaged: parts that can't be read, as texts.
        columns: the columns of vectors; empty while there is no part.
        precision: precision of the stored numbers.
        positions: the rule by which the vectors of some tokens only are stored; empty if it is those of all.
        lengths: lengths of the published rows.
        time: the workers' records; None if there are none.
        model: the model's configuration; None if the model isn't known.
        training: how the model learned; None if that isn't known.
    """

    job: Job
    inputs: Inputs
    key: str
    state: str
    ended: bool
    rows: int
    tokens: int
    rows_published: int
    tokens_published: int
    shards: int
    parts: int
    dead: int
    unseen: int
    size_bytes: int
    refused: int
    failed: int
    not_finite: int
    retried_rows: int
    retried_shards: int
    deaths: list[tuple[str, str]]
    reasons: list[Reason]
    other_reasons: int
    damaged: list[str]
    columns: tuple[VectorColumn, ...]
    precision: str
    positions: str
    lengths: Lengths
    time: Timeline | None
    model: ModelConfig | None
    training: Training | None

    @property
    def recorded_share(self) -> float:
        """Tokens in the records of time over published tokens: a share, but for what was computed twice."""
        if not self.time:
            return 0.0
        if not self.tokens_published and not self.time.tokens:
            return 1.0  # of rows without a token
        return self.time.tokens / max(self.tokens_published, 1)


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that a page shows.

    Attributes:
        facts: numbers.
        state_map: the map; None if there is none.
        without_map: why there is no map, as a sentence; empty if there is one.
        plan: the figures of the job's plan beside the facts; empty if there is no plan, or the job isn't finished.
        plan_note: what differs between the job and the one that was planned, as a sentence; empty if nothing does.
    """

    facts: Facts
    state_map: StateMap | None
    without_map: str = ""
    plan: tuple[Beside, ...] = ()
    plan_note: str = ""
