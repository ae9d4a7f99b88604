"""`unrolled jobs`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer.cli.options import json_option, namespace_option, need_broker, needed_broker_option
from producer.jobs.queued_jobs import queued_jobs
from producer.terminal.text import duration
from unrolled.errors import printable
from unrolled.queue.broker import Broker
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from producer.jobs.queued_jobs import QueuedJob


@click.command()
@needed_broker_option
@namespace_option
@json_option
def jobs(*, broker: str | None, namespace: str, as_json: bool) -> None:
    """List the unfinished jobs in the broker.

    Each line has a job's key, which `unrolled status`, `unrolled cancel --key` and the workers' logs use too; how many
    of its rows are done, if this machine can read its directory; how many of its shards are being computed, and how
    many wait; how long the oldest of these has waited since its last message; its priority; and its directory. The
    job that has waited longest is the first. Jobs that this machine can see to be finished are left out, unless shards
    of theirs still wait because workers of another broker have computed them: `unrolled cancel` takes these out.

    \b
    Examples:
      unrolled jobs --broker redis://localhost:6379/0
      unrolled jobs --json | jq -r .place
    """
    with closing(Broker(need_broker(broker, None))) as server:
        found = queued_jobs(server, namespace)
    if as_json:
        for job in found:
            click.echo(json_text(asdict(job)))
        return
    if not found:
        click.echo(f"no job waits in namespace {namespace!r} of this broker")
        return
    from producer.terminal.table import table  # noqa: PLC0415 - JSON needs no rich

    headings = ("job", "asks for", "rows", "done", "running", "waiting", "for", "priority", "directory")
    click.echo(table(headings, [_cells(job) for job in found]))


def _cells(job: QueuedJob) -> tuple[object, ...]:
    rows, done = "?", "?"
    if job.status is not None:
        more = "" if job.status.ended else "+"  # its input isn't at its end
        rows = f"{job.status.rows:,}{more}"
        done = f"{100 * job.status.rows_done // max(1, job.status.rows)} %"
        if job.status.discarded:
            done = "discarded"
    since = "" if job.waited_seconds is None else duration(job.waited_seconds)
    return (
        job.job,
        job.offer.describe(),
        rows,
        done,
        job.running,
        job.waiting,
        since,
        job.priority,
        printable(job.place or "?"),
    )
