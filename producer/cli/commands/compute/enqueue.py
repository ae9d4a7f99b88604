"""`unrolled enqueue`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.input_options import input_options, submission_of
from producer.cli.options import broker_option, json_option, namespace_option, need_broker
from unrolled.errors import counted

if TYPE_CHECKING:
    from producer.enqueue.summary import Summary


@click.command()
@input_options
@broker_option
@namespace_option
@json_option
@click.pass_context
def enqueue(
    context: click.Context,
    /,
    broker: str | None,
    namespace: str,
    as_json: bool,
    max_queued_tokens: int | None,
    priority: int,
    **arguments: Any,
) -> None:
    """Cut input into shards and queue them for workers.

    INPUTS are files, directories, patterns, or - for standard input. Run the same command again and it resumes: nothing
    that is published or queued is queued again. Rows that can't be used go to quarantine, with reasons; the others are
    queued.

    \b
    Examples:
      unrolled enqueue corpus/ --model my-model --out vectors
      unrolled enqueue 'logs/*.jsonl.gz' --id-field request --model my-model --out vectors
      tail -F app.log | unrolled enqueue --follow - --model my-model --out live
    """
    submission = submission_of(arguments)
    url = need_broker(broker, submission.out)
    # Imported late: tokenizers and Celery take half a second, which --help doesn't need.
    from producer.enqueue import session  # noqa: PLC0415
    from producer.enqueue.submission import prepare  # noqa: PLC0415

    prepared = prepare(submission)
    summary = session.enqueue(prepared, url, namespace, max_queued_tokens, priority)
    click.echo(json.dumps(asdict(summary)) if as_json else as_text(summary, submission.out))
    for text in summary.in_the_way:
        click.echo(f"→ {text}", err=True)
    context.exit(ExitStatus.QUARANTINE if summary.quarantined else ExitStatus.DONE)


def as_text(summary: Summary, out: str) -> str:
    """The summary as text for people."""
    unseen = summary.coverage_lines()
    before = f"; {counted(summary.known, 'was', 'were')} cut before" if summary.known else ""
    rows, tokens, shards = (counted(getattr(summary, f"{noun}s"), noun) for noun in ("row", "token", "shard"))
    lines = [f"{rows} with {tokens} in {shards}{before}; {counted(summary.sent, 'is', 'are')} queued"]
    if summary.quarantined:
        bad = counted(summary.quarantined, "row is", "rows are")
        lines.append(f"{bad} in quarantine, with reasons: unrolled quarantine {out}")
    return "\n".join(lines + unseen)
