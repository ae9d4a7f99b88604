"""`unrolled cancel`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from producer.cli.options import broker_option, json_option, namespace_option, need_broker
from producer.jobs.cancel import cancel_job, cancel_key
from unrolled.job.directory import open_job


@click.command()
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option("--key", metavar="KEY", help="The job's key in Redis, for a job whose directory OUT is lost.")
@broker_option
@namespace_option
@json_option
def cancel(*, out: Path | None, key: str | None, broker: str | None, namespace: str, as_json: bool) -> None:
    """Take a job's waiting shards out of the queue.

    Published files stay, and a worker that computes a shard publishes it. Run the `unrolled enqueue` command that made
    the job again and it resumes.

    \b
    Examples:
      unrolled cancel out --broker redis://localhost:6379/0
      unrolled cancel --key 0f3a5c7e9b1d2468 --broker redis://localhost:6379/0
    """
    if (out is None) == (key is None):
        raise click.UsageError("name the job by its directory OUT, or by --key if that is lost")
    if out is not None:
        directory = open_job(out)
        count = cancel_job(directory, need_broker(broker, directory.path), namespace)
    else:
        count = cancel_key(str(key), need_broker(broker, Path()), namespace)
    if as_json:
        click.echo(json.dumps({"cancelled": count}))
        return
    click.echo(f"{out or key}: {count:,} waiting shard(s) are taken out of the queue")
    if out is not None:
        click.echo("run the same `unrolled enqueue` command again to resume")
