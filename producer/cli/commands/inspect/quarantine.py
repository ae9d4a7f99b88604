"""`unrolled quarantine`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer.cli.options import job_at, json_option, out_argument
from producer.jobs.quarantine_lists import list_quarantine
from unrolled.errors import FileFormatError, counted, printable
from unrolled.protocol.gaps import refuse_gap
from unrolled.protocol.log import Log
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from producer.jobs.quarantine_lists import BadRowListed


@click.command()
@out_argument
@json_option
def quarantine(*, out: str, as_json: bool) -> None:
    """List the rows that can't be computed, with reasons.

    Prints one row on a line, shard by shard. Rows of a file are counted from 0. A row that the engine failed on is
    named by its shard and its number among the shard's good rows. Damaged lists, and damaged parts that name such rows,
    are named at the end, and the exit status is then 1. `unrolled verify` checks all parts.

    \b
    Examples:
      unrolled quarantine out
      unrolled quarantine out --json | jq -r .reason | sort | uniq -c
    """
    job, count, damaged = job_at(out), 0, list[str]()
    for row in list_quarantine(job, damaged.append):
        click.echo(json_text({**asdict(row), "shard": str(row.shard)}) if as_json else line(row))
        count += 1
    files = f", and those that {counted(len(damaged), 'damaged file')} should name" if damaged else ""
    log = Log()
    refuse_gap(log, job.objects)
    so_far = "" if log.ended else " so far: by its log, the job's input hasn't been read to its end"
    click.echo(f"{counted(count, 'row')} in quarantine{files}{so_far}", err=True)
    if damaged:
        raise FileFormatError("\n".join(map(printable, damaged)))


def line(row: BadRowListed) -> str:
    """One row as text for people."""
    where = f"shard {row.shard} row {row.row}" if row.file is None else f"{row.file} row {row.position}"
    named = "" if row.id is None else f" ({row.id})"
    return printable(f"{where}{named}: {row.reason}")
