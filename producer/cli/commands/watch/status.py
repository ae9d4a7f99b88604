"""`unrolled status`."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import click

from producer.cli.options import broker_option, job_at, json_option, namespace_option, out_argument
from producer.cli.status_report import as_line, report
from producer.jobs.status import WAY_SECONDS
from producer.jobs.status_reader import StatusReader
from producer.local.broker_record import find_broker, own_run
from unrolled.queue.broker import Broker
from unrolled.settings.worker_options import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from producer.jobs.status import JobStatus
    from unrolled.protocol.opening import OpenJob


#: Seconds between the looks that one status may need.
LOOK_PAUSE = 0.5


@click.command()
@out_argument
@broker_option
@namespace_option
@json_option
@click.option(
    "--watch/--once",
    default=None,
    show_default="--watch on a terminal, else --once",
    help="Show the status again and again until the job is finished or cancelled.",
)
@click.option(
    "--every-seconds",
    metavar="SECONDS",
    type=click.FloatRange(0.1, DAY),
    default=1.0,
    show_default=True,
    help="With --watch: time between two looks at the job.",
)
def status(
    *, out: str, broker: str | None, namespace: str, as_json: bool, watch: bool | None, every_seconds: float
) -> None:
    """Show a job's progress.

    With a broker, the status says which shards are computed and which are queued, and what the workers do. Without
    one, it says what the output directory shows. --watch --json prints one line for each look.

    \b
    Examples:
      unrolled status out
      unrolled status out --broker redis://localhost:6379/0 --once
      unrolled status out --json | jq .tokens_done
    """
    reader = _Looks(job_at(out), broker, namespace)
    live = sys.stdout.isatty() and not as_json
    if not (live if watch is None else watch):
        found = _look(reader)
        click.echo(as_line(found) if as_json else report(found))
    elif live:
        click.echo(report(_watch_live(reader, every_seconds, out)))
    else:
        _watch(reader, every_seconds, lambda found: click.echo(as_line(found) if as_json else report(found) + "\n"))


class _Looks:
    """Looks at a job: if no broker is named, each at that of the run which is at work then."""

    def __init__(self, job: OpenJob, named: str | None, namespace: str) -> None:
        self._job, self._named, self._namespace = job, named, namespace
        self._broker = find_broker(named, job.place)
        self._reader = self._made()

    def read(self) -> JobStatus:
        """The status now; errors are those of `StatusReader` and `find_broker`."""
        broker = find_broker(self._named, self._job.place)
        if broker != self._broker:
            self._broker = broker
            self._reader = self._made()
        return self._reader.read()

    def _made(self) -> StatusReader:
        asked = Broker(self._broker) if self._broker else None
        return StatusReader(self._job, asked, self._namespace, partial(own_run, self._job.place, self._broker))


def _look(reader: _Looks) -> JobStatus:
    """The status now; or a few seconds later, where the first look can't tell whether Redis has lost shards."""
    found, until = reader.read(), time.monotonic() + WAY_SECONDS + LOOK_PAUSE
    while found.may_be_lost and time.monotonic() < until:
        time.sleep(LOOK_PAUSE)
        found = reader.read()
    return found


def _watch(reader: _Looks, every_seconds: float, show: Callable[[JobStatus], None]) -> JobStatus:
    while True:
        began = time.monotonic()
        found = reader.read()
        show(found)
        if found.finished or found.cancelled or found.discarded:
            return found
        # A look at a directory of 100,000 files takes half a second: don't keep the file system busy with it.
        time.sleep(max(every_seconds, time.monotonic() - began))


def _watch_live(reader: _Looks, every_seconds: float, out: str) -> JobStatus:
    from rich.console import Console  # noqa: PLC0415 - a single report needs no rich

    from producer.jobs.screen import JobScreen  # noqa: PLC0415 - it needs rich

    with JobScreen(out, Console()) as screen:
        return _watch(reader, every_seconds, screen.show)
