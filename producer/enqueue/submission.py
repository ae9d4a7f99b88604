"""The whole way of a job's rows to the queue: sources, tokenization, duplicate ids, cutting, sending."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from producer.enqueue.cutter import Cutter, default_shard_tokens, most_shard_rows
from producer.enqueue.enqueuer import Enqueuer, Summary, cuts
from producer.enqueue.seen_ids import IdentityLedger
from producer.sources.reading import InputPlan, SourceOptions, check_inputs, read_batches
from producer.tokenization.tokenize import load_tokenizer, tokenize
from unrolled.errors import ModelError
from unrolled.format.output_spec import OutputSpec, parse_layers, parse_pooling
from unrolled.job.directory import JobDirectory, create_job
from unrolled.job.job import Job
from unrolled.job.manifest import read_manifest
from unrolled.model.directory import ModelDirectory, open_model

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tokenizers import Tokenizer

    from producer.queue.shard_queue import ShardQueue
    from producer.rows import RowBatch, SourceBatch
    from unrolled.patience import Patience

#: Options that change how rows are read but not which rows there are.
_NOT_THE_JOBS = ("batch_rows", "tick_seconds")


@dataclass(frozen=True, slots=True)
class Submission:
    """What a user asks for.

    Attributes:
        inputs: files, directories, patterns, or "-".
        out: output directory.
        model: model directory.
        source: how the inputs are read.
        shard_tokens: token ids at which a shard is cut; None for what `producer.enqueue.cutter` makes of it.
        flush_seconds: on a live input, how long a row may wait for its shard to fill.
        with_tokens: store the token ids beside the vectors.
        special_tokens: let the tokenizer add its special tokens.
        layers: whose outputs are stored: "last", "all", or numbers such as "0,2".
        pooling: what becomes of a row's vectors, each text one or several of `unrolled.format.output_spec.POOLINGS`.
        precision: of what is stored.
    """

    inputs: tuple[str, ...]
    out: Path
    model: Path
    source: SourceOptions = field(default_factory=SourceOptions)
    shard_tokens: int | None = None
    flush_seconds: float = 5.0
    with_tokens: bool = False
    special_tokens: bool = True
    layers: str = "last"
    pooling: tuple[str, ...] = ("none",)
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission whose inputs, model and output directory passed every check; nothing is queued yet.

    Attributes:
        directory: of the job, made or found again.
        model: its model.
        plan: its inputs.
        tokenizer: None where no input holds text.
        shard_tokens: as decided.
        shard_rows: most rows of a shard.
    """

    submission: Submission
    directory: JobDirectory
    model: ModelDirectory
    plan: InputPlan
    tokenizer: Tokenizer | None
    shard_tokens: int
    shard_rows: int


def prepare(submission: Submission) -> Prepared:
    """Check everything that can be checked before anything is queued, and make the output directory.

    Raises:
        UnrolledError: an input, the model, the tokenizer, what is to be stored, or the directory can't be used; the
            text says which and why.
    """
    model = open_model(submission.model)
    spec = OutputSpec(
        parse_layers(submission.layers, model.config),
        parse_pooling(submission.pooling),
        submission.precision,
        submission.with_tokens,
    )
    columns = spec.columns(model.config)
    plan = check_inputs(submission.inputs, submission.source)
    tokenizer = None
    if model.tokenizer_path:
        tokenizer = load_tokenizer(model.tokenizer_path, model.config.vocab_size)
    elif plan.text_file is not None:
        raise ModelError(
            f"{plan.text_file} holds text, but {submission.model} has no tokenizer.json; make one with "
            f"`unrolled tokenizer fit INPUTS --out {submission.model}`, or give token ids (--tokens-field)"
        )
    shard_tokens, shard_rows = submission.shard_tokens or default_shard_tokens(columns), most_shard_rows(columns)
    options = {name: value for name, value in asdict(submission.source).items() if name not in _NOT_THE_JOBS}
    options |= spec.to_options()
    options |= {
        "shard_tokens": shard_tokens,
        "shard_rows": shard_rows,
        "special_tokens": submission.special_tokens,
    }
    directory = create_job(submission.out, Job(model.fingerprint, submission.inputs, options))
    return Prepared(submission, directory, model, plan, tokenizer, shard_tokens, shard_rows)


def submit(
    prepared: Prepared,
    queue: ShardQueue,
    patience: Patience,
    each: Callable[[Summary], None],
    on_bytes: Callable[[int], None] | None = None,
    stopped: threading.Event | None = None,
) -> Summary:
    """Bring every row to the queue; what earlier runs of the same command did isn't done again.

    Args:
        prepared: from `prepare`.
        queue: of the model.
        patience: waits for a disk that is full or away, and says so.
        each: called after each shard with the summary so far.
        on_bytes: told of input bytes as they are read.
        stopped: on a live input, taken for its end when it is set.

    Raises:
        UnrolledError: an input broke off, has changed since the job began, or the output directory failed. What was
            queued stays queued; the same command goes on from there.
    """
    live = prepared.submission.source.follow
    labels = [file.label for file in prepared.plan.files]
    with (
        prepared.directory.lock(),
        IdentityLedger(labels, _room_for_ids(prepared.directory)) as identities,
    ):
        prepared.directory.resume()
        enqueuer = Enqueuer(prepared.directory, queue, patience, live=live, each=each)
        batches = read_batches(prepared.plan, prepared.submission.source, on_bytes=on_bytes)
        if live:
            first = read_manifest(prepared.directory.path).rows
            batches = _continued(batches, first, stopped, prepared.submission.source.batch_rows)
        rows: Iterable[RowBatch] = identities.unique(
            tokenize(
                batches,
                prepared.tokenizer,
                prepared.model.config.vocab_size,
                add_special_tokens=prepared.submission.special_tokens,
            )
        )
        cutter = Cutter(prepared.shard_tokens, prepared.shard_rows)
        return enqueuer.run(cuts(rows, cutter, prepared.submission.flush_seconds if live else None))


def _room_for_ids(directory: JobDirectory) -> Path:
    """Where the list of ids may lie: on the job's disk, for the system's temporary directory may be memory."""
    room = directory.path / "_ids"
    shutil.rmtree(room, ignore_errors=True)  # of a producer that was killed; the lock says that none is alive
    room.mkdir()
    return room


def _continued(
    batches: Iterator[SourceBatch], first: int, stopped: threading.Event | None, batch_rows: int
) -> Iterator[SourceBatch]:
    """A live stream's rows, numbered on from where the last run ended, so that no two have one id."""
    for batch in batches:
        yield [row._replace(position=row.position + first) for row in batch] if first else batch
        # What is off the pipe can't be read again. A batch that isn't full is the last one of what was read.
        if stopped and stopped.is_set() and len(batch) < batch_rows:
            return
