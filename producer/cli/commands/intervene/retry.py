"""`unrolled retry`."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.options import broker_option, job_at, json_option, namespace_option, out_argument
from producer.jobs import decisions
from producer.local.broker_record import find_broker
from producer.queue.shard_queue import ShardQueue
from unrolled.errors import as_argument, counted
from unrolled.format.file_info import ENDS_ALIKE
from unrolled.job import names
from unrolled.patience import Patience
from unrolled.reading.outcome import failed_rows as read_failed_rows
from unrolled.reading.outcome import read_outcome
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from producer.jobs.decisions import Retried
    from unrolled.job.shard_id import ShardId
    from unrolled.protocol.objects import Objects


@click.command()
@out_argument
@click.option("--failed-rows", is_flag=True, help="Also compute again the rows that the engine failed on.")
@broker_option
@namespace_option
@json_option
@click.pass_context
def retry(
    context: click.Context, *, out: str, failed_rows: bool, broker: str | None, namespace: str, as_json: bool
) -> None:
    """Put dead shards and failed rows back in the queue.

    A dead shard was given up; the reason is in OUT/_unrolled/dead. `unrolled quarantine` shows why the engine failed on
    a row. Remove the cause first, or the shard or row fails again. Failed rows are computed again only with
    --failed-rows; they get a part of their own, and no published part changes. Where all failed rows of a shard would
    fail again, as those with a number that float16 can't hold, they aren't retried. Then run `unrolled wait`.

    With --json, `dead` is the number of dead shards that were put back, `rows` that of failed rows, and `shards` that
    of the new shards of these; `damaged` is the number of dead shards whose rows are damaged, and `hopeless` that of
    failed rows that would fail again.

    Without a broker, the shards wait in OUT for the next command that has one: the same `unrolled run`, or `unrolled
    wait`.

    \b
    Examples:
      unrolled retry out --broker redis://localhost:6379/0
      unrolled retry out --failed-rows && unrolled run corpus/*.txt --model my-model --out out
    """
    job = job_at(out)
    broker = find_broker(broker, job.place)
    patience = Patience(lambda line: click.echo(line, err=True))
    queue = ShardQueue(broker, namespace, job.job.offer, patience) if broker else None
    hopeless = _Hopeless()
    with closing(queue) if queue else nullcontext():
        ledger = queue.of_job(job) if queue else None
        if ledger:
            ledger.refuse_copy()
        found = decisions.retry(
            job.objects, ledger, read_failed_rows, failed=failed_rows, ids_of_failed=hopeless.ids_of_others
        )
    if as_json:
        click.echo(json_text({**asdict(found), "hopeless": hopeless.rows}))
    else:
        click.echo(report(found, job.place, failed_rows, queued=bool(broker), hopeless=hopeless.rows))
    context.exit(ExitStatus.FAILED if found.damaged and not (found.dead or found.rows) else ExitStatus.DONE)


class _Hopeless:
    """Leaves out shards of which every failed row would fail again; a shard's failed rows are retried together.

    Attributes:
        rows: in these shards.
    """

    def __init__(self) -> None:
        self.rows = 0

    def ids_of_others(self, objects: Objects, shard: ShardId) -> list[str] | None:
        """The ids of a shard's failed rows, as `unrolled.reading.outcome.failed_ids`; none if no retry helps."""
        info = read_outcome(objects, shard)
        if info is None:
            return None
        if info.failed and all(ENDS_ALIKE in row.reason for row in info.failed):
            self.rows += len(info.failed)
            return []
        return [row.id for row in info.failed]


def report(found: Retried, out: str, failed_rows: bool, *, queued: bool, hopeless: int = 0) -> str:
    """The result of a retry, as text for people."""
    dead = _again(found.dead, "dead shard", queued=queued)
    if not found.dead:
        dead = "no dead shard can be computed again yet" if found.damaged else "no shard is dead"
    lines = [f"{out}: {dead}"]
    if found.damaged:
        lines.append(
            f"{counted(found.damaged, 'dead shard has', 'dead shards have')} damaged rows in {out}/{names.ROWS}: the "
            "same `unrolled enqueue` or `unrolled run` reads them from the input again; rows of a stream or of an "
            "earlier retry have to be restored from a copy"
        )
    if failed_rows:
        rows = f"{_again(found.rows, 'failed row', queued=queued)}, in {counted(found.shards, 'new shard')}"
        lines.append(rows if found.rows else "no failed row waits for a retry")
        if hopeless:
            they = "row would fail again, so it is" if hopeless == 1 else "rows would fail again, so they are"
            lines.append(f"{hopeless:,} {they} not retried: unrolled quarantine {as_argument(out)} says why")
    if (found.dead or found.shards) and not queued:
        lines.append(
            "no broker is named, so none is queued: the same `unrolled run` computes them, "
            f"and so does `unrolled wait {as_argument(out)} --broker redis://HOST:6379/0` if workers are alive"
        )
    return "\n".join(lines)


def _again(number: int, noun: str, *, queued: bool) -> str:
    """How many of something were brought again, and where they are."""
    if queued:
        return f"{counted(number, f'{noun} is', f'{noun}s are')} back in the queue"
    return f"{counted(number, f'{noun} waits', f'{noun}s wait')} again"
