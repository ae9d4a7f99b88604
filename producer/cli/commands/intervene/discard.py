"""`unrolled discard`."""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import click

from producer.cli.options import CANCEL_BY_KEY, broker_option, job_at, json_option, namespace_option, out_argument
from producer.jobs import decisions
from producer.local.broker_record import find_broker
from producer.queue.shard_queue import ShardQueue
from producer.queue.worker_status import WorkerStatus
from producer.report.targets import delete_report
from producer.terminal.lines import tell
from unrolled.errors import JobError, OptionError, as_argument, counted
from unrolled.job import names
from unrolled.patience import Patience
from unrolled.protocol.log import Log, catch_up
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from unrolled.protocol.opening import OpenJob


@click.command()
@out_argument
@click.option("--yes", is_flag=True, help="Don't ask.")
@broker_option
@namespace_option
@json_option
def discard(*, out: str, yes: bool, broker: str | None, namespace: str, as_json: bool) -> None:
    """Delete a job: its parts, and everything that waits.

    The report beside the job's records is deleted, too. The job's log stays, so that a worker that was paused can't
    bring the job back, and no other job uses the directory. To use the directory again, remove the folder _unrolled in
    it, once no worker runs that may have seen the job.

    \b
    Examples:
      unrolled discard out --broker redis://localhost:6379/0
      unrolled discard out --yes
    """
    # Over 40 lines: one command, half of it its help text.
    job = job_at(out, CANCEL_BY_KEY)
    broker = find_broker(broker, job.place)
    parts = sum(1 for _ in names.parts_in(job.objects.list(names.PARTS)))
    log = Log()
    catch_up(log, job.objects)
    before = log.discarded and not parts
    queue = (
        ShardQueue(broker, namespace, job.job.offer, Patience(lambda line: click.echo(line, err=True)))
        if broker
        else None
    )
    with closing(queue) if queue else nullcontext():
        ledger = queue.of_job(job) if queue else None
        if ledger:
            ledger.refuse_copy("to delete the copy alone: remove its directory")
        if not (yes or before):
            _confirm(job.place, parts)
        computing = (
            _Computing() if queue is None else queue.steadily("reach the broker", lambda: _computing(queue, job, log))
        )
        if ledger:
            ledger.leave()
        decisions.discard(job.objects, ledger)
        with decisions.still_discarded():
            delete_report(job.objects.store)
    said = f"is discarded, {counted(parts, 'part')} deleted"
    if before:
        said = "was discarded before, and no part is left"
    found = {"discarded": parts, "running": computing.shards}
    click.echo(json_text(found) if as_json else f"{job.place}: the job {said}")
    if computing.shards:
        tell(f"{computing}: run the same command again when the workers have finished")
    if broker is None and not log.stopped and len(log.entries) > parts:
        tell(
            "no broker was named: shards that still wait in one are dropped when a worker comes to them, or now: "
            f"unrolled discard {as_argument(job.place)} --broker URL"
        )


class _Computing(NamedTuple):
    """Shards whose parts may come after the job's end.

    Attributes:
        shards: their number, or more.
        are_its: whether they are known to be the job's.
    """

    shards: int = 0
    are_its: bool = True

    def __str__(self) -> str:
        if self.are_its:
            those = counted(self.shards, "shard was being computed", "shards were being computed")
            return f"{those}, and may still be published"
        return f"workers have {counted(self.shards, 'shard')} on board, and may still publish those of this job"


def _computing(queue: ShardQueue, job: OpenJob, log: Log) -> _Computing:
    if not log.stopped:
        return _Computing(len(queue.ledger.running(job.key)[0]))
    # Of a job that was cancelled or discarded, the ledger has no shard any more.
    if len(log.entries) == sum(1 for _ in names.parts_in(job.objects.list(names.PARTS))) and not log.discarded:
        return _Computing()
    workers = [WorkerStatus.parse(name, facts) for name, facts in queue.ledger.workers().items()]
    on_board = sum(one.on_board for one in workers if one.offer == job.job.offer)
    return _Computing(max(0, on_board - queue.ledger.counts().running), are_its=False)  # less other jobs' shards


def _confirm(place: str, parts: int) -> None:
    """Ask whether a job with this many parts is to be deleted.

    Raises:
        JobError: the answer is no.
        OptionError: there is no answer.
    """
    included = f", {counted(parts, 'part')} included" if parts else " (no part is published)"
    try:
        question = f"Delete the job in {place}{included}? [y/N]"
        answer = click.prompt(question, default="", show_default=False, err=True)
    except click.Abort as error:  # there was no answer, so the question's line has no end yet
        click.echo(err=True)
        raise OptionError("nothing is deleted; to delete the job without a question, give --yes") from error
    if answer.strip().lower() not in ("y", "yes"):  # asked once: the next line may be one of a script
        raise JobError(f"{place}: nothing is deleted")
