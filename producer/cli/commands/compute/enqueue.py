"""`unrolled enqueue`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.input_options import input_options, submission_of
from producer.cli.options import (
    broker_option,
    json_option,
    log_format_option,
    metrics_options,
    namespace_option,
    need_broker,
    served,
    start_log,
    tracing_option,
)
from producer.local.broker_record import tell_beside_run
from producer.local.engine import FOR_OTHERS, has_tensorflow, local_engine
from producer.terminal.figures import ProducerFigures
from producer.terminal.lines import advise, tell
from unrolled.errors import as_argument, counted
from unrolled.telemetry.json_log import note
from unrolled.telemetry.json_text import json_text
from unrolled.telemetry.tracing import start_tracing

if TYPE_CHECKING:
    from producer.enqueue.summary import Summary


@click.command()
@input_options
@broker_option
@namespace_option
@json_option
@metrics_options
@log_format_option
@tracing_option
@click.pass_context
def enqueue(
    context: click.Context,
    /,
    broker: str | None,
    namespace: str,
    as_json: bool,
    max_queued_tokens: int | None,
    metrics_port: int | None,
    metrics_address: str,
    log_format: str,
    tracing: str,
    priority: int,
    **arguments: Any,
) -> None:
    """Group rows into shards and queue them for workers.

    INPUTS are files, directories, patterns, or - for standard input. A directory is read with the directories in it,
    but without names that begin with . or _. If you run the same command again, it resumes: shards that are published
    or queued are not queued again. Rows that can't be used go to quarantine, with reasons.
    With --append, the new rows of an input that has grown are added to the job.

    \b
    Examples:
      unrolled enqueue corpus/ --model my-model --out vectors
      unrolled enqueue 'logs/*.jsonl.gz' --id-field request --model my-model --out vectors
      tail -F app.log | unrolled enqueue --follow - --model my-model --out live
    """
    # Over 40 lines: one command, most of it its options and its help text.
    start_log(log_format)
    submission = submission_of(arguments)
    url = need_broker(broker, submission.out)
    # Imported late: tokenizers and Celery take half a second, which --help doesn't need.
    from producer.enqueue import session  # noqa: PLC0415
    from producer.enqueue.submission import prepare  # noqa: PLC0415
    from producer.queue.login import refuse_login  # noqa: PLC0415

    figures = ProducerFigures()
    with (
        # First, so that nothing is begun where a port is taken.
        served(figures.collect, metrics_port, metrics_address),
        closing(start_tracing(tracing, "unrolled-producer")),
    ):
        prepared = prepare(submission, check_broker=partial(refuse_login, url))
        note(job=prepared.job.key)
        tell_beside_run(prepared.job.place, url)
        if submission.engine is None and local_engine() != "fused" and has_tensorflow():
            tell(FOR_OTHERS)
        summary = session.enqueue(prepared, url, namespace, max_queued_tokens, priority, figures=figures)
    click.echo(json_text(asdict(summary)) if as_json else as_text(summary, submission.out))
    for text in summary.in_the_way:
        advise(text)
    is_stuck = summary.dead or summary.gone
    if is_stuck and not submission.source.follow:  # a stream that has ended in order isn't to be started again
        context.exit(ExitStatus.FAILED)
    context.exit(ExitStatus.QUARANTINE if summary.quarantined or summary.failed else ExitStatus.DONE)


_AGAIN = ", {:,} of them again, because the broker had lost them"


def as_text(summary: Summary, out: str) -> str:
    """The summary as text for people."""
    unseen = summary.coverage_lines()
    rows, tokens, shards = (counted(getattr(summary, f"{noun}s"), noun) for noun in ("row", "token", "shard"))
    more = max(0, summary.sent - summary.shards)
    queued = f"{counted(summary.sent - more, 'is', 'are')} queued"
    if more:  # of a stream that goes on, shards of earlier runs, whose rows aren't counted here
        queued += f", and {more:,} of earlier runs" if summary.continued else _AGAIN.format(more)
    if summary.known:
        # Those that were cancelled since are queued once more.
        queued = f"{counted(summary.known, 'is', 'are')} from another run, and this run queued {summary.sent:,}"
    if summary.elsewhere:
        queued += f"; another process queued {summary.elsewhere:,}"
    lines = [f"{rows} with {tokens} in {shards}; {queued}"]
    if summary.restored:
        parts = counted(summary.restored, "shard had neither rows nor a part", "shards had neither rows nor a part")
        lines.append(f"{parts}; the rows were made again")
    if summary.mended:
        dead = counted(summary.mended, "dead shard had damaged rows", "dead shards had damaged rows")
        lines.append(f"{dead}; the rows were made again, and are computed")
    if summary.quarantined or summary.failed:
        bad = counted(summary.quarantined + summary.failed, "row is", "rows are")
        lines.append(f"{bad} in quarantine, with reasons: unrolled quarantine {as_argument(out)}")
    if summary.dead:
        # Whether `unrolled retry` helps depends on why, and `status` knows.
        dead = counted(summary.dead, "shard is", "shards are")
        lines.append(f"{dead} dead, and not queued; to see why, and what helps: unrolled status {as_argument(out)}")
    if summary.gone:
        them = "it" if summary.gone == 1 else "they"
        lines.append(
            f"neither the rows nor the part of {counted(summary.gone, 'shard')} can be seen, so {them} can't be "
            f"computed; to see what helps: unrolled status {as_argument(out)}"
        )
    return "\n".join(lines + summary.growth_lines() + unseen)
