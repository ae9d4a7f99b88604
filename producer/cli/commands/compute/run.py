"""`unrolled run`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, fields, replace
from typing import Any

import click
from click.core import ParameterSource

from producer.cli.exit_status import ExitStatus
from producer.cli.input_options import input_options, submission_of
from producer.cli.options import json_option, namespace_option, own_broker_option, served, start_log
from producer.local.engine import check_arithmetic, choose_engine
from producer.terminal.figures import ProducerFigures
from producer.terminal.lines import tell
from unrolled.errors import OptionError, as_argument, counted
from unrolled.job.output_root import OutputRoot
from unrolled.process.open_files import allow_open_files
from unrolled.queue.broker_url import without_secret
from unrolled.settings.declaration import to_environ
from unrolled.settings.flags import check_companion, flags
from unrolled.settings.worker_options import WorkerOptions
from unrolled.telemetry.health_file import check_health_file
from unrolled.telemetry.server import why_deaf
from unrolled.telemetry.tracing import start_tracing

#: Options of a worker that are not the job's.
OWN = tuple(field.name for field in fields(WorkerOptions) if field.name not in ("engine", "arithmetic"))

#: More processes than any one machine has work for; a slip of the fingers mustn't start thousands.
MOST_WORKERS = 256
_LAST_PORT = 65_535


@click.command()
@input_options
@click.option(
    "--workers", type=click.IntRange(1, MOST_WORKERS), default=1, show_default=True, help="Number of worker processes."
)
@flags(WorkerOptions, OWN)
@own_broker_option
@namespace_option
@click.option(
    "--report/--no-report", "with_report", default=True, show_default=True,
    help="Write OUT/_unrolled/report.html, a page about the job, at the end, unless an up-to-date one is there.",
)  # fmt: skip
@json_option
@click.pass_context
def run(
    context: click.Context,
    /,
    broker: str | None,
    namespace: str,
    as_json: bool,
    with_report: bool,
    workers: int,
    max_queued_tokens: int | None,
    priority: int,
    **arguments: Any,
) -> None:
    """Do a whole job on this machine.

    INPUTS are files, directories, patterns, or - for standard input. A directory is read with the directories in it,
    but without names that begin with . or _.

    Starts a broker (unless --broker names one) and workers, queues the input, waits until every shard is published,
    verifies the files, and writes a report. If you run the same command again, it resumes. `unrolled status OUT` in
    another terminal shows the job's progress. The workers' logs are in OUT/_unrolled/logs.
    With --append, the new rows of an input that has grown are added to the job.

    \b
    Examples:
      unrolled run corpus/*.txt --model my-model --out vectors
      unrolled run rows.parquet --text-field body --id-field key --model my-model --out vectors --workers 2
    """
    # Over 40 lines: one command, most of it the texts of its options.
    own = {name: arguments.pop(name) for name in OWN}
    submission = submission_of(arguments)
    engine = choose_engine(submission.engine, submission.arithmetic)
    is_substitute = submission.engine is None and engine == "tensorflow"
    submission = replace(submission, engine=engine)
    options = WorkerOptions(**own, engine=engine, arithmetic=submission.arithmetic)
    check_companion("emulate", "--arithmetic bfloat16x3", given=options.arithmetic == "bfloat16x3")
    check_arithmetic(options)
    _refuse_sharing(options, workers)
    allow_open_files()  # which the broker and the workers inherit
    start_log(options.log_format)
    root = OutputRoot(options.output_root) if options.output_root else None
    if root and not root.contains(submission.out):
        link = root.link_in(submission.out)
        raise OptionError(f"--out {submission.out}{link} is outside --output-root; allowed: directories in {root}")
    if broker and context.get_parameter_source("broker") is ParameterSource.ENVIRONMENT:
        tell(f"the broker is {without_secret(broker)}, which UNROLLED_BROKER names; without it, `run` starts its own")
    # Imported late: tokenizers and Celery take half a second, which --help doesn't need.
    from producer.local.run import run_job  # noqa: PLC0415

    figures, settings = ProducerFigures(), to_environ(options)
    with (
        served(figures.collect, options.metrics_port, options.metrics_address),
        closing(start_tracing(options.tracing, "unrolled-producer")),
    ):
        cut, status = run_job(
            submission, broker, namespace, max_queued_tokens, workers, settings, priority, figures, is_substitute
        )
    from producer.cli.commands.inspect.verify import report  # noqa: PLC0415 - slow to import
    from producer.cli.commands.watch.wait import exit_status, summary  # noqa: PLC0415 - slow to import
    from producer.cli.status_report import as_line  # noqa: PLC0415 - slow to import
    from producer.jobs.verify import verify_job  # noqa: PLC0415 - slow to import
    from producer.jobs.wait import open_again  # noqa: PLC0415 - slow to import
    from producer.report.writing import report_after_run  # noqa: PLC0415 - slow to import

    job = open_again(submission.out)
    found = verify_job(job)
    if as_json:
        problems = [asdict(problem) for problem in found.problems]
        verified = {"verified": not problems, "problems": problems, "beside": found.beside}
        coverage = {"without_tokens": cut.without_tokens, "unknown_share": cut.unknown_share}
        click.echo(as_line(status, **coverage, unknown_noun=cut.unknown_noun, added=cut.added, **verified))
    else:
        readable = found.files and not found.problems
        shown = (
            [f"→ unrolled show {as_argument(job.place)}; in Python: unrolled.open({job.place!r})"] if readable else []
        )
        # "complete" says only that all parts are there; if one has a problem, the verification says so instead.
        said = [] if found.problems and status.complete else [summary(status)]
        click.echo("\n".join([*said, *cut.growth_lines(), *cut.coverage_lines(), report(found, job.place), *shown]))
    if with_report:
        (tell if as_json else click.echo)(report_after_run(job, submission.model, verified=not found.problems))
    context.exit(ExitStatus.FAILED if found.problems else exit_status(status))


def _refuse_sharing(options: WorkerOptions, workers: int) -> None:
    """See that each worker gets a file and a port of its own, before anything is begun.

    Raises:
        OptionError: two would write one file, which can't be another one; or not each has a port.
    """
    if options.health_file and workers > 1:
        raise OptionError(
            f"--health-file {options.health_file} is for one worker, and --workers is {workers}: one that is well "
            "would hide one that hangs; leave it out, or start each `unrolled worker` with a file of its own"
        )
    highest = _LAST_PORT - workers
    if (options.metrics_port or 0) > highest:
        raise OptionError(
            f"--metrics-port {options.metrics_port} is too high for {counted(workers, 'worker')}, each of which takes "
            f"a port after it, up to {_LAST_PORT}; give at most {highest}, or 0 for any free ports"
        )
    for port in range(options.metrics_port + 1, options.metrics_port + 1 + workers) if options.metrics_port else ():
        if why := why_deaf(port, options.metrics_address):
            raise OptionError(
                f"--metrics-port {options.metrics_port}: a worker takes port {port}, and can't listen there ({why}); "
                "choose another, or 0 for any free ports"
            )
    if options.health_file:
        check_health_file(options.health_file)
