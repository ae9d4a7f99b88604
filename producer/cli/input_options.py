"""The options that say what is computed, shared by `enqueue` and `run`."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from producer.enqueue.submission import Submission
from producer.sources.options import FORMATS, KINDS, SourceOptions
from unrolled.format.output_spec import PRECISIONS

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("inputs", nargs=-1, required=True, metavar="INPUTS..."),
    click.option("--model", required=True, type=click.Path(path_type=Path), help="Model directory."),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="Output directory of this job."),
    click.option("--format", type=click.Choice(FORMATS), help="Of every input.  [default: by the name; text for -]"),
    click.option("--kind", type=click.Choice(KINDS), default="auto", show_default=True, help="What a row holds."),
    click.option("--text-field", default="text", show_default=True, help="Field or column with the text."),
    click.option("--tokens-field", default="tokens", show_default=True, help="Field or column with token ids."),
    click.option("--id-field", help="Field or column with the row's id.  [default: id, where there is one]"),
    click.option(
        "--max-row-bytes", type=click.IntRange(1), default=16 * 2**20, show_default=True,
        help="A longer row goes to quarantine without being held whole.",
    ),
    click.option("--follow", is_flag=True, help="Read standard input as it arrives; INPUTS is then -."),
    click.option(
        "--flush-seconds", type=click.FloatRange(0.01), default=5.0, show_default=True,
        help="With --follow: how long a row waits for its shard to fill.",
    ),
    click.option(
        "--shard-tokens", type=click.IntRange(1),
        help="Most tokens in a shard, and so in a file.  [default: for files of about 64 MiB]",
    ),
    click.option(
        "--layers", metavar="LAYERS", default="last", show_default=True,
        help="Whose outputs are stored: last, all, or numbers from 0 such as 0,2.",
    ),
    click.option(
        "--pooling", multiple=True, metavar="POOLING", default=("none",), show_default="none",
        help="One vector for each row in place of each token's: mean, max, last, first. Several with commas or given "
        "again; none among them keeps the tokens' too.",
    ),
    click.option(
        "--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True,
        help="Of what is stored; float16 takes half the space.",
    ),
    click.option("--with-tokens", is_flag=True, help="Store the token ids beside the outputs."),
    click.option(
        "--special-tokens/--no-special-tokens", default=True, show_default=True,
        help="Let the tokenizer add the special tokens of its own post-processor.",
    ),
    click.option(
        "--max-queued-tokens", type=click.IntRange(1), default=20_000_000, show_default=True,
        help="Tokens that may wait or be computed at once; more are read as there is room.",
    ),
)  # fmt: skip

_SOURCE = ("format", "kind", "text_field", "tokens_field", "id_field", "max_row_bytes", "follow")
_JOB = ("inputs", "out", "model", "shard_tokens", "flush_seconds", "with_tokens", "special_tokens",
        "layers", "pooling", "precision")  # fmt: skip


def input_options(command: F) -> F:
    """Add the options to a command; `submission_of` takes them out of its arguments again."""
    return reduce(lambda function, option: option(function), reversed(_OPTIONS), command)


def submission_of(arguments: dict[str, Any]) -> Submission:
    """Take the options out of a command's arguments.

    Raises:
        RequestError: two options contradict each other.
    """
    source = SourceOptions(**{name: arguments.pop(name) for name in _SOURCE})
    return Submission(source=source, **{name: arguments.pop(name) for name in _JOB})
