"""`unrolled model fit`."""

# `fit` has over 40 lines, most of them its options and its help.

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from producer.cli.input_options import named_fields, source_options
from producer.cli.options import json_option
from producer.cli.values import NonEmptyText
from producer.sources.options import SourceOptions
from producer.training.request import DEFAULT_VOCABULARY, FitRequest
from unrolled.errors import OptionError
from unrolled.settings.declaration import declared
from unrolled.settings.flags import flags
from unrolled.settings.worker_options import MOST_THREADS
from unrolled.telemetry.json_text import json_text
from unrolled.training.plan import FitOptions

_SOURCE = ("format", "kind", "text_field", "tokens_field", "header", "quotes", "columns", "max_row_bytes")
#: The size of the vocabulary depends on the corpus, so it has a flag of another kind.
_TRAINING = tuple(name for name in declared(FitOptions) if name != "vocab_size")


@click.command("fit", short_help="Train a model on a corpus.")
@click.argument("inputs", nargs=-1, required=True, metavar="CORPUS...")
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Model directory to make.")
@source_options(*_SOURCE)
@click.option(
    "--tokenizer",
    metavar="FILE",
    type=click.Path(path_type=Path),
    show_default="a new one, made of the corpus's words",
    help="The tokenizer.json to use.",
)
@click.option(
    "--vocab-size",
    type=click.IntRange(1),
    show_default=f"{DEFAULT_VOCABULARY}, or the tokenizer's largest id",
    help="Largest token id; a new tokenizer keeps as many of the most frequent words.",
)
@click.option(
    "--oov",
    type=NonEmptyText(),
    metavar="TOKEN",
    default="drop",
    show_default=True,
    help="What replaces a word outside the vocabulary: nothing (drop), or this token, which gets id 1.",
)
@flags(FitOptions, _TRAINING)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True,
    help="Device to train on.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1, MOST_THREADS), show_default="all cores", help="CPU threads to train with."
)
@json_option
def fit(
    inputs: tuple[str, ...],
    out: Path,
    tokenizer: Path | None,
    vocab_size: int | None,
    oov: str,
    device: str,
    threads: int | None,
    as_json: bool,
    **arguments: Any,
) -> None:
    """Train a model on a corpus: a stacked LSTM that predicts the next token.

    CORPUS is files, directories or patterns: text, JSON lines, CSV, FASTA, Parquet or Arrow, also compressed. --out
    gets the model of the epoch with the best perplexity on the held-out rows, training.json, which says how it was
    made, and head.safetensors, the softmax. Run the same command again and it resumes, however it ended. On one kind of
    CPU, with as many threads and the same versions of TensorFlow and NumPy, the same command makes the same model.

    \b
    Examples:
      unrolled model fit corpus/*.txt --out my-model
      unrolled model fit texts.parquet --text-field body --vocab-size 20000 \\
          --lstm-units 512 --embedding-dim 256 --device gpu --out my-model
    """
    # Over 40 lines: one command, most of it the texts of its options.
    from producer.training.display import curve, perplexity_text  # noqa: PLC0415 - --help needs no numpy
    from producer.training.process import fit_model  # noqa: PLC0415 - --help needs no numpy
    from unrolled.model.directory import check_is_local  # noqa: PLC0415 - --help needs no numpy

    check_is_local(out)
    if arguments["kind"] == "vectors":
        raise OptionError(
            "--kind vectors: a language model is trained on text or token ids; give --kind text or --kind tokens, or "
            "leave it out"
        )
    request = FitRequest(
        inputs=inputs,
        out=out,
        source=SourceOptions(**{name: arguments[name] for name in _SOURCE}, reads_ids=False),
        named=named_fields(),
        vocab_size=vocab_size,
        tokenizer=tokenizer,
        oov=None if oov == "drop" else oov,
        training={name: arguments[name] for name in _TRAINING},
    )
    record = fit_model(request, device, threads, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json_text({"path": str(out), **record}))
        return
    held_out, alone = (perplexity_text(record[f"{name}_perplexity"]) for name in ("validation", "unigram"))
    best = f"held-out perplexity {held_out} after epoch {record['best_epoch']}"
    click.echo(f"{out}: {best}; word frequencies alone have {alone}")
    perplexities = [epoch["validation_perplexity"] for epoch in record["epochs"]]
    ends = f"from {perplexity_text(perplexities[0])} to {perplexity_text(perplexities[-1])}"
    click.echo(f"held out, epoch by epoch: {curve(perplexities)}  {ends}")
    click.echo(f"fingerprint {record['fingerprint']}")
