"""`unrolled card`."""

from __future__ import annotations

import click

from producer.cli.options import check_exists, job_at, out_argument
from producer.jobs.damage import damage_of
from unrolled.protocol.discarded import refuse_discarded_job
from unrolled.reading.dataset import open_dataset


@click.command()
@out_argument
@click.option("--title", default="Hidden states", show_default=True, help="Heading of the card.")
def card(*, out: str, title: str) -> None:
    """Print a dataset card, for the Hugging Face Hub.

    The card is the README.md of a data set: it says what the columns are, how many rows there are, and which files
    belong to it, so that `datasets.load_dataset` reads the parts. Nothing is written into OUT. A job that isn't
    complete is reported on standard error.

    \b
    Examples:
      unrolled card out > README.md
      hf upload NAME README.md --repo-type dataset
      hf upload NAME out . --include '*.parquet' --repo-type dataset
    """
    check_exists(out)
    with damage_of(out):
        dataset = open_dataset(out)
    if dataset.complete is False:
        refuse_discarded_job(job_at(out))
        click.echo(f"{out}: the job is not complete; the card describes the rows that are published", err=True)
    click.echo(dataset.card(title), nl=False)
