"""The bytes of a job's parts for each choice of what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producer.enqueue.cutter import shard_limits
from producer.plan.part_bytes import Content, part_bytes, parts_of
from producer.plan.plan import Choice
from producer.plan.sampling.estimate import Estimate
from unrolled.format.columns import vector_bytes
from unrolled.format.output_spec import PRECISIONS, OutputSpec, parse_layers, parse_pooling

if TYPE_CHECKING:
    from producer.enqueue.submission import Submission
    from producer.plan.sampling.sample import Sample
    from unrolled.model.config import ModelConfig


def limits_of(submission: Submission, spec: OutputSpec, config: ModelConfig) -> tuple[int, int]:
    """The token ids and the rows at which a shard is cut."""
    columns = spec.columns(config)
    token_bytes, row_bytes = vector_bytes(columns, rows=0, tokens=1), vector_bytes(columns, rows=1, tokens=0)
    tokens, rows = shard_limits(token_bytes, row_bytes, 4 * (config.vector_dim or 0), 4 * config.given_dim)
    return submission.shard_tokens or tokens, rows


def parts_in(sample: Sample, submission: Submission, spec: OutputSpec, config: ModelConfig) -> float:
    """How many parts there will be."""
    return parts_of(sample.sums["rows"].value, sample.sums["token_ids"].value, *limits_of(submission, spec, config))


def choices_of(sample: Sample, submission: Submission, spec: OutputSpec, config: ModelConfig) -> list[Choice]:
    """The bytes of each choice: last and all layers, every token and one vector for each row, both precisions."""
    layers = list(dict.fromkeys(["last", *(["all"] if len(config.layers) > 1 else []), submission.layers]))
    poolings = list(dict.fromkeys([("none",), ("mean",), spec.pooling]))
    found = []
    for layer in layers:
        for pooling in poolings:
            for precision in PRECISIONS:
                positions = spec.positions if pooling == ("none",) else None
                empty_rows = "null" if pooling == ("none",) else submission.empty_rows
                stored = precision, submission.with_tokens, empty_rows, positions
                choice = OutputSpec(parse_layers(layer, config), parse_pooling(pooling), *stored)
                chosen = layer == submission.layers and (pooling, precision) == (spec.pooling, spec.precision)
                size = _size(sample, submission, choice, config)
                found.append(Choice(layer, ",".join(pooling), precision, size, chosen))
    return found


def _size(sample: Sample, submission: Submission, spec: OutputSpec, config: ModelConfig) -> Estimate:
    sums = sample.sums

    def size(errors: float, bare_errors: float) -> float:
        more = {name: bare_errors if name in ("empty", "bare") else errors for name in sums}
        found = {name: max(0.0, each.value + more[name] * (each.error or 0.0)) for name, each in sums.items()}
        content = Content(
            parts=parts_of(found["rows"], found["token_ids"], *limits_of(submission, spec, config)),
            rows=found["rows"],
            vectors=found["vectors"] if spec.positions else found["tokens"],
            token_ids=found["token_ids"],
            id_bytes=found["id_bytes"],
            empty=found["empty"],
            bare=found["bare"] if spec.positions else found["empty"],
        )
        return part_bytes(content, spec, spec.columns(config))

    known = all(sums[name].error is not None for name in ("rows", "tokens"))
    found = size(0, 0)
    # More rows without a vector may make the parts smaller or larger.
    errors = (abs(size(errors, bare_errors) - found) for errors in (-1, 1) for bare_errors in (-1, 1))
    return Estimate(found, max(errors) if known else None)
