"""`unrolled model import`: a model that was trained elsewhere becomes a model directory."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unrolled.errors import ModelError
from unrolled.model.layer import GATES

if TYPE_CHECKING:
    from worker.model_import.importer import Imported
    from worker.model_import.parity.comparison import Parity

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--embedding", metavar="NAME", help="Embedding to take, where there are several.")
@click.option(
    "--layer", "layers", metavar="NAME", multiple=True, help="Recurrent layer to take; again for each, first to last."
)
@click.option(
    "--residual",
    metavar="NAME",
    multiple=True,
    help="Layer whose input is added to its output, where weights alone don't show it; again for each.",
)
@click.option(
    "--ids-from",
    type=click.Choice(["0", "1"]),
    help="1: ids stay as they are, and the source's row 0 is padding's. 0: row 0 is a token's, and the source's id k "
    "is k + 1 here.  [default: as the file suggests; printed]",
)
@click.option(
    "--max-length", type=click.IntRange(min=1), help="Tokens a row is meant to have.  [default: the file's, or 512]"
)
@click.option("--tokenizer", type=_FILE, help="A tokenizer.json to take in.")
@click.option(
    "--recurrent-activation",
    "gates",
    type=click.Choice(GATES),
    help="Vouch for the gates' activation where a file of weights doesn't tell it; hard_sigmoid is that of the Keras "
    "that wrote the file.",
)
@click.option(
    "--forget-bias",
    type=float,
    help="What a TensorFlow 1 program adds to the forget gate.  [default: 1.0, as its cells do]",
)
@click.option(
    "--parity",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-5,
    show_default=True,
    help="Largest difference allowed between the original framework and the engines.",
)
@click.option("--no-parity", is_flag=True, help="Compare nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_command(source: Path, directory: Path, *, no_parity: bool, as_json: bool, **given: Any) -> None:
    """Take over the model in SOURCE, trained elsewhere, into DIRECTORY.

    SOURCE is a Keras file (.keras, .h5, .hdf5, weights alone too), a TensorFlow SavedModel or checkpoint (.index), a
    PyTorch state dict (.pt, .safetensors), or ONNX. The embedding and the LSTM or GRU layers on it are found and taken;
    heads, dropout and all else is left. No code of the file is run.

    \b
    Examples:
      unrolled model import tagger.keras model/
      unrolled model import lm.pt model/ --layer encoder.lstm --tokenizer tokenizer.json
    """
    from worker.model_import.importer import ImportOptions, import_model  # noqa: PLC0415 - other commands start without it

    if no_parity:
        given["parity"] = None
    given["ids_from"] = None if given["ids_from"] is None else int(given["ids_from"])
    try:
        done = import_model(source, directory, ImportOptions(**given))
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_facts(done)))
        return
    for line in _lines(done):
        click.echo(line)


def _facts(done: Imported) -> dict[str, Any]:
    return {
        "path": str(done.model.path),
        "format": done.format,
        "fingerprint": done.model.fingerprint,
        "vocab_size": done.made.config.vocab_size,
        "parameters": done.made.config.parameters,
        "ids_from": done.made.ids_from,
        "taken": done.made.taken,
        "left": done.made.left,
        "notes": done.made.notes,
        "parity": None if done.parity is None else asdict(done.parity),
    }


def _lines(done: Imported) -> list[str]:
    made = done.made
    ids = "ids are the source's, 0 is padding" if made.ids_from else "the source's id k is k + 1 here, 0 is padding"
    left = f"{', '.join(made.left[:12])}{f' and {len(made.left) - 12} more' if len(made.left) > 12 else ''}"  # noqa: PLR2004
    return [
        f"{done.format}",
        *(f"took  {text}" for text in made.taken),
        f"left  {left or 'nothing'}",
        *(f"note  {text}" for text in made.notes),
        f"ids   {ids} ({made.ids_reason})",
        *_parity_lines(done.parity),
        f"{done.model.path}: {made.config.parameters:,} parameters, fingerprint {done.model.fingerprint}",
    ]


def _parity_lines(parity: Parity | None) -> list[str]:
    if parity is None:
        return []
    return [
        *(f"same  {one.left} and {one.right}: largest difference {one.largest:.1e}" for one in parity.comparisons),
        *(f"not compared: {text}" for text in parity.missing),
        f"      float32's rounding alone makes up to {parity.rounding:.1e}",
    ]
