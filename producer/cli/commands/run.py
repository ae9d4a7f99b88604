"""`unrolled run`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.input_options import input_options, submission_of
from producer.cli.options import broker_option, json_option, namespace_option
from unrolled.job.directory import open_job
from unrolled.settings.declaration import to_environ
from unrolled.settings.flags import flags
from unrolled.settings.worker_options import WorkerOptions


@click.command()
@input_options
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Number of worker processes.")
@flags(WorkerOptions)
@broker_option
@namespace_option
@json_option
@click.pass_context
def run(
    context: click.Context,
    /,
    broker: str | None,
    namespace: str,
    as_json: bool,
    workers: int,
    max_queued_tokens: int,
    **arguments: Any,
) -> None:
    """Do a whole job on this machine.

    Starts a broker (unless --broker names one) and workers, queues the input, waits until every shard is published, and
    verifies the files. Run the same command again and it resumes. `unrolled status OUT` in another terminal shows how
    far the job is; the workers' logs are in OUT/_logs.

    \b
    Examples:
      unrolled run corpus/*.txt --model my-model --out vectors
      unrolled run rows.parquet --text-field body --id-field key --model my-model --out vectors --workers 2
    """
    options = WorkerOptions(**{field.name: arguments.pop(field.name) for field in fields(WorkerOptions)})
    submission = submission_of(arguments)
    from producer.cli.commands.verify import report  # noqa: PLC0415 - tokenizers and Celery take half a second
    from producer.cli.commands.wait import exit_status, summary  # noqa: PLC0415 - tokenizers and Celery take half a second
    from producer.cli.status_report import as_line  # noqa: PLC0415 - tokenizers and Celery take half a second
    from producer.jobs.verify import verify_job  # noqa: PLC0415 - tokenizers and Celery take half a second
    from producer.local.run import run_job  # noqa: PLC0415 - tokenizers and Celery take half a second

    _, status = run_job(submission, broker, namespace, max_queued_tokens, workers, to_environ(options))
    found = verify_job(open_job(submission.out))
    click.echo(as_line(status) if as_json else f"{summary(status)}\n{report(found, submission.out)}")
    context.exit(ExitStatus.FAILED if found.problems else exit_status(status))
