"""`unrolled cancel`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from producer.cli.options import CANCEL_BY_KEY, broker_option, job_at, json_option, namespace_option, need_broker
from producer.jobs import decisions
from producer.jobs.removal import remove_key
from producer.local.broker_record import find_broker
from producer.queue.copies import find_original
from producer.queue.shard_queue import ShardQueue
from producer.terminal.lines import tell
from unrolled.errors import BrokerError, JobError, counted, printable
from unrolled.patience import Patience
from unrolled.protocol.completion import standing
from unrolled.protocol.log import Log
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from unrolled.protocol.opening import OpenJob


@click.command()
@click.argument("out", required=False)
@click.option("--key", metavar="KEY", help="The job's key in Redis, if its directory OUT is gone for good.")
@broker_option
@namespace_option
@json_option
def cancel(*, out: str | None, key: str | None, broker: str | None, namespace: str, as_json: bool) -> None:
    """Take a job's waiting shards out of the queue.

    Published parts stay, and shards that are in a worker's engine are still published. An `unrolled enqueue` that
    is running for the job stops; one that waits for a broker stops once that works again. To resume the job, run
    the same `unrolled enqueue` or `unrolled run` again. A finished job stays as it is; shards of it that still
    wait, because workers of another broker have computed them, are taken out.

    \b
    Examples:
      unrolled cancel out --broker redis://localhost:6379/0
      unrolled cancel --key 0f3a5c7e9b1d2468 --broker redis://localhost:6379/0
    """
    if (out is None) == (key is None):
        both = "" if out is None else ", and not by both"
        raise click.UsageError(f"name the job by its directory OUT, or by --key if that is gone{both}")
    if out is None:
        _cancel_by_key(str(key), broker, namespace, as_json=as_json)
    else:
        _cancel(out, broker, namespace, as_json=as_json)


def _cancel(out: str, broker: str | None, namespace: str, *, as_json: bool) -> None:
    job, log = job_at(out, CANCEL_BY_KEY), Log()
    if standing(log, job.objects, live=job.job.live).finished:
        # A cancelled job isn't complete, and this one may be.
        count = _cleared(job, log, find_broker(broker, out), namespace)
        no_shard = "" if count is None else " and no shard waits"
        said = f"{out}: the job is finished{no_shard}, so nothing is changed"
        if count:
            left = counted(count, "shard that still waited is", "shards that still waited are")
            said = f"{out}: the job is finished; {left} taken out of the queue"
        click.echo(json_text({"cancelled": count or 0}) if as_json else said)
        return
    if log.discarded and find_broker(broker, out) is None:
        raise JobError(f"{out}: the job is discarded; nothing can be cancelled")
    queue = ShardQueue(need_broker(broker, out), namespace, job.job.offer, _patience())
    with closing(queue):
        ledger = queue.of_job(job)
        ledger.refuse_copy()
        running = queue.steadily("reach the broker", lambda: len(queue.ledger.running(job.key)[0]))
        ledger.leave()
        before = not decisions.cancel(job.objects, ledger)
        count = ledger.taken  # workers may have published some since the command began
    if as_json:
        click.echo(json_text({"cancelled": count}))
        return
    if before and not log.discarded:
        click.echo(f"{out}: the job was cancelled before")
    if count or not before:
        none = f"{out}: the job is cancelled; no shard of it waited in this broker and namespace"
        click.echo(_taken(out, count) if count else none)
    if running and count and not before:
        had = counted(running, "shard")
        click.echo(f"workers had {had} on board just before, and still publish what is in their engines")
    if log.discarded:
        click.echo(f"{out}: the job was discarded before; use another --out")
    else:
        click.echo("the same `unrolled run` or `unrolled enqueue` resumes the job")


def _cleared(job: OpenJob, log: Log, broker: str | None, namespace: str) -> int | None:
    """Take the shards of a finished job out of a queue whose workers didn't compute them; how many there were.

    None if it isn't known: no broker is named, or it is away, and a finished job waits for none, or has the original.
    """
    if broker is None:
        return None
    with closing(ShardQueue(broker, namespace, job.job.offer, _patience())) as queue:
        try:
            with queue.broker.asked():
                if find_original(job, queue.ledger.place_of(job.key)):  # those of the job that this one is a copy of
                    return None
                return queue.ledger.forget(job.key, log.length)
        except BrokerError as error:
            tell(f"whether shards of it still wait in a broker isn't known: {error}")
            return None


def _cancel_by_key(key: str, broker: str | None, namespace: str, *, as_json: bool) -> None:
    count, place = remove_key(key, need_broker(broker, None), namespace, _patience())
    if count is None:
        raise JobError(f"no shard of a job {key} waits in this broker; `unrolled jobs` lists its jobs")
    if as_json:
        click.echo(json_text({"cancelled": count}))
        return
    none_left = f"{key}: no shard of it was left; the broker doesn't list the job any more"
    click.echo(_taken(key, count) if count else none_left)
    if place is not None and count:
        click.echo(
            f"a worker that can open {printable(place)} queues them again; if there is one, cancel the job there"
        )


def _taken(job: str, count: int) -> str:
    return f"{job}: {counted(count, 'shard is', 'shards are')} taken out of the queue"


def _patience() -> Patience:
    return Patience(lambda line: click.echo(line, err=True))
