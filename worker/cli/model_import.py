"""`unrolled model import`: make a model directory of a model that was trained elsewhere."""

# Over 150 lines: one command, most of it the texts of its options.

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unrolled.errors import counted, printable
from unrolled.model.layer import GATES, KERAS_2, LARGEST_CLIP
from unrolled.model.padding import AFTER, BEFORE, LARGEST_PADDED_LENGTH
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from worker.model_import.importer import Imported
    from worker.model_import.parity.comparison import Comparison, Parity
    from worker.model_import.selection.stack import AskedPadding

_CLIP = click.FloatRange(min=0, min_open=True, max=LARGEST_CLIP, max_open=True)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
#: Names of what was left, in one line for people; JSON has them all.
_LEFT_SHOWN = 12
_ZEROS = "zeros"
_MOST_DIGITS = 10


def _read_pad(_: click.Context, __: click.Parameter, given: str | None) -> tuple[int, str] | None:
    """The length and the side of LENGTH, LENGTH:post or LENGTH:pre."""
    if given is None:
        return None
    length, _colon, side = given.partition(":")
    if not (length.isascii() and length.isdecimal()) or not 1 <= int(length[:_MOST_DIGITS]) <= LARGEST_PADDED_LENGTH:
        raise click.BadParameter(
            f"{given!r:.40}: give a number of tokens from 1 to {LARGEST_PADDED_LENGTH:,}, as in 40 or 40:pre"
        )
    if side not in ("", "pre", "post"):
        raise click.BadParameter(
            f"{given!r:.40}: after the colon only pre (before the tokens) and post (after them) are allowed"
        )
    return int(length), BEFORE if side == "pre" else AFTER


def _read_pad_id(_: click.Context, __: click.Parameter, given: str | None) -> int | str | None:
    """A number from 0, or "zeros"."""
    if given is None or given == _ZEROS:
        return given
    if not (given.isascii() and given.isdecimal() and len(given) <= _MOST_DIGITS):
        raise click.BadParameter(f"{given!r:.40}: give a number from 0, or zeros")
    return int(given)


@click.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("directory", type=click.Path(file_okay=False, readable=False, path_type=Path))
@click.option("--embedding", metavar="NAME", show_default="the only one", help="Embedding to take.")
@click.option(
    "--layer",
    "layers",
    metavar="NAME",
    multiple=True,
    show_default="the only stack",
    help="Recurrent layer to take; repeat it for each layer, from first to last.",
)
@click.option(
    "--residual",
    metavar="NAME",
    multiple=True,
    help="Layer whose input is added to its output, where the weights alone don't show it; repeat it for each layer.",
)
@click.option(
    "--leave",
    metavar="NAME",
    multiple=True,
    help="Array or module that isn't between the ids and the states, where the weights alone don't show it; repeat it "
    "for each.",
)
@click.option(
    "--fold",
    "maps",
    metavar="NAME[:FUNCTION]",
    multiple=True,
    help="Linear module that the weights alone don't show between the embedding and the first layer, and the function "
    "that follows it (tanh, relu, sigmoid, …); repeat it for each, in their order.",
)
@click.option(
    "--top",
    metavar="NAME",
    show_default="the last recurrent layer",
    help="Last layer to take, if it is a Dense layer, a normalization, an activation or a sum above the last recurrent "
    "layer; for files with a graph.",
)
@click.option(
    "--one-hot",
    is_flag=True,
    help="The vectors that the first layer reads are ids as one-hot vectors, where the file doesn't show it.",
)
@click.option(
    "--vectors",
    is_flag=True,
    help="Rows contain the vectors that the first layer reads (audio frames, sensors, vectors of another program), in "
    "place of ids.",
)
@click.option(
    "--initial-states",
    is_flag=True,
    help="Rows bring the states that layers start from, as a decoder starts from its encoder's. Of weights alone, all "
    "layers start so.",
)
@click.option(
    "--unpadded",
    is_flag=True,
    help="Take a model that computes padding like tokens: rows get the vectors that they have without padding.",
)
@click.option(
    "--pad",
    metavar="LENGTH[:pre|:post]",
    callback=_read_pad,
    help="Take a model that computes padding like tokens, and compute it, too: the model's program pads each row to "
    "LENGTH tokens, after the row's tokens (:post, the default) or before them (:pre).",
)
@click.option(
    "--pad-id",
    metavar="ID|zeros",
    callback=_read_pad_id,
    show_default="0",
    help="The source's id of padding; zeros if its one-hot vectors of padding have only zeros.",
)
@click.option(
    "--ids-from",
    type=click.Choice(["0", "1"]),
    show_default="what the file suggests; it is printed",
    help="1: ids stay as they are, and row 0 of the source's embedding is padding. 0: row 0 is a token, and the "
    "source's id k becomes k + 1.",
)
@click.option(
    "--max-length",
    type=click.IntRange(1),
    show_default="the file's, or 512",
    help="Number of tokens that rows usually have.",
)
@click.option("--tokenizer", metavar="FILE", type=_FILE, help="A tokenizer.json to put into the model.")
@click.option(
    "--vocabulary",
    metavar="FILE",
    type=_FILE,
    help="The words that an ELMo will read, one on each line of a text file.",
)
@click.option(
    "--options",
    "elmo_options",
    metavar="FILE",
    type=_FILE,
    show_default="options.json beside the weights",
    help="The options of an ELMo.",
)
@click.option(
    "--recurrent-activation",
    "gates",
    type=click.Choice([*GATES, KERAS_2]),
    help="Activation of the gates, where a file of weights doesn't contain it; hard_sigmoid is the one of the Keras "
    "that wrote the file, and hard_sigmoid_keras2 that of Keras 1 and 2 in any case.",
)
@click.option(
    "--reset",
    type=click.Choice(["before", "after"]),
    help="Where GRUs without biases reset their states, if a file of weights doesn't show it: after is Keras's "
    "reset_after=True.",
)
@click.option(
    "--forget-bias",
    metavar="NUMBER",
    type=float,
    show_default="1.0, as TensorFlow's cells do",
    help="What a TensorFlow 1 program adds to the forget gate.",
)
@click.option(
    "--cell-clip",
    metavar="NUMBER",
    type=_CLIP,
    help="Largest magnitude of the cell states of an LSTM, where the program clips them (TensorFlow's cell_clip); the "
    "weights alone don't show it.",
)
@click.option(
    "--projection-clip",
    metavar="NUMBER",
    type=_CLIP,
    help="Largest magnitude of projected states, where the program clips them (TensorFlow's proj_clip).",
)
@click.option(
    "--parity",
    metavar="NUMBER",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-5,
    show_default=True,
    help="Largest allowed difference between the outputs of the original framework and of the engines.",
)
@click.option("--no-parity", is_flag=True, help="Don't compare outputs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
def import_command(source: Path, directory: Path, *, no_parity: bool, as_json: bool, **given: Any) -> None:
    """Convert the model in SOURCE, trained elsewhere, to a model directory in DIRECTORY.

    SOURCE is a Keras file (.keras, .h5, .hdf5; also weights alone), a TensorFlow SavedModel or checkpoint (.index), a
    PyTorch state dict (.pt, .safetensors), arrays (.npz, a pickled dictionary, or a directory of .npy files), ONNX, or
    an ELMo (weights.hdf5). The embedding and the LSTM or GRU layers above it are found and taken. What is above these
    layers, such as a head, is left out; anything else that would change the states is refused. No code in the file is
    run.

    \b
    Examples:
      unrolled model import tagger.keras model/
      unrolled model import lm.pt model/ --layer encoder.lstm --tokenizer tokenizer.json
      unrolled model import weights.hdf5 elmo/ --vocabulary words.txt
    """
    # TensorFlow's log lines are about itself, not about the model; it reads this when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from worker.model_import.importer import ImportOptions, import_model  # noqa: PLC0415 - other commands start without it

    if no_parity:
        given["parity"] = None
    given["padding"] = _padding(given.pop("pad"), given.pop("pad_id"))
    given["ids_from"] = None if given["ids_from"] is None else int(given["ids_from"])
    done = import_model(source, directory, ImportOptions(**given), partial(click.echo, err=True))
    if as_json:
        click.echo(json_text(_facts(done)))
        return
    for line in _lines(done):
        click.echo(printable(line))


def _padding(pad: tuple[int, str] | None, pad_id: int | str | None) -> AskedPadding | None:
    from worker.model_import.selection.stack import AskedPadding  # noqa: PLC0415 - other commands start without it

    if pad is None:
        if pad_id is not None:
            raise click.UsageError("--pad-id needs --pad, which says to which length rows are padded")
        return None
    return AskedPadding(*pad, id=pad_id if isinstance(pad_id, int) else None, zeros=pad_id == _ZEROS)


def _facts(done: Imported) -> dict[str, Any]:
    return {
        "path": str(done.model.path),
        "format": done.format,
        "caution": done.caution,
        "fingerprint": done.model.fingerprint,
        "vocab_size": done.made.config.vocab_size,
        "vector_dim": done.made.config.vector_dim,
        "initial_state_dim": done.made.config.given_dim or None,
        "parameters": done.made.config.parameters,
        "ids_from": done.made.ids_from,
        "padding": None if done.made.config.padding is None else asdict(done.made.config.padding),
        "taken": done.made.taken,
        "left": done.made.left,
        "notes": done.made.notes,
        "parity": None if done.parity is None else _parity_facts(done.parity),
    }


def _lines(done: Imported) -> list[str]:
    made = done.made
    ids = "ids are the source's, 0 is padding" if made.ids_from else "the source's id k is k + 1 here, 0 is padding"
    if made.config.vector_dim is not None:
        ids = f"none, rows contain vectors of {counted(made.config.vector_dim, 'number')}"
    more = len(made.left) - _LEFT_SHOWN
    left = ", ".join(made.left[:_LEFT_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return [
        f"{done.format}: {done.caution}" if done.caution else done.format,
        *(f"took  {text}" for text in made.taken),
        f"left  {left or 'nothing'}",
        *(f"note  {text}" for text in made.notes),
        f"ids   {ids} ({made.ids_reason})",
        *_parity_lines(done.parity),
        f"{done.model.path}: {made.config.parameters:,} parameters, fingerprint {done.model.fingerprint}",
    ]


def _rounded_lines(parity: Parity) -> list[str]:
    if parity.rounded is None:
        return []
    programs = f"{parity.rounded.left} and {parity.rounded.right}"
    share = f"{100 * parity.rounded_share:.2g} % of the outputs"
    return [f"near  {programs}: largest difference {parity.rounded.largest:.1e}, on average {share}"]


def _parity_facts(parity: Parity) -> dict[str, Any]:
    """The comparisons for JSON, each with its largest difference."""

    def facts(one: Comparison | None) -> dict[str, Any] | None:
        return None if one is None else {"left": one.left, "right": one.right, "largest": one.largest}

    made = [facts(one) for one in parity.comparisons]
    return asdict(parity) | {"comparisons": made, "rounded": facts(parity.rounded), "padded": facts(parity.padded)}


def _compared(parity: Parity) -> str:
    """The rows that were compared; others may show what these don't."""
    shorter = f"{parity.shortest} to " if parity.shortest < parity.longest else ""
    return f"in rows of {shorter}{counted(parity.longest, 'token')}" + (
        f" with {counted(parity.ids, 'id')}" if parity.ids else ""
    )


def _parity_lines(parity: Parity | None) -> list[str]:
    if parity is None:
        return []
    # Layers alone can be the same where the whole isn't.
    same = "same" if parity.whole else "layers alone, same"
    lines = [
        *(f"{same}  {one.left} and {one.right}: largest difference {one.largest:.1e}" for one in parity.comparisons),
        *_rounded_lines(parity),
    ]
    missing = [f"not compared: {text}" for text in parity.missing]
    return [
        *(lines + missing if parity.whole else missing + lines),
        f"      {_compared(parity)}; float32's rounding alone makes up to {parity.rounding:.1e}",
    ]
