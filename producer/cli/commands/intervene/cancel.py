"""`unrolled cancel`."""

from __future__ import annotations

from contextlib import closing

import click

from producer.cli.options import broker_option, job_at, json_option, namespace_option, need_broker
from producer.jobs import decisions
from producer.jobs.removal import remove_key
from producer.queue.shard_queue import ShardQueue
from unrolled.errors import JobError, counted
from unrolled.patience import Patience
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.telemetry.json_text import json_text


@click.command()
@click.argument("out", required=False)
@click.option("--key", metavar="KEY", help="The job's key in Redis, if its directory OUT is gone for good.")
@broker_option
@namespace_option
@json_option
def cancel(*, out: str | None, key: str | None, broker: str | None, namespace: str, as_json: bool) -> None:
    """Take a job's waiting shards out of the queue.

    Published parts stay, and shards that a worker is computing are still published. An `unrolled enqueue` that is
    running for the job stops. To resume the job, run the same `unrolled enqueue` or `unrolled run` again. A
    finished job stays as it is.

    \b
    Examples:
      unrolled cancel out --broker redis://localhost:6379/0
      unrolled cancel --key 0f3a5c7e9b1d2468 --broker redis://localhost:6379/0
    """
    if (out is None) == (key is None):
        raise click.UsageError("name the job by its directory OUT, or by --key if that is gone")
    # Over 40 lines: the job by its directory and by its key, and how it was before.
    patience = Patience(lambda line: click.echo(line, err=True))
    log, before = Log(), False
    if out is None:
        count = remove_key(str(key), need_broker(broker, None), namespace, patience)
        if not count:
            raise JobError(f"no shard of a job {key} waits in this broker; `unrolled jobs` lists its jobs")
    else:
        job = job_at(out)
        if standing(log, job.objects, live=job.job.live).finished:
            # A cancelled job isn't complete, and this one may be.
            nothing = f"{out}: the job is finished and no shard waits, so nothing is changed"
            click.echo(json_text({"cancelled": 0}) if as_json else nothing)
            return
        queue = ShardQueue(need_broker(broker, out), namespace, job.job.offer, patience)
        with closing(queue):
            queue.of_job(job).refuse_copy()
            count = queue.steadily("reach the broker", lambda: len(queue.ledger.members(job.key)[0]))
            before = not decisions.cancel(job.objects, queue.of_job(job))
    if as_json:
        click.echo(json_text({"cancelled": count}))
        return
    if before and not log.discarded:
        click.echo(f"{out}: the job was cancelled before")
    if count or not before:
        click.echo(f"{out or key}: {counted(count, 'shard is', 'shards are')} taken out of the queue")
    if log.discarded:
        click.echo(f"{out}: the job was discarded before: nothing of it is kept; use another --out")
    elif out is not None:
        click.echo("the same `unrolled run` or `unrolled enqueue` resumes the job")
