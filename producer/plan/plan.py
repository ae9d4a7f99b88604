"""The plan of a job: its cost, before anything is queued."""

# Over 150 lines: a plan, with the description of each figure.

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from producer.plan.sampling.estimate import Estimate


#: Numbers from here on are written without a fraction.
_WHOLE_FROM = 1000


@dataclass(frozen=True, slots=True)
class Input:
    """The input.

    Attributes:
        files: how many inputs there are.
        size_bytes: size of all of them, as they are stored.
        read_bytes: how many of these bytes the sample has read.
        exact: whether the sample is all of the input.
        from_the_start: stored bytes of inputs that can be read from their start only, and were not read to their end:
            nothing is known of what comes later in them.
        unreadable: inputs that can't be read, and why; `unrolled enqueue` refuses them, or breaks off there.
        not_sampled: inputs that are left out of the estimate.
        unchecked: inputs whose beginnings were not looked at, for lack of time.
        notices: what `unrolled enqueue` would say.
    """

    files: int
    size_bytes: int
    read_bytes: int
    exact: bool
    from_the_start: int
    unreadable: dict[str, str]
    not_sampled: list[str]
    unchecked: int
    notices: list[str]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows.

    Attributes:
        rows: good rows.
        tokens: real tokens in them.
        quarantined: rows that can't be used.
        reasons: why, with a row of each kind.
        empty: good rows without a real token.
        padding_share: share of the token ids that are 0, which is padding.
        longer: rows with more tokens than the model was made for; they are computed too, and nothing is cut.
        partly_read: rows, good or bad, of which parts were read; what no error of the others covers is whether each is
            bad, empty or longer, and how long it is.
        lengths: tokens of a row: "mean", "median", "p90", "p99" and "longest" (of those that were seen).
        in_part: whether the longest of these is an estimate, because parts of its row were read.
        unknown_share: share of the words that are not in the vocabulary; None where that isn't known.
        unknown_noun: what they are, see `producer.tokenization.coverage.Coverage`.
        words_read: how many of them this share was taken from.
        computed_share: steps that are computed, over tokens: below 1 where rows begin alike.
    """

    rows: Estimate
    tokens: Estimate
    quarantined: Estimate
    reasons: list[str]
    empty: Estimate
    padding_share: float
    longer: Estimate
    partly_read: Estimate
    lengths: dict[str, float]
    in_part: bool
    unknown_share: float | None
    unknown_noun: str
    words_read: int
    computed_share: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The size of the parts for one choice of what is stored.

    Attributes:
        layers: whose outputs: "last", "all", or numbers.
        pooling: what becomes of a row's vectors.
        precision: precision of the numbers.
        size: bytes of all parts.
        chosen: whether it is what was asked for.
    """

    layers: str
    pooling: str
    precision: str
    size: Estimate
    chosen: bool


@dataclass(frozen=True, slots=True)
class Times:
    """How long it takes, in seconds.

    Attributes:
        engine: what computes, one line.
        workers: how many workers the figures are for.
        tokens_per_second: speed of one worker on this machine.
        start: until the first token is computed; with several workers, which have started before, until the first row
            is read.
        queueing: seconds of the producer: reading, tokenizing, writing rows.
        computing: seconds of all workers together: the engine and the encoding of parts.
        total: until the last part is published, by `unrolled run` on this machine if there is one worker, else by as
            many machines like this one.
        limit: what takes the time: "computing" or "queueing".
    """

    engine: str
    workers: int
    tokens_per_second: float
    start: float
    queueing: float
    computing: Estimate
    total: Estimate
    limit: str


@dataclass(slots=True)
class Plan:
    """The cost of a job.

    Attributes:
        model: its fingerprint.
        max_length: tokens that its rows usually have.
        input: see `Input`.
        rows: see `Rows`.
        parts: how many parts there will be.
        shard_tokens: tokens at which a shard is cut.
        choices: bytes in the store by what is stored.
        positions: the tokens whose vectors are stored where rows aren't pooled.
        times: None where the engine could not be measured.
        worker_bytes: memory of a worker; None where it could not be measured.
        no_times: why the engine could not be measured.
        padded: whether the model pads rows to max_length; longer ones are then among the quarantined.
        job: the job that the plan is of, as `Job.to_json` gives it.
    """

    model: str
    max_length: int
    input: Input
    rows: Rows
    parts: int
    shard_tokens: int
    choices: list[Choice]
    positions: str = "all"
    times: Times | None = None
    worker_bytes: int | None = None
    no_times: str | None = None
    padded: bool = False
    job: dict[str, Any] = field(default_factory=dict)
    format_version: int = field(default=1)

    @property
    def chosen(self) -> Choice:
        """The choice that was asked for."""
        return next(choice for choice in self.choices if choice.chosen)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values; an estimate is {"value", "error"}."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):  # the only tuples are estimates
        number, error = value
        return {"value": _rounded(number), "error": None if error is None else _rounded(error)}
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return _rounded(value) if isinstance(value, float) else value


def _rounded(number: float) -> float:
    return round(number) if abs(number) >= _WHOLE_FROM else round(number, 4)
