"""`unrolled model compare`: compare a model with a few rows that the user's own program computed."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unrolled.errors import counted
from unrolled.model.directory import open_model
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from unrolled.model.padding import Padding
    from worker.model_import.parity.own_rows import Difference, Place

#: The status of a check that failed; it is a part of `producer.cli.exit_status`.
EXIT_DIFFERENT = 1
#: Two programs that compute with float32 seldom differ by more.
_ROUNDING = 1e-5


@click.command("compare")
@click.argument("directory", type=click.Path(file_okay=False, readable=False, path_type=Path))
@click.argument("rows", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--ids-from",
    type=click.Choice(["0", "1"]),
    default="1",
    show_default=True,
    help="1: the ids are the model's. 0: the ids are the source's, and the source's id k is k + 1 in the model.",
)
@click.option(
    "--bound",
    metavar="NUMBER",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-4,
    show_default=True,
    help="Largest allowed difference between two numbers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
@click.pass_context
def compare_command(
    context: click.Context, directory: Path, rows: Path, *, ids_from: str, bound: float, as_json: bool
) -> None:
    """Compare the model in DIRECTORY with ROWS: a few rows of ids and states that your own program computed.

    ROWS is a .npz file with ids (rows, time) and states (rows, time, outputs), and lengths (rows,) if rows are padded;
    or with ids.0 and states.0 for row 0, and so on. Or it is a Parquet file with the columns ids and states, of lists.
    For a model that reads vectors, give vectors (rows, time, numbers) in place of ids. For a model that reads initial
    states, give initial_state (rows, numbers), or initial_state.0 and so on, too.
    States are those of the last layer that was imported, for each token. Padding, id 0 with --ids-from 1, may be
    anywhere in a row, and isn't compared. The exit status is 1 if they differ.

    \b
    Examples:
      unrolled model compare model/ rows.npz
      unrolled model compare model/ rows.parquet --ids-from 0 --json
    """
    from worker.model_import.parity.own_rows import compare_rows, read_rows  # noqa: PLC0415 - other commands start without it

    model = open_model(directory)
    found = compare_rows(model, read_rows(rows, model.config.vector_dim, model.config.given_dim), int(ids_from), bound)
    if as_json:
        click.echo(json_text({"same": found.first is None, **asdict(found)}))
    else:
        for line in _lines(found, bound, int(ids_from), model.config.padding):
            click.echo(line)
    context.exit(0 if found.first is None else EXIT_DIFFERENT)


def _lines(found: Difference, bound: float, ids_from: int, padding: Padding | None) -> list[str]:
    what = f"your program and the {found.program}, {counted(found.rows, 'row')} with {counted(found.tokens, 'token')}"
    if found.padding:
        padding_found = counted(found.padding, "place of padding, which isn't", "places of padding, which aren't")
        what += f" and {padding_found} compared"
    if found.first is None:
        return [f"same    {what}: largest difference {found.largest:.1e}"]
    place = found.first
    token = "" if place.id is None else f" (id {place.id})"
    values = f"{place.own:.7g} in your program, {place.model:.7g} in the model"
    hint = f"with --ids-from {1 - ids_from} they are the same" if found.other_ids else _hint(found, place, padding)
    tokens = counted(found.differing, "token")
    return [
        f"differ  {what}: largest difference {found.largest:.1e}, more than {bound:g} at {tokens}",
        f"first   row {place.row}, token {place.token}{token}, number {place.number}: {values}",
        f"        {hint}",
    ]


def _hint(found: Difference, place: Place, padding: Padding | None) -> str:
    """Where to look, by which rows and tokens differ."""
    if not math.isfinite(place.own):
        return "your program's states are no numbers there: the cause is in it, or in the rows that it was given"
    if place.is_first:
        other = (
            "look for what your program does before the first layer, for an initial state, for other ids, or for rows "
            "in reverse (go_backwards)"
        )
    elif place.before > _ROUNDING:
        other = (
            f"the tokens before differ by up to {place.before:.1e}. If that is rounding: look for padding, a mask, or "
            "what depends on the position; otherwise for another activation, or for other numbers in a layer"
        )
    else:
        own = "what a layer does with its own state (--reset of a GRU), " if place.token == 1 else ""
        other = f"the tokens before are the same: look for {own}padding, a mask, or what depends on the position"
    if not found.padded_differ:
        return other
    if padding is not None:
        which, cause = f"that the model pads ({padding})", "your program pads to another number, on the other side, or "
        cause += "with another id; import the model with its --pad and --pad-id"
    else:
        which, cause = "with padding", "your program reads padding as tokens there; leave it out (PyTorch: "
        cause += "pack_padded_sequence), or import the model with --pad"
    if found.unpadded:
        return f"only the rows {which} differ: {cause}"
    return f"all rows are rows {which}: perhaps {cause}; otherwise, {other}"
