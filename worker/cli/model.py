"""`unrolled model`: make and show model directories, without TensorFlow."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from unrolled.errors import ModelError, OptionError
from unrolled.job.directories import refuse_job, refuse_training
from unrolled.model.checks import LARGEST_WIDTH
from unrolled.model.config import ModelConfig
from unrolled.model.directory import ModelDirectory, open_model, save_model
from unrolled.model.files import WEIGHTS_FILE
from unrolled.model.weights import new_weights
from unrolled.settings.flags import flags
from unrolled.telemetry.json_text import json_text
from unrolled.training.plan import FitOptions
from worker.cli.model_compare import compare_command
from worker.cli.model_import import import_command
from worker.cli.model_join import join_command

_DIRECTORY = click.Path(file_okay=False, readable=False, path_type=Path)


@click.group()
def model() -> None:
    """Train, import, join, compare, make and show models.

    A model is a directory: config.json, model.safetensors and, for text, tokenizer.json.
    """


model.add_command(import_command)
model.add_command(compare_command)
model.add_command(join_command)


@model.command()
@click.argument("directory", type=_DIRECTORY)
@flags(FitOptions, ("vocab_size", "lstm_units", "lstm_layers"), required=True)
@click.option("--max-length", type=click.IntRange(1), required=True, help="Number of tokens that rows usually have.")
@click.option(
    "--embedding-dim",
    type=click.IntRange(1, LARGEST_WIDTH),
    show_default="fourth root of the vocabulary size",
    help="Width of the embedding.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the weights.")
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
    """Make a model with random, untrained weights in DIRECTORY.

    \b
    Example:
      unrolled model new model/ --vocab-size 10000 --max-length 128 \\
          --lstm-units 512 --lstm-layers 2
    """
    try:
        config = ModelConfig.stacked(vocab_size, max_length, lstm_units, lstm_layers, embedding_dim)
    except ModelError as error:
        raise OptionError(str(error)) from error
    refuse_job(directory)
    refuse_training(directory)
    made = save_model(directory, config, new_weights(config, seed))
    click.echo(f"{made.path}: {config.parameters:,} parameters, fingerprint {made.fingerprint}")


@model.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def show(directory: Path, as_json: bool) -> None:
    """Show the sizes and the fingerprint of the model in DIRECTORY.

    \b
    Examples:
      unrolled model show model/
      unrolled model show model/ --json | jq -r .fingerprint
    """
    opened = open_model(directory)
    if find_spec("tokenizers"):  # a worker doesn't need that package
        opened.tokenizer()  # a damaged one is refused
    facts = _facts(opened)
    if as_json:
        click.echo(json_text(facts))
        return
    people = {
        **facts,
        "layers": opened.config.describe_layers(),
        "embedding_dim": facts["embedding_dim"] or _why_no_embedding(opened),
        "vector_dim": facts["vector_dim"] or "none, rows contain token ids",
        "initial_state_dim": _initial_states(opened),
        "mask_value": "none" if facts["mask_value"] is None else f"{facts['mask_value']:g}",
        "padding": "none" if opened.config.padding is None else f"rows are padded {opened.config.padding}",
    }
    width = max(map(len, people))
    for name, value in people.items():
        click.echo(f"{name:{width}}  {_text(value)}")


def _why_no_embedding(directory: ModelDirectory) -> str:
    return "none, ids are one-hot" if directory.config.vector_dim is None else "none, rows contain vectors"


def _initial_states(directory: ModelDirectory) -> str:
    parts = directory.config.given_parts
    if not parts:
        return "none, rows bring no initial state"
    return f"{directory.config.given_dim:,}, {', '.join(map(str, parts))}"


def _facts(directory: ModelDirectory) -> dict[str, Any]:
    config = directory.config
    return {
        "path": str(directory.path),
        "vocab_size": config.vocab_size,
        "max_length": config.max_length,
        "embedding_dim": config.embedding_dim,
        "vector_dim": config.vector_dim,
        "initial_state_dim": config.given_dim or None,
        "mask_value": config.mask_value,
        "layers": [asdict(layer) for layer in config.layers],
        "padding": None if config.padding is None else asdict(config.padding),
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
