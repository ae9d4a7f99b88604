"""Making a plan: a sample of the rows, what follows from it, and a measurement of the engine."""

# Over 150 lines: one plan, in the order of its steps.

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from producer.enqueue.submission import check_first_input, job_of, need_tokenizer, submission_for
from producer.local.engine import local_engine
from producer.plan.choices import choices_of, limits_of, parts_in
from producer.plan.plan import Input, Plan, Rows
from producer.plan.sampling.estimate import SMALL_SHARE
from producer.plan.sampling.readable import readable
from producer.plan.sampling.sample import LONG_ROW_TOKENS, Sampler
from producer.plan.sampling.units import frames_of
from producer.plan.sharing import computed_share
from producer.plan.timing import Load, measured_speed, queueing_seconds, times_of
from producer.sources.discovery import discover
from producer.sources.errors import DamagedInputError
from producer.sources.fitting import check_options
from producer.sources.reading import InputPlan
from unrolled.errors import RequestError, UnrolledError
from unrolled.format.requested import requested_spec
from unrolled.job.inputs import Inputs
from unrolled.model.directory import open_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from producer.enqueue.submission import Submission
    from producer.plan.sampling.readable import Readable
    from producer.plan.sampling.sample import Sample
    from producer.sources.rows import Row
    from unrolled.model.config import ModelConfig
    from unrolled.model.layer import LayerConfig
    from unrolled.model.token_map import MapConfig
    from unrolled.settings.worker_options import WorkerOptions

#: Seconds for a look at the inputs' beginnings, for the sample, and for rows that follow each other.
CHECK_SECONDS, SAMPLE_SECONDS, RUN_SECONDS = 1.0, 3.0, 1.0


def make_plan(
    submission: Submission,
    options: WorkerOptions,
    workers: int,
    *,
    measured: bool = True,
    begin: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Plan a job. Nothing is written, and nothing is queued.

    Args:
        submission: what is asked for; `out` isn't looked at.
        options: the options of each worker.
        workers: how many, each on a machine like this one.
        measured: whether the engine is measured; else the plan has no times.
        begin: called with the name of each step that may take a second, when it begins.

    Raises:
        UnrolledError: an input isn't found, no input can be read, the model can't be used, or options contradict each
            other.
    """
    # Over 40 lines: the steps of a plan in their order.
    # `unrolled run` starts in the same way: it imports nearly the same, and checks model and inputs.
    imported, began = time.process_time(), time.monotonic()
    model = open_model(submission.model)
    config = model.config
    submission = submission_for(model, submission)
    tokenizer = model.tokenizer()
    spec = requested_spec(config, tokenizer, **submission.stored)
    found = discover(submission.inputs, submission.source)
    check_options(found.files, submission.source, submission.named)
    begin("plan: looking at the inputs")
    inputs = readable(found.files, submission.source, CHECK_SECONDS)
    _refuse_none(inputs)
    need_tokenizer(submission, tokenizer, inputs.text_file, inputs.json_files)
    if inputs.files[0] is found.files[0]:
        _check_first_input(inputs, submission, tokenizer, config)
    preparing = imported + time.monotonic() - began + inputs.seconds * inputs.unchecked / max(1, len(found.files))
    frames, not_sampled = frames_of(inputs.files, submission.source)
    sampler = Sampler(
        frames,
        tokenizer,
        config,
        [source.size_bytes or 0 for source in inputs.files],
        special_tokens=submission.special_tokens,
        positions=spec.positions,
    )
    begin("plan: reading a sample")
    sample = sampler.sample(SAMPLE_SECONDS)
    if sample.begun_bytes:
        sample = _of_beginnings(sample)
    limits = limits_of(submission, spec, config)
    parts = parts_in(sample, submission, spec, config)
    load = Load(sample, spec, config, parts, options)
    began = time.monotonic()
    run = sampler.run(load.pool_tokens, RUN_SECONDS)
    run_seconds = time.monotonic() - began + queueing_seconds(run, limits)
    rows = _real(run)
    ordinary = [row for row in rows if row.size <= LONG_ROW_TOKENS]
    share = all_share = 1.0
    # Rows that bring initial states are taken for rows that share none.
    if (submission.engine or local_engine()) == "fused" and config.padding is None and not config.given_dim:
        layers = config.layers[: 1 + max(column.layer_of(len(config.layers)) for column in spec.columns(config))]
        share = computed_share(ordinary, layers)
        all_share = _share_of_all(sample, share, layers)
    total_bytes = sum(source.size_bytes or 0 for source in found.files)
    unreadable = inputs.problems | {label: why for frame in frames for label, why in frame.unread.items()}
    plan = Plan(
        model=model.fingerprint,
        max_length=config.max_length,
        padded=config.padding is not None,
        input=Input(
            files=len(found.files),
            size_bytes=total_bytes,
            read_bytes=round(sample.read_bytes),
            exact=sample.exact and not (not_sampled or unreadable),
            from_the_start=sample.begun_bytes,
            unreadable=unreadable,
            not_sampled=not_sampled,
            unchecked=inputs.unchecked,
            notices=[*found.notices, *inputs.notices],
        ),
        rows=_rows(sample, all_share),
        parts=round(parts),
        shard_tokens=limits[0],
        choices=choices_of(sample, submission, spec, config),
        positions=submission.positions,
        job=job_of(submission, model.fingerprint, Inputs.named(of.label for of in found.files), spec, limits).to_json(),
    )
    if not measured or not rows:
        return plan
    begin("plan: measuring the engine")
    try:
        speed = measured_speed(submission, options, model, spec, ordinary, sample, load)
    except UnrolledError as error:
        plan.no_times = str(error)
        return plan
    queueing = run_seconds / max(sum(row.tokens.size for row in run), 1)
    plan.times = times_of(plan, sample, speed, share, (preparing, queueing), workers)
    plan.worker_bytes = round(speed.base_bytes + speed.engine_bytes + load.output_bytes)
    return plan


def _refuse_none(inputs: Readable) -> None:
    """Refuse inputs of which none can be read."""
    if not inputs.files:
        label, reason = next(iter(inputs.problems.items()))
        raise RequestError(f"input {label}: {reason}")


def _check_first_input(
    inputs: Readable, submission: Submission, tokenizer: Tokenizer | None, config: ModelConfig
) -> None:
    """Leave out a first input of which no row can be used, which a job refuses."""
    first = inputs.files[0]
    try:
        look = InputPlan((first,), (), inputs.text_file, first.size_bytes, tuple(inputs.json_files))
        check_first_input(look, submission, tokenizer, config)
    except DamagedInputError as error:
        inputs.problems[first.label] = str(error)
        del inputs.files[0]
        _refuse_none(inputs)


def _of_beginnings(sample: Sample) -> Sample:
    """A sample that has read the beginnings of some inputs alone: what looks exact there is of unknown error."""
    sums = {
        name: each._replace(error=None) if (each.error or 0.0) <= SMALL_SHARE * each.value else each
        for name, each in sample.sums.items()
    }
    return replace(sample, sums=sums)


def _rows(sample: Sample, share: float) -> Rows:
    sums = sample.sums
    median, p90, p99 = sample.length_at(0.5, 0.9, 0.99)
    longest = int(sample.lengths.max(initial=0))
    mean = sums["tokens"].value / sums["rows"].value if sums["rows"].value else 0.0
    return Rows(
        rows=sums["rows"],
        tokens=sums["tokens"],
        quarantined=sums["quarantined"],
        reasons=sample.reasons,
        empty=sums["empty"],
        padding_share=max(0.0, 1 - sums["tokens"].value / ids) if (ids := sums["token_ids"].value) else 0.0,
        longer=sums["longer"],
        partly_read=sums["partly_read"],
        lengths={"mean": mean, "median": median, "p90": p90, "p99": p99, "longest": longest},
        in_part=sample.in_part,
        unknown_share=sample.unknown_share,
        unknown_noun=sample.unknown_noun,
        words_read=sample.words,
        computed_share=share,
    )


def _share_of_all(sample: Sample, share: float, layers: Sequence[LayerConfig | MapConfig]) -> float:
    """The share of all tokens that is computed; `share` is of rows that follow each other, without the long ones.

    Args:
        sample: with the sums, and some long rows, of which the first tokens are known.
        share: of the tokens of the other rows.
        layers: as `computed_share` takes them.
    """
    tokens, long_tokens = sample.sums["tokens"].value, sample.sums["long_tokens"].value
    long_rows = [row for row in sample.long_rows if row.is_first]
    shared = 0.0
    if long_rows:
        known = sum(row.tokens.size for row in long_rows)
        shared = known * (1 - computed_share([row.tokens for row in long_rows], layers))
        shared /= sum(row.length for row in long_rows)
    return (share * (tokens - long_tokens) + (1 - shared) * long_tokens) / tokens if tokens else share


def _real(run: list[Row]) -> list[NDArray[np.int32]]:
    """The real tokens of rows that have any."""
    rows = (row.tokens if row.tokens.all() else row.tokens[row.tokens > 0] for row in run)
    return [row for row in rows if row.size]
