"""The options of a job, shared by `enqueue` and `run`; other commands share those of its inputs."""

# Over 150 lines: one list of options, with the help of each.

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from producer.enqueue.submission import Submission
from producer.sources.fitting import FIELD_OPTIONS
from producer.sources.options import FORMATS, KINDS, SourceOptions
from unrolled.errors import OptionError
from unrolled.format.output_spec import EMPTY_ROWS, PRECISIONS
from unrolled.format.positions import ALL
from unrolled.job.offer import ARITHMETICS, ENGINES
from unrolled.queue.priority import HIGHEST_PRIORITY, NORMAL_PRIORITY
from unrolled.settings.worker_options import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from unrolled.settings.flags import Decorator

_SOURCE: dict[str, Decorator] = {
    "format": click.option(
        "--format", type=click.Choice(FORMATS), show_default="by the file's name; else text",
        help="Format of the inputs.",
    ),
    "kind": click.option(
        "--kind", type=click.Choice(KINDS), default="auto", show_default=True,
        help="What a row contains; auto takes the text or the token ids, whichever the row has, and vectors if the "
        "model reads them. Where rows have both, give text or tokens.",
    ),
    "text_field": click.option(
        "--text-field", metavar="NAME", default="text", show_default=True, help="Field or column with the text."
    ),
    "tokens_field": click.option(
        "--tokens-field", metavar="NAME", default="tokens", show_default=True,
        help="Field or column with the token ids.",
    ),
    "vectors_field": click.option(
        "--vectors-field", metavar="NAME", default="vectors", show_default=True,
        help="Field or column with the vectors, lists of lists of numbers, for a model that reads vectors.",
    ),
    "initial_state_field": click.option(
        "--initial-state-field", metavar="NAME", show_default="initial_state, for a model that reads initial states",
        help="Field or column with the row's initial states, a list of numbers in the order that `unrolled model show` "
        "names.",
    ),
    "id_field": click.option(
        "--id-field", metavar="NAME", show_default="id, where the row has one",
        help="Field or column with the row's id.",
    ),
    "id_first_word": click.option(
        "--id-first-word", is_flag=True, help="Text files: the first word of each line is the row's id."
    ),
    "header": click.option(
        "--header/--no-header", default=True, show_default=True,
        help="Whether the first line of CSV and TSV names the columns; without it, they are numbered from 1.",
    ),
    "quotes": click.option(
        "--quotes/--no-quotes", default=None, show_default="quotes, but no field that has taken rows into it",
        help="Whether quotation marks enclose fields of CSV and TSV; with --no-quotes, they are characters of the "
        "texts, and with --quotes, a field may have lines that look like rows.",
    ),
    "columns": click.option(
        "--columns", metavar="NAME,NAME", help="Names of the columns of CSV and TSV that have no line of names."
    ),
    "max_row_bytes": click.option(
        "--max-row-bytes", type=click.IntRange(1), default=16 * 2**20, show_default=True,
        help="Size of the longest row that is read; a longer one is a bad row.",
    ),
    "follow": click.option("--follow", is_flag=True, help="Read standard input as it arrives; INPUTS is then -."),
}  # fmt: skip
_JOB: dict[str, Decorator] = {
    "flush_seconds": click.option(
        "--flush-seconds", metavar="SECONDS", type=click.FloatRange(0.01, DAY), default=5.0, show_default=True,
        help="With --follow: longest time that a row waits for its shard to fill.",
    ),
    "shard_tokens": click.option(
        "--shard-tokens", type=click.IntRange(1),
        show_default="as many as make files of about 64 MiB in float32, but at most 262,144 (all pooled: 131,072)",
        help="Largest number of tokens in a shard, and so in a file. A shard has at most 65,536 rows, too.",
    ),
    "layers": click.option(
        "--layers", metavar="LAYERS", default="last", show_default=True,
        help="Layers whose outputs are stored: last, all, or numbers from 0 such as 0,2.",
    ),
    "pooling": click.option(
        "--pooling", metavar="POOLING", multiple=True, default=("none",), show_default=True,
        help="Store one vector for each row instead of one for each token: mean, max, last or first. Separate several "
        "with commas; none,mean stores the tokens' vectors too.",
    ),
    "precision": click.option(
        "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True,
        help="Precision of the stored numbers; float16 halves the files, and a row with a number beyond 65,504 fails.",
    ),
    "empty_rows": click.option(
        "--empty-rows", type=click.Choice(EMPTY_ROWS), default="null", show_default=True,
        help="With --pooling: what is stored for a row without a token; the cosine to a vector of zeros is undefined.",
    ),
    "positions": click.option(
        "--positions", metavar="WHICH", default=ALL, show_default=True,
        help="Tokens whose vectors are stored: all, every:N, last:K, or word-ends for one vector for each word, of a "
        "model that reads characters.",
    ),
    "with_tokens": click.option("--with-tokens", is_flag=True, help="Store the token ids beside the outputs."),
    "engine": click.option(
        "--engine", type=click.Choice(ENGINES), show_default="fused",
        help="Engine of the job, because engines round differently: fused for CPUs, tensorflow for GPUs. Where the "
        "fused engine wasn't built, the default of `unrolled run` and `unrolled plan` is tensorflow.",
    ),
    "arithmetic": click.option(
        "--arithmetic", type=click.Choice(ARITHMETICS), default="float32", show_default=True,
        help="Arithmetic in which the job is computed; only the fused engine has bfloat16 and bfloat16x3. bfloat16x3 "
        "is for machines with matrix units (AMX).",
    ),
    "special_tokens": click.option(
        "--special-tokens/--no-special-tokens", default=True, show_default=True,
        help="Let the tokenizer add its special tokens to each text.",
    ),
}  # fmt: skip
_INPUTS_AND_MODEL: tuple[Decorator, ...] = (
    click.argument("inputs", nargs=-1, required=True, metavar="INPUTS..."),
    click.option(
        "--model", metavar="DIR", required=True, type=click.Path(readable=False, path_type=Path),
        help="Model directory, or URL of one in a bucket.",
    ),
)  # fmt: skip
#: Options of a live input, which can't be planned.
_LIVE = ("follow", "flush_seconds")
_ALL: tuple[Decorator, ...] = (
    *_INPUTS_AND_MODEL,
    click.option("--out", metavar="DIR", required=True, help="Output directory, or URL of a prefix in a bucket."),
    click.option(
        "--append", is_flag=True,
        help="Add new rows to the job in OUT: those at the end of its last input, and those of new inputs, named after "
        "the others. All earlier rows must be as they were.",
    ),
    *_SOURCE.values(),
    *_JOB.values(),
    click.option(
        "--max-queued-tokens", type=click.IntRange(1), show_default="as many as keep all workers busy",
        help="Size of the queue, in tokens that wait or are being computed; reading pauses while it is full. A few "
        "shards that were cut before come on top, and a job beside others may have one, or three for each unit of the "
        "workers' --concurrency.",
    ),
    click.option(
        "--priority", type=click.IntRange(1, HIGHEST_PRIORITY), default=NORMAL_PRIORITY, show_default=True,
        help="The job's share of the workers while other jobs wait too: a job of priority 20 gets two tokens computed "
        "while one of priority 10 gets one. It applies to shards that are queued from now on.",
    ),
)  # fmt: skip


def with_options(command: Callable[..., Any], options: tuple[Decorator, ...]) -> Callable[..., Any]:
    """Add options to a command, so that its help lists them in this order."""
    return reduce(lambda function, option: option(function), reversed(options), command)


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all options to a command; `submission_of` takes them out of its arguments again."""
    return with_options(command, _ALL)


def planning_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide what a job costs; `planned_submission_of` takes them out again."""
    shared = [option for name, option in (_SOURCE | _JOB).items() if name not in _LIVE]
    return with_options(command, (*_INPUTS_AND_MODEL, *shared))


def source_options(*names: str) -> Decorator:
    """Add some of the options of inputs to a command."""
    return lambda command: with_options(command, tuple(_SOURCE[name] for name in names))


def submission_of(arguments: dict[str, Any]) -> Submission:
    """Take the options out of a command's arguments.

    Raises:
        OptionError: two options contradict each other.
    """
    source = _source_of(arguments, _SOURCE)
    if _is_typed("flush_seconds") and not source.follow:
        raise OptionError("--flush-seconds is for a stream, which --follow reads; give --follow, or leave it out")
    return Submission(
        source=source,
        named=named_fields(),
        **{name: arguments.pop(name) for name in ("inputs", "out", "model", "append", *_JOB)},
    )


def planned_submission_of(arguments: dict[str, Any]) -> Submission:
    """Take the options that `planning_options` has added out of a command's arguments.

    Raises:
        OptionError: two options contradict each other.
    """
    source = _source_of(arguments, [name for name in _SOURCE if name not in _LIVE])
    chosen = {name: arguments.pop(name) for name in ("inputs", "model", *_JOB) if name not in _LIVE}
    return Submission(source=source, named=named_fields(), out="", **chosen)


def named_fields() -> tuple[str, ...]:
    """The options that name a field, as far as this command line gives them: no defaults, no environment variables."""
    return tuple(filter(_is_typed, FIELD_OPTIONS))


def _source_of(arguments: dict[str, Any], names: Iterable[str]) -> SourceOptions:
    """Take the options about how inputs are read out of a command's arguments.

    Raises:
        OptionError: two options contradict each other.
    """
    source = SourceOptions(**{name: arguments.pop(name) for name in names})
    if source.columns and source.header and _is_typed("header"):
        raise OptionError(
            "--header and --columns exclude each other: --columns names the columns of files without a line of names; "
            "leave one of them out"
        )
    return source


def _is_typed(name: str) -> bool:
    """Whether this command line gives an option: it is no default, and not set by a variable of the environment."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is ParameterSource.COMMANDLINE
