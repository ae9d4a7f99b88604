"""`unrolled wait`."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.options import (
    broker_option,
    job_at,
    json_option,
    log_format_option,
    metrics_options,
    namespace_option,
    out_argument,
    served,
    start_log,
)
from producer.cli.status_report import as_line
from producer.jobs.diagnosis import revival
from producer.jobs.wait import wait_for_job
from producer.local.broker_record import find_broker, own_run
from producer.terminal.figures import ProducerFigures
from producer.terminal.progress import progress
from unrolled.errors import TransientError, as_argument, counted
from unrolled.settings.worker_options import DAY
from unrolled.telemetry.json_log import note

if TYPE_CHECKING:
    from producer.jobs.status import JobStatus


@click.command()
@out_argument
@broker_option
@namespace_option
@json_option
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(0),
    metavar="SECONDS",
    show_default="none",
    help="Longest time to wait; a bucket or a broker that answers slowly or not at all may take 20 seconds more.",
)
@click.option(
    "--every-seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.05, DAY),
    default=0.5,
    show_default=True,
    help="Time between two looks at the job.",
)
@metrics_options
@log_format_option
@click.pass_context
def wait(
    context: click.Context,
    *,
    out: str,
    broker: str | None,
    namespace: str,
    as_json: bool,
    timeout_seconds: float | None,
    every_seconds: float,
    metrics_port: int | None,
    metrics_address: str,
    log_format: str,
) -> None:
    """Wait until a job is finished.

    A job is finished when its input has been read to the end and every shard is published or dead; it is complete if
    none is dead. With a broker, `wait` also queues again the shards that Redis has lost, and waits while the broker
    can't be reached. If somebody has removed the rows of all shards that still wait, so that only the input can bring
    them back, it gives up after 90 seconds and names a shard. Without a broker, `wait` watches the directory.

    \b
    Examples:
      unrolled wait out
      unrolled wait out --broker redis://localhost:6379/0 --timeout 3600
    """
    # Over 40 lines: one command, most of it its options and its help text.
    start_log(log_format)
    until = time.monotonic() + (math.inf if timeout_seconds is None else timeout_seconds)
    figures = ProducerFigures()
    try:
        job = job_at(out)
        note(job=job.key)
        broker = find_broker(broker, job.place)
        with served(figures.collect, metrics_port, metrics_address), progress("done") as bar:
            found = wait_for_job(
                job,
                broker,
                namespace,
                bar,
                until=until,
                every_seconds=every_seconds,
                figures=figures,
                own_run=partial(own_run, job.place, broker),
            )
    except TransientError as error:
        if time.monotonic() < until:
            raise
        click.echo(str(error), err=True)
        context.exit(ExitStatus.TIMED_OUT)
    click.echo(as_line(found) if as_json else summary(found))
    context.exit(exit_status(found))


def exit_status(found: JobStatus) -> ExitStatus:
    """The exit status of `unrolled wait`."""
    if not found.finished:
        return ExitStatus.TIMED_OUT
    if found.dead:
        return ExitStatus.FAILED
    return ExitStatus.QUARANTINE if found.quarantined or found.failed else ExitStatus.DONE


def summary(found: JobStatus) -> str:
    """How a job ended, or how far it is, as text for people."""
    ended = "complete" if found.complete else "finished, not complete"
    lines = [f"{found.out}: {ended if found.finished else 'not finished yet'}"]
    if not found.finished:
        more = "" if found.ended else ", and the input isn't at its end"
        lines.append(f"{found.done:,} of {counted(found.shards, 'shard is', 'shards are')} published{more}")
    else:
        lines.append(
            f"{counted(found.rows_published, 'row is', 'rows are')} published, in {counted(found.done, 'file')}"
        )
    if found.quarantined or found.failed:
        count = found.quarantined + found.failed
        lines.append(
            f"{counted(count, 'row is', 'rows are')} in quarantine, with reasons: "
            f"unrolled quarantine {as_argument(found.out)}"
        )
    if found.failed:
        again = f"those that wouldn't fail again, if any: unrolled retry {as_argument(found.out)} --failed-rows"
        lines.append(f"{found.failed:,} of them could be read, but not computed or stored; {again}")
    if found.dead:
        lines.append(f"{counted(found.dead, 'shard is', 'shards are')} dead; {revival(found)}")
    return "\n".join(lines)
