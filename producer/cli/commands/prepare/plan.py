"""`unrolled plan`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.input_options import planned_submission_of, planning_options
from producer.cli.options import json_option
from producer.cli.plan_report import report
from producer.local.engine import local_engine
from unrolled.settings.flags import flags
from unrolled.settings.worker_options import WorkerOptions
from unrolled.telemetry.json_text import json_text

#: Options of a worker on which times and memory depend.
OWN = ("emulate", "threads", "memory_budget", "pool_tokens", "concurrency")


@click.command()
@planning_options
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of workers, each on a machine like this one.",
)
@flags(WorkerOptions, OWN)
@click.option(
    "--measure/--no-measure",
    "measured",
    default=True,
    show_default=True,
    help="Measure this machine's engine for two seconds; without it, the plan has no times.",
)
@click.option("--out", metavar="DIR", expose_value=False, help="Taken as `unrolled run` takes it, but not used.")
@json_option
@click.pass_context
def plan(context: click.Context, /, workers: int, measured: bool, as_json: bool, **arguments: Any) -> None:
    """Estimate what a job will cost, before you queue it.

    Reads a sample of the input and measures the engine, in some seconds. Give those options of `unrolled enqueue` or
    `unrolled run` that affect what is computed or stored. The plan says how many rows and tokens there are, how large
    the output is for each choice of layers, pooling and precision, how long the job takes, how much memory a worker
    needs, and which rows and inputs can't be used; ids that occur twice aren't looked for. Nothing is written.

    \b
    Examples:
      unrolled plan corpus/ --model my-model
      unrolled plan 'logs/*.jsonl.gz' --model my-model --pooling mean --workers 20
      unrolled plan corpus/ --model my-model --json > plan.json
    """
    own = {name: arguments.pop(name) for name in OWN}
    submission = planned_submission_of(arguments)
    engine = submission.engine or ("fused" if submission.arithmetic != "float32" else local_engine())
    submission = replace(submission, engine=engine)
    options = WorkerOptions(**own, engine=engine, arithmetic=submission.arithmetic)
    # Imported late: tokenizers take half a second, which --help doesn't need.
    from producer.plan.planning import make_plan  # noqa: PLC0415
    from producer.terminal.progress import progress  # noqa: PLC0415

    with progress("plan", transient=True) as bar:
        found = make_plan(submission, options, workers, measured=measured, begin=bar.step)
    click.echo(json_text(found.to_json()) if as_json else report(found))
    context.exit(ExitStatus.FAILED if found.input.unreadable else ExitStatus.DONE)
