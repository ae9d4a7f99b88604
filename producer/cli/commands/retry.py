"""`unrolled retry`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer.cli.options import broker_option, json_option, namespace_option, out_argument
from producer.jobs import retry as retrying
from producer.local.broker_record import find_broker
from unrolled.job.directory import open_job

if TYPE_CHECKING:
    from pathlib import Path

    from producer.jobs.retry import Retried


@click.command()
@out_argument
@click.option(
    "--failed-rows",
    is_flag=True,
    help="Also compute again each shard with rows that the engine failed on; its file is missing until then.",
)
@broker_option
@namespace_option
@json_option
def retry(*, out: Path, failed_rows: bool, broker: str | None, namespace: str, as_json: bool) -> None:
    """Put dead shards and failed rows back in the queue.

    A dead shard was given up; the reason is in OUT/_dead. `unrolled quarantine` shows why the engine failed on a row.
    Remove the cause first: what still fails is given up again. Failed rows are computed again only with --failed-rows.
    `unrolled wait` waits until all is done.

    Without a broker the shards wait in OUT for the next command that has one: the same `unrolled run`, or `unrolled
    wait`.

    \b
    Examples:
      unrolled retry out --broker redis://localhost:6379/0
      unrolled retry out --failed-rows && unrolled run corpus/*.txt --model my-model --out out
    """
    directory = open_job(out)
    broker = find_broker(broker, directory.path)
    found = retrying.retry(
        directory, broker, namespace, lambda line: click.echo(line, err=True), failed_rows=failed_rows
    )
    click.echo(
        json.dumps(asdict(found)) if as_json else report(found, out, failed_rows=failed_rows, queued=bool(broker))
    )


def report(found: Retried, out: Path, *, failed_rows: bool, queued: bool) -> str:
    """What was done with the shards, as text for people."""
    lines = [f"{out}: {found.retried:,} dead shard(s) {'are in the queue' if queued else 'wait'} again"]
    if found.to_cut_again:
        lines.append(
            f"{found.to_cut_again:,} more have no rows any more, or damaged ones: "
            "run the same `unrolled enqueue` command again, which cuts them again"
        )
    if failed_rows:
        doing = "are computed again" if queued else "wait to be computed again"
        lines.append(f"{found.recomputed:,} shard(s) with rows that the engine failed on {doing}")
    if found.without_rows:
        lines.append(
            f"{found.without_rows:,} more have no rows any more: to compute one again, remove its file "
            "and run the same `unrolled enqueue` command again"
        )
    if (found.retried or found.recomputed) and not queued:
        lines.append(
            "no broker is named, so nothing is queued: run the same `unrolled run` command again, or "
            f"`unrolled wait {out} --broker redis://HOST:6379/0` where workers are running"
        )
    return "\n".join(lines)
