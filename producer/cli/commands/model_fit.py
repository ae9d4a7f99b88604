"""`unrolled model fit`."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from producer.cli.options import json_option
from producer.sources.options import FORMATS, KINDS, SourceOptions
from producer.training.request import DEFAULT_VOCABULARY, FitRequest
from unrolled.training.plan import FitOptions

if TYPE_CHECKING:
    from producer.cli.options import Decorator

_SOURCE = ("format", "kind", "text_field", "tokens_field", "max_row_bytes")
#: Option by option as `FitOptions` has it; the vocabulary's size follows from the corpus.
_DEFAULTS = {field.name: field.default for field in fields(FitOptions) if field.name != "vocab_size"}


def _training_option(name: str, kind: click.ParamType[Any] | type, text: str) -> Decorator:
    """An option of `FitOptions`, with its default."""
    default = _DEFAULTS[name]
    flag = "--" + name.replace("_", "-")
    return click.option(flag, type=kind, default=default, show_default=default is not None, help=text)


@click.command("fit", short_help="Train a model on a corpus.")
@click.argument("inputs", nargs=-1, required=True, metavar="CORPUS...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Model directory to make.")
@click.option("--format", type=click.Choice(FORMATS), help="Of every input.  [default: by the name]")
@click.option("--kind", type=click.Choice(KINDS), default="auto", show_default=True, help="What a row holds.")
@click.option("--text-field", default="text", show_default=True, help="Field or column with the text.")
@click.option("--tokens-field", default="tokens", show_default=True, help="Field or column with token ids.")
@click.option(
    "--max-row-bytes", type=click.IntRange(1), default=16 * 2**20, show_default=True, help="A longer row is left out."
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="A tokenizer.json to take over.  [default: one is made of the corpus's words]",
)
@click.option(
    "--vocab-size",
    type=click.IntRange(1),
    help="Largest token id; words, the most frequent ones.  "
    f"[default: {DEFAULT_VOCABULARY}, or as the tokenizer has it]",
)
@click.option(
    "--oov",
    default="drop",
    show_default=True,
    help="What a word outside the vocabulary becomes: nothing (drop), or this token, which takes id 1.",
)
@_training_option("max_length", click.IntRange(1), "Tokens that gradients go back; states go on further.")
@_training_option("lstm_units", click.IntRange(1), "Width of a layer.")
@_training_option("lstm_layers", click.IntRange(1), "Layers on each other.")
@_training_option(
    "embedding_dim", click.IntRange(1), "Width of the embedding.  [default: fourth root of the vocabulary size]"
)
@_training_option("validation_share", float, "Of the rows, held out: which ones, their content alone decides.")
@_training_option("epochs", click.IntRange(1), "Passes over the rows, at most.")
@_training_option("patience", click.IntRange(1), "Epochs without a better held-out perplexity, after which it ends.")
@_training_option("batch_tokens", click.IntRange(1), "Tokens in a step.")
@_training_option("learning_rate", float, "Of Adam; it falls along a cosine, to a tenth.")
@_training_option("keep_probability", float, "Of each of a cell's inputs in training; 1 is no dropout.")
@_training_option("clip_norm", float, "Of the gradient, at most.")
@_training_option("seed", click.IntRange(0), "Of weights, order and dropout.")
@click.option("--device", type=click.Choice(["auto", "cpu", "gpu"]), default="auto", show_default=True, help="Where.")
@click.option("--threads", type=click.IntRange(1), help="Of the CPU.  [default: as many as there are]")
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
    """Train a model on a corpus: a stacked LSTM that predicts each next token.

    CORPUS is files, directories or patterns: text, JSON lines, CSV, Parquet, Arrow, also compressed. The model in --out
    is the one of the epoch with the best perplexity on the rows held out; training.json beside it says how it was made,
    and head.safetensors holds the softmax. The same command, given again, goes on where it was, however it ended.
    On a CPU the same command makes the same model.

    \b
    Examples:
      unrolled model fit corpus/*.txt --out my-model
      unrolled model fit texts.parquet --text-field body --vocab-size 20000 \\
          --lstm-units 512 --embedding-dim 256 --device gpu --out my-model
    """
    from producer.training.display import perplexity_text  # noqa: PLC0415 - --help needs no numpy
    from producer.training.process import fit_model  # noqa: PLC0415 - likewise

    request = FitRequest(
        inputs=inputs,
        out=out,
        source=SourceOptions(**{name: arguments[name] for name in _SOURCE}),
        vocab_size=vocab_size,
        tokenizer=tokenizer,
        oov=None if oov == "drop" else oov,
        training={name: arguments[name] for name in _DEFAULTS},
    )
    record = fit_model(request, device, threads, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps({"path": str(out), **record}))
        return
    held_out, alone = (perplexity_text(record[f"{name}_perplexity"]) for name in ("validation", "unigram"))
    best = f"held-out perplexity {held_out} after epoch {record['best_epoch']}"
    click.echo(f"{out}: {best}; frequencies alone give {alone}\nfingerprint {record['fingerprint']}")
