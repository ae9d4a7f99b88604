"""`unrolled neighbours`."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click

from producer.cli.options import check_exists, job_at, json_option, out_argument
from producer.jobs.damage import damage_of
from unrolled.errors import RequestError
from unrolled.protocol.discarded import refuse_discarded_job
from unrolled.reading.dataset import open_dataset
from unrolled.reading.nearest import Metric, compared_column
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from unrolled.reading.nearest import Neighbour


@click.command()
@out_argument
@click.option(
    "--id",
    "of",
    required=True,
    help="Id of the row whose neighbours are listed; of several rows with this id, the first.",
)
@click.option("-n", "--rows", type=click.IntRange(1), default=10, show_default=True, help="Number of neighbours.")
@click.option("--column", help="Column of pooled vectors.  [default: the stored one, or mean if none is stored]")
@click.option(
    "--metric",
    type=click.Choice(get_args(Metric)),
    default="cosine",
    show_default=True,
    help="How vectors are compared.",
)
@json_option
def neighbours(*, out: str, of: str, rows: int, column: str | None, metric: Metric, as_json: bool) -> None:
    """List the rows whose vectors are nearest to a row's.

    Every published row is compared, so the result is exact for these; a job that isn't complete is reported on standard
    error. A row has one vector: a pooled one that the job stored, or the mean of its tokens' vectors. If there are
    several, name one with --column. --json prints one row on a line. Where an id occurs several times, as it may in a
    stream, only the first row with it is left out.

    \b
    Examples:
      unrolled neighbours out --id doc-17
      unrolled neighbours out --id doc-17 -n 3 --column last --metric dot
    """
    from producer.terminal.progress import reading  # noqa: PLC0415 - --help needs no rich

    check_exists(out)
    with damage_of(out):
        dataset = open_dataset(out)
    if dataset.complete is False:
        refuse_discarded_job(job_at(out))
        all_of_them = "the rows in its files are compared, and `unrolled verify` says what is missing, or isn't its own"
        click.echo(f"{out}: the job is not complete; {all_of_them}", err=True)
    try:
        column = column or compared_column(dataset.columns)
    except ValueError as error:
        raise RequestError(f"{error} (--column)") from error
    try:
        with damage_of(out), reading("comparing", len(dataset), unit="rows") as on_rows:
            found = dataset.neighbours(of, rows, column=column, metric=metric, each=on_rows)
    except (KeyError, ValueError) as error:
        raise RequestError(str(error.args[0])) from error
    if not found:
        click.echo("no other row has a vector", err=True)
    elif as_json:
        for each in found:
            click.echo(json_text({**each._asdict(), "column": column}))
    else:
        _print(found, metric, column)


def _print(found: Sequence[Neighbour], metric: Metric, column: str) -> None:
    from producer.terminal.table import table  # noqa: PLC0415 - JSON needs no rich

    heading = "distance" if metric == "euclidean" else metric
    click.echo(table(("id", f"{heading} of {column}"), [(each.id, f"{each.score:.4f}") for each in found]))
