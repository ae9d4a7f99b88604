"""A user's request, and the checks that it must pass before anything is queued."""

# Over 150 lines: a request with all of its fields, and the checks that it must pass together.

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from producer.enqueue.cutter import shard_limits
from producer.sources.discovery import STANDARD_INPUT
from producer.sources.errors import DamagedInputError
from producer.sources.first_rows import check_rows
from producer.sources.formats.by_name import by_extension
from producer.sources.options import SourceOptions
from producer.sources.reading import InputPlan, check_inputs, first_batches, with_beginning
from producer.terminal.lines import tell
from producer.tokenization.checked_rows import checked_rows
from unrolled.errors import (
    FileFormatError,
    JobError,
    ModelError,
    OptionError,
    PayloadError,
    RequestError,
    TransientError,
    UnrolledError,
    as_argument,
    counted,
)
from unrolled.format.columns import vector_bytes
from unrolled.format.positions import ALL
from unrolled.format.requested import requested_spec
from unrolled.job.directories import is_job, refuse_model, refuse_place
from unrolled.job.inputs import Inputs
from unrolled.job.job import Job
from unrolled.job.offer import Arithmetic, EngineName, Offer
from unrolled.model.directory import ModelDirectory, open_model
from unrolled.patience import at_once
from unrolled.protocol.discarded import refuse_another
from unrolled.protocol.log import Log, catch_up
from unrolled.protocol.opening import OpenJob, create_job, open_job
from unrolled.store.bucket_url import is_url, shown
from unrolled.store.patterns import is_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from unrolled.format.output_spec import OutputSpec
    from unrolled.model.config import ModelConfig
    from unrolled.patience import Steadily

#: The field with the initial states, unless the user names another.
INITIAL_STATE = "initial_state"
#: Options that change how rows are read but not which rows there are; and one that is the same in all jobs.
_NOT_THE_JOBS = ("batch_rows", "tick_seconds", "reads_ids")


@dataclass(frozen=True, slots=True)
class Submission:
    """A user's request.

    Attributes:
        inputs: files, directories, patterns, URLs of these in a bucket, or "-".
        out: output directory, or URL of a prefix in a bucket.
        model: model directory, or URL of one in a bucket.
        source: how the inputs are read.
        shard_tokens: token ids at which a shard is cut; None for the default of `producer.enqueue.cutter`.
        flush_seconds: on a live input, how long a row may wait for its shard to fill.
        with_tokens: store the token ids beside the vectors.
        empty_rows: what the pooled columns hold for rows without a token: "null" or "zeros".
        special_tokens: let the tokenizer add its special tokens.
        layers: whose outputs are stored: "last", "all", or numbers such as "0,2".
        pooling: what becomes of a row's vectors, each text one or several of `unrolled.format.output_spec.POOLINGS`.
        precision: precision of the stored numbers.
        positions: the tokens whose vectors are stored: "all", "word-ends", "every:N" or "last:K".
        engine: the family of engines that computes it; None for fused.
        arithmetic: how it is computed.
        append: whether rows after the end of the job's input are added to the job.
        named: the options of `source` that the user gave, as `producer.sources.fitting.check_options` takes them.
    """

    inputs: tuple[str, ...]
    out: str
    model: Path
    source: SourceOptions = field(default_factory=SourceOptions)
    shard_tokens: int | None = None
    flush_seconds: float = 5.0
    with_tokens: bool = False
    empty_rows: str = "null"
    special_tokens: bool = True
    layers: str = "last"
    pooling: tuple[str, ...] = ("none",)
    precision: str = "float32"
    positions: str = ALL
    engine: EngineName | None = None
    arithmetic: Arithmetic = "float32"
    append: bool = False
    named: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.append and self.source.follow:
            raise OptionError(
                "--append adds to files, and --follow reads a stream; to add to a stream, run the job's `unrolled "
                "enqueue --follow` again, without --append"
            )

    @property
    def stored(self) -> dict[str, Any]:
        """The options about what is stored, as `requested_spec` takes them."""
        names = ("layers", "pooling", "precision", "with_tokens", "empty_rows", "positions")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A submission whose inputs, model and output directory passed every check; nothing is queued yet.

    Attributes:
        submission: the request.
        job: the job, which was created or found.
        model: the job's model.
        plan: the inputs.
        inputs: their names.
        tokenizer: None if no input contains text.
        shard_tokens: token ids at which a shard is cut.
        shard_rows: most rows of a shard.
    """

    submission: Submission
    job: OpenJob
    model: ModelDirectory
    plan: InputPlan
    inputs: Inputs
    tokenizer: Tokenizer | None
    shard_tokens: int
    shard_rows: int


def prepare(
    submission: Submission, steadily: Steadily = at_once, check_broker: Callable[[], object] = lambda: None
) -> Prepared:
    """Check everything that can be checked before anything is queued, and create the job.

    Args:
        submission: the request.
        steadily: tries each operation on the job's store until it works; by default each is tried once.
        check_broker: called before the job is created; raises where the broker doesn't let this user in.

    Raises:
        UnrolledError: an input, the model, the tokenizer, what is to be stored, or the directory can't be used; the
            text says which and why.
    """
    # Over 40 lines: checks in the order in which a mistake costs least: the model, the inputs, the job.
    refuse_place(submission.out)
    refuse_model(submission.out)
    _refuse_own_input(submission)
    model = open_model(submission.model)
    tokenizer = model.tokenizer()
    spec = requested_spec(model.config, tokenizer, **submission.stored)
    columns = spec.columns(model.config)
    token_bytes, row_bytes = vector_bytes(columns, rows=0, tokens=1), vector_bytes(columns, rows=1, tokens=0)
    submission = submission_for(model, submission)
    plan = check_inputs(submission.inputs, submission.source, submission.named)
    need_tokenizer(submission, tokenizer, plan.text_file, plan.json_files)
    input_bytes, state_bytes = 4 * (model.config.vector_dim or 0), 4 * model.config.given_dim
    shard_tokens, shard_rows = shard_limits(token_bytes, row_bytes, input_bytes, state_bytes)
    shard_tokens = submission.shard_tokens or shard_tokens
    try:
        check_first_input(plan, submission, tokenizer, model.config)
    except DamagedInputError as error:
        raise RequestError(f"input {plan.files[0].label}: {error}") from error
    # As they were found: another spelling is no other job. Their content is compared shard by shard as it is read.
    inputs = Inputs.named(file.label for file in plan.files)
    job = job_of(submission, model.fingerprint, inputs, spec, (shard_tokens, shard_rows))
    plan = replace(plan, notices=(*plan.notices, *_notice_of_others(submission.out)))
    check_broker()
    if job.live and not is_job(submission.out):
        plan = with_beginning(plan, submission.source)
    try:
        with _told_of_loss(plan):
            opened = create_job(submission.out, job, steadily, append=submission.append)
    except JobError:
        _refuse_discarded(submission.out)  # no options resume that one
        raise
    return Prepared(submission, opened, model, plan, inputs, tokenizer, shard_tokens, shard_rows)


def job_of(submission: Submission, fingerprint: str, inputs: Inputs, spec: OutputSpec, limits: tuple[int, int]) -> Job:
    """The job that a request describes.

    Args:
        submission: the request, as `submission_for` gives it.
        fingerprint: of its model.
        inputs: its inputs.
        spec: what is stored.
        limits: the token ids and the rows at which a shard is cut.
    """
    options = {name: value for name, value in asdict(submission.source).items() if name not in _NOT_THE_JOBS}
    if submission.source.kind != "vectors":
        del options["vectors_field"]
    if submission.source.initial_state_field is None:
        del options["initial_state_field"]
    options |= spec.to_options()
    shard_tokens, shard_rows = limits
    options |= {
        "shard_tokens": shard_tokens,
        "shard_rows": shard_rows,
        "special_tokens": submission.special_tokens,
    }
    offer = Offer(fingerprint, submission.engine or "fused", submission.arithmetic)
    return Job(offer.fingerprint, inputs, offer.engine, offer.arithmetic, submission.source.follow, options)


@contextmanager
def _told_of_loss(plan: InputPlan) -> Iterator[None]:
    """Say that the beginning of a stream is lost if no job can be made for it."""
    try:
        yield
    except UnrolledError:
        if plan.live and plan.live.taken:
            tell(plan.live.loss)
        raise


def _refuse_discarded(place: str) -> None:
    """Refuse a place whose job was discarded.

    Raises:
        JobError: it is one.
    """
    log = Log()
    with suppress(RequestError, TransientError, FileFormatError, PayloadError):
        catch_up(log, open_job(place).objects)
    refuse_another(place, log)


def _notice_of_others(out: str) -> list[str]:
    """A line where the directory of a new job has other files, which nothing will read as inputs any more."""
    if is_url(out) or is_job(out):
        return []
    with suppress(OSError):  # whether it can be read and written is seen when the job is created
        others = [name for name in sorted(os.listdir(out)) if not is_private(name)]  # noqa: PTH208 - as given
        if others:
            found = f"{shown(out)} has other files, such as {shown(others[0])}"
            return [f"{found}: as a job's directory, it is left out of inputs from now on"]
    return []


def _refuse_own_input(submission: Submission) -> None:
    """Refuse an input that is the job's own place, where the job's files would be among the input's.

    Raises:
        OptionError: there is one.
    """

    def plain(place: str) -> str:
        return shown(place).rstrip("/") if is_url(place) else os.path.realpath(place)

    for given in submission.inputs:
        if given != STANDARD_INPUT and plain(given) == plain(submission.out):
            raise OptionError(f"--out {shown(submission.out)} is an input, too; use another directory for the output")


def submission_for(model: ModelDirectory, submission: Submission) -> Submission:
    """A request with the kind of rows and the field of initial states that a model reads, if the user names none.

    Raises:
        OptionError: the request's options are about another kind, or about initial states that the model doesn't read.
    """
    if model.config.given_dim and submission.source.initial_state_field is None:
        submission = replace(submission, source=replace(submission.source, initial_state_field=INITIAL_STATE))
    if not model.config.given_dim and submission.source.initial_state_field is not None:
        raise OptionError(
            f"--initial-state-field is given, but {shown(submission.model)} reads no initial states; leave it out, or "
            "take a model that does"
        )
    source, width = submission.source, model.config.vector_dim
    usual = SourceOptions()
    if width is None:
        if source.kind == "vectors" or source.vectors_field != usual.vectors_field:
            given = "--kind vectors" if source.kind == "vectors" else "--vectors-field"
            raise OptionError(
                f"{given} is given, but {shown(submission.model)} reads token ids; leave it out, or take a model whose "
                "rows are vectors"
            )
        return submission
    named = [
        f"--{name.replace('_', '-')} {value}"
        for name in ("kind", "text_field", "tokens_field")
        if (value := getattr(source, name)) not in (getattr(usual, name), "vectors")
    ]
    if named:
        raise OptionError(
            f"{' and '.join(named)}: {shown(submission.model)} reads vectors of {counted(width, 'number')}, not text "
            "or token ids; leave it out, and name the column of vectors with --vectors-field"
        )
    return replace(submission, source=replace(source, kind="vectors"))


def need_tokenizer(
    submission: Submission, tokenizer: Tokenizer | None, text_file: str | None, json_files: Sequence[str] = ()
) -> None:
    """Refuse inputs with text for a model without a tokenizer.

    Args:
        submission: the request.
        tokenizer: the model's; None where it has none.
        text_file: an input that contains text; None where there is none.
        json_files: inputs whose lines are JSON objects, but are read as text.

    Raises:
        ModelError: there is text, and no tokenizer.
    """
    if tokenizer is not None or text_file is None:
        return
    lacks = f"{shown(submission.model)} has no tokenizer.json"
    if text_file in json_files:
        raise RequestError(
            f"{text_file} looks like JSON lines, but each whole line is read as text, for which {lacks}; give --format "
            "jsonl, which reads the fields"
        )
    if "fasta" in (submission.source.format, by_extension(text_file)[0]):
        raise ModelError(
            f"{text_file} holds sequences of letters, but {lacks}; make one of letters as docs/inputs.md shows, or "
            "give token ids in another format"
        )
    if text_file == "-" and submission.source.format is None:
        lacks = f"{lacks} (JSON lines need --format jsonl)"
    raise ModelError(
        f"{text_file} holds text, but {lacks}; a trained model needs the one that it was trained with (`unrolled model "
        f"import --tokenizer`). For one that isn't trained, `unrolled tokenizer fit INPUTS --out "
        f"{as_argument(shown(submission.model))}` makes one. For token ids, give --kind tokens"
    )


def check_first_input(
    plan: InputPlan, submission: Submission, tokenizer: Tokenizer | None, config: ModelConfig
) -> None:
    """Refuse a first input of which no row can be used, before a directory is spent on it.

    Raises:
        DamagedInputError: it is one.
    """
    found = first_batches(plan, submission.source)
    if found is None:
        return
    source, batches = found
    rows = checked_rows(batches, config, tokenizer, add_special_tokens=submission.special_tokens)
    try:
        check_rows(source, rows, submission.source.kind, is_json=source.label in plan.json_files)
    except DamagedInputError:
        if plan.stdin is None or not plan.stdin.is_late:  # rows that can be used may still arrive
            raise
    finally:
        if plan.stdin is not None:
            plan.stdin.rewind()
