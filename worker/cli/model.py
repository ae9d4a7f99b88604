"""`unrolled model`: make and look at model directories, without TensorFlow."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from unrolled.errors import ModelError
from unrolled.model.directory import (
    WEIGHTS_FILE,
    ModelConfig,
    ModelDirectory,
    new_weights,
    open_model,
    save_model,
)
from worker.cli.model_import import import_command

_DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.group()
def model() -> None:
    """Make and look at model directories."""


model.add_command(import_command)


@model.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--vocab-size", type=int, required=True, show_envvar=True, help="Largest token id; 0 is padding.")
@click.option("--max-length", type=int, required=True, show_envvar=True, help="Tokens a row is meant to have.")
@click.option("--lstm-units", type=int, required=True, show_envvar=True, help="Width of a layer, and of outputs.")
@click.option("--lstm-layers", type=int, required=True, show_envvar=True, help="Layers on each other.")
@click.option(
    "--embedding-dim",
    type=int,
    show_envvar=True,
    help="Width of the embedding.  [default: fourth root of the vocabulary size]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    show_envvar=True,
    help="Of the weights.",
)
def new(
    directory: Path,
    *,
    vocab_size: int,
    max_length: int,
    lstm_units: int,
    lstm_layers: int,
    embedding_dim: int | None,
    seed: int,
) -> None:
    """Make a model with fresh, untrained weights in DIRECTORY.

    \b
    Example:
      unrolled model new model/ --vocab-size 10000 --max-length 128 \\
          --lstm-units 512 --lstm-layers 2
    """
    try:
        config = ModelConfig.stacked(vocab_size, max_length, lstm_units, lstm_layers, embedding_dim)
        made = save_model(directory, config, new_weights(config, seed))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{made.path}: {config.parameters:,} parameters, fingerprint {made.fingerprint}")


@model.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, show_envvar=True, help="Print one JSON object.")
def show(directory: Path, as_json: bool) -> None:
    """Show the configuration, size and fingerprint of the model in DIRECTORY.

    \b
    Example:
      unrolled model show model/
      unrolled model show model/ --json | jq -r .fingerprint
    """
    try:
        opened = open_model(directory)
        facts = _facts(opened)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(facts))
        return
    people = {
        **facts,
        "layers": opened.config.describe_layers(),
        "embedding_dim": facts["embedding_dim"] or "none, ids are one-hot",
    }
    width = max(map(len, people))
    for name, value in people.items():
        click.echo(f"{name:{width}}  {_text(value)}")


def _facts(directory: ModelDirectory) -> dict[str, Any]:
    config = directory.config
    return {
        "path": str(directory.path),
        "vocab_size": config.vocab_size,
        "max_length": config.max_length,
        "embedding_dim": config.embedding_dim,
        "layers": [asdict(layer) for layer in config.layers],
        "output_dim": config.output_dim,
        "parameters": config.parameters,
        "bytes": (directory.path / WEIGHTS_FILE).stat().st_size,
        "fingerprint": directory.fingerprint,
        "tokenizer": directory.tokenizer_path is not None,
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
