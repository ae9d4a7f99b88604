"""`unrolled retry`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from producer.options import broker_option, json_option, namespace_option, need_broker, out_argument
from producer.retrying import retry_dead
from unrolled.job import open_job

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@out_argument
@broker_option
@namespace_option
@json_option
def retry(*, out: Path, broker: str | None, namespace: str, as_json: bool) -> None:
    """Bring a job's dead shards back to work.

    A dead shard was given up with a reason, which stands in OUT/_dead. Do away with the cause first: what
    still fails dies again. `unrolled wait` tells when all is done.

    \b
    Examples:
      unrolled retry out --broker redis://localhost:6379/0
    """
    directory = open_job(out)
    broker = need_broker(broker, directory.path)
    found = retry_dead(directory, broker, namespace, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps({"retried": found.retried, "to_cut_anew": found.to_cut_anew}))
        return
    click.echo(f"{out}: {found.retried:,} dead shard(s) are back at work")
    if found.to_cut_anew:
        click.echo(
            f"{found.to_cut_anew:,} more have lost their rows, or hold damaged ones: "
            "give the same `unrolled enqueue` command again; it cuts them anew"
        )
