"""`unrolled run`."""

from __future__ import annotations

from typing import Any

import click

from producer.cli.input_options import input_options, submission_of
from producer.cli.options import broker_option, json_option, namespace_option
from unrolled.job.directory import open_job

_WORKER_OPTIONS = ("engine", "arithmetic", "threads", "memory_budget", "max_attempts")


@click.command()
@input_options
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Worker processes.")
@click.option("--engine", help="What computes; as in `unrolled worker`.")
@click.option("--arithmetic", help="Its precision; as in `unrolled worker`.")
@click.option("--threads", help="Of each worker's engine.")
@click.option("--memory-budget", help="Bytes of outputs in flight in each worker, such as 512M.")
@click.option("--max-attempts", help="How often a shard may kill a worker while alone on board.")
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

    Starts a broker of its own (unless --broker names one) and workers, queues the input, waits until every shard is
    published, and verifies the files. The same command, given again, goes on where it was. `unrolled status OUT` in
    another terminal shows how far it is; the workers' logs are in OUT/_logs.

    \b
    Exit status: as `unrolled wait` and `unrolled verify`:
      0  every row is published and verified
      1  shards are dead, a file is wrong, or an error
      3  all is done, but rows are in quarantine

    \b
    Examples:
      unrolled run corpus/*.txt --model my-model --out vectors
      unrolled run rows.parquet --text-field body --id-field key --model my-model --out vectors --workers 2
    """
    given = {name: arguments.pop(name) for name in _WORKER_OPTIONS}
    environment = {f"UNROLLED_{name.upper()}": value for name, value in given.items() if value is not None}
    submission = submission_of(arguments)
    # Here, for tokenizers and Celery take half a second that --help need not pay.
    from producer.cli.commands.status import as_line  # noqa: PLC0415
    from producer.cli.commands.verify import report  # noqa: PLC0415
    from producer.cli.commands.wait import exit_status, summary  # noqa: PLC0415
    from producer.jobs.verify import verify_job  # noqa: PLC0415
    from producer.local.run import run_job  # noqa: PLC0415

    _, status = run_job(submission, broker, namespace, max_queued_tokens, workers, environment)
    found = verify_job(open_job(submission.out))
    click.echo(as_line(status) if as_json else f"{summary(status)}\n{report(found, submission.out)}")
    context.exit(1 if found.problems else exit_status(status))
