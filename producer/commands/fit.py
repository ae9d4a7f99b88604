"""`unrolled model fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from producer.options import json_option
from producer.sources.options import FORMATS, KINDS, SourceOptions

_SOURCE = ("format", "kind", "text_field", "tokens_field", "max_row_bytes")
_TRAINING = (
    "max_length", "lstm_units", "lstm_layers", "embedding_dim", "validation_share", "epochs", "patience",
    "batch_tokens", "learning_rate", "keep_probability", "clip_norm", "seed",
)  # fmt: skip


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
    help="Largest token id; words, the most frequent ones.  [default: 10000, or as the tokenizer has it]",
)
@click.option(
    "--oov",
    default="drop",
    show_default=True,
    help="What a word outside the vocabulary becomes: nothing (drop), or this token, which takes id 1.",
)
@click.option(
    "--max-length",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Tokens that gradients go back; states go on further.",
)
@click.option("--lstm-units", type=click.IntRange(1), default=256, show_default=True, help="Width of a layer.")
@click.option("--lstm-layers", type=click.IntRange(1), default=2, show_default=True, help="Layers on each other.")
@click.option(
    "--embedding-dim",
    type=click.IntRange(1),
    help="Width of the embedding.  [default: fourth root of the vocabulary size]",
)
@click.option(
    "--validation-share",
    type=float,
    default=0.05,
    show_default=True,
    help="Of the rows, held out: which ones, their content alone decides.",
)
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the rows, at most.")
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Epochs without a better held-out perplexity, after which it ends.",
)
@click.option("--batch-tokens", type=click.IntRange(1), default=1024, show_default=True, help="Tokens in a step.")
@click.option(
    "--learning-rate",
    type=float,
    default=0.005,
    show_default=True,
    help="Of Adam; it falls along a cosine, to a tenth.",
)
@click.option(
    "--keep-probability",
    type=float,
    default=0.5,
    show_default=True,
    help="Of each of a cell's inputs in training; 1 is no dropout.",
)
@click.option("--clip-norm", type=float, default=1.0, show_default=True, help="Of the gradient, at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights, order and dropout.")
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
    from producer.fit_display import perplexity_text  # noqa: PLC0415
    from producer.fit_request import FitRequest  # noqa: PLC0415 - --help needs no numpy
    from producer.fitting import fit_model  # noqa: PLC0415

    request = FitRequest(
        inputs=inputs,
        out=out,
        source=SourceOptions(**{name: arguments[name] for name in _SOURCE}),
        vocab_size=vocab_size,
        tokenizer=tokenizer,
        oov=None if oov == "drop" else oov,
        training={name: arguments[name] for name in _TRAINING},
    )
    record = fit_model(request, device, threads, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps({"path": str(out), **record}))
        return
    held_out, alone = (perplexity_text(record[f"{name}_perplexity"]) for name in ("validation", "unigram"))
    best = f"held-out perplexity {held_out} after epoch {record['best_epoch']}"
    click.echo(f"{out}: {best}; frequencies alone give {alone}\nfingerprint {record['fingerprint']}")
