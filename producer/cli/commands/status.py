"""`unrolled status`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer.cli.options import broker_option, json_option, namespace_option, out_argument
from producer.jobs.diagnosis import hints
from producer.jobs.status_reader import StatusReader
from producer.local.broker_record import find_broker
from producer.terminal.text import duration, figure
from unrolled.job.directory import open_job
from unrolled.queue.broker import Broker
from unrolled.queue.messages import SHORT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from producer.jobs.status import JobStatus, WorkerStatus


@click.command()
@out_argument
@broker_option
@namespace_option
@json_option
@click.option(
    "--watch/--once",
    default=None,
    show_default="--watch on a terminal, else --once",
    help="Show the status again and again until the job is complete.",
)
@click.option(
    "--every-seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="With --watch: time between two looks at the job.",
)
def status(
    *, out: Path, broker: str | None, namespace: str, as_json: bool, watch: bool | None, every_seconds: float
) -> None:
    """Show how far a job is.

    With a broker, the status says which shards are computed and which are queued, and what the workers do. Without
    one, it says what the output directory shows. --watch --json prints one line for each look.

    \b
    Examples:
      unrolled status out
      unrolled status out --broker redis://localhost:6379/0 --once
      unrolled status out --json | jq .tokens_done
    """
    directory = open_job(out)
    broker = find_broker(broker, directory.path)
    reader = StatusReader(directory, Broker(broker) if broker else None, namespace)
    live = sys.stdout.isatty() and not as_json
    if not (live if watch is None else watch):
        found = reader.read()
        click.echo(as_line(found) if as_json else report(found))
    elif live:
        _watch_live(reader, every_seconds)
    else:
        _watch(reader, every_seconds, lambda found: click.echo(as_line(found) if as_json else report(found) + "\n"))


def as_line(found: JobStatus) -> str:
    """The status as JSON on one line."""
    more = {"waiting": found.waiting, "complete": found.complete, "seconds_left": found.seconds_left}
    return json.dumps({**asdict(found), **more, "hints": list(hints(found).values())})


def report(found: JobStatus, width: int | None = None) -> str:
    """The status as text for people.

    Args:
        found: what to show.
        width: of a line in cells; None for the terminal's.
    """
    more = "" if found.ended else ", and the input isn't at its end"
    speed = f", {figure(found.tokens_per_second)} tokens/s" if found.tokens_per_second and found.waiting else ""
    left = f", {duration(found.seconds_left)} left" if found.seconds_left is not None else ""
    bad = found.quarantined + found.failed
    split = f"{found.waiting:,} waiting"
    if found.queue:
        missing = f", {found.queue.missing:,} not in Redis" if found.queue.missing else ""
        split = f"{found.queue.running:,} running, {found.queue.queued:,} queued{missing}"
    lines = [
        f"{found.out}: {'complete' if found.complete else 'at work'}; model {found.fingerprint[:SHORT]}…",
        f"rows    {found.rows_done:,} of {found.rows:,}{more}; {bad:,} in quarantine",
        f"tokens  {found.tokens_done:,} of {found.tokens:,}{speed}{left}",
        f"shards  {found.done:,} done, {split}, {found.dead:,} dead, of {found.shards:,}",
    ]
    if found.queue and found.queue.workers:
        lines += _tables(found.queue.workers, found.fingerprint, width)
    return "\n".join(lines + [f"→ {line}" for line in hints(found).values()])


def _tables(workers: Sequence[WorkerStatus], fingerprint: str, width: int | None) -> list[str]:
    """What the workers are, and how the time of those that have computed was spent, summed over their threads."""
    from producer.terminal.table import table  # noqa: PLC0415 - most reports need no rich

    about = [
        (
            worker.name,
            "this" if worker.model == fingerprint else f"{worker.model[:SHORT]}…",
            worker.engine,
            figure(worker.tokens_per_second),
            f"{100 * worker.busy_share:.0f} %",
            worker.on_board,
        )
        for worker in workers
    ]
    lines = ["", table(("worker", "model", "engine", "tokens/s", "busy", "shards"), about, width)]
    times = [
        (
            worker.name,
            duration(worker.read_seconds),
            duration(worker.plan_seconds),
            duration(worker.compute_seconds),
            duration(worker.write_seconds),
            f"{100 * worker.computed_share:.0f} % of tokens",
        )
        for worker in workers
        if worker.computed_share
    ]
    if times:
        lines += ["", table(("worker", "read", "plan", "compute", "write", "computed"), times, width)]
    return lines


def _watch(reader: StatusReader, every_seconds: float, show: Callable[[JobStatus], None]) -> None:
    while True:
        began = time.monotonic()
        found = reader.read()
        show(found)
        if found.complete:
            return
        # A look at a directory of 100,000 files takes half a second: don't keep the file system busy with it.
        time.sleep(max(every_seconds, time.monotonic() - began))


def _watch_live(reader: StatusReader, every_seconds: float) -> None:
    from rich.live import Live  # noqa: PLC0415 - a single report needs no rich
    from rich.text import Text  # noqa: PLC0415 - a single report needs no rich

    with Live(auto_refresh=False) as live:
        _watch(
            reader,
            every_seconds,
            lambda found: live.update(Text.from_ansi(report(found, live.console.width)), refresh=True),
        )
