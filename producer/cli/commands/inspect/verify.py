"""`unrolled verify`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.options import job_at, json_option, out_argument
from producer.jobs.verify import verify_job
from producer.terminal.progress import progress
from unrolled.errors import counted, printable
from unrolled.telemetry.json_text import json_text

if TYPE_CHECKING:
    from producer.jobs.verify import Verification


#: Problems with the same text that follow each other, as in a job that is at work; JSON lists all.
_ALIKE_SHOWN = 5


@click.command()
@out_argument
@json_option
@click.pass_context
def verify(context: click.Context, *, out: str, as_json: bool) -> None:
    """Check that every input row is published exactly once.

    Reads every file and compares it with the rows that were read from the input: rows in = rows out + quarantine, the
    right rows in the right order, every bit as it was published, no missing part, and no .parquet file beside the parts
    that isn't the job's. No broker is needed. Problems are listed, and the exit status is then 1.

    \b
    Examples:
      unrolled verify out
      unrolled verify out --json | jq '.problems[].where'
    """
    job = job_at(out)
    with progress("verifying") as bar:
        found = verify_job(job, lambda done, total: bar.update(done_tokens=done, total_tokens=total))
    if as_json:
        click.echo(json_text({"ok": not found.problems, **asdict(found)}))
    else:
        click.echo(report(found, job.place))
    context.exit(ExitStatus.FAILED if found.problems else ExitStatus.DONE)


def report(found: Verification, out: str) -> str:
    """The outcome as text for people."""
    lines = []
    for what, problems in groupby(found.problems, lambda problem: problem.what):
        places = [printable(problem.where) for problem in problems]
        shown = places[:-1] if len(places) <= _ALIKE_SHOWN else places[: _ALIKE_SHOWN - 1]
        lines += [f"✗ {place}: {printable(what)}" for place in shown]
        hidden = len(places) - len(shown)
        of_each = "each " if what.startswith("is ") else ""
        last = f"{places[-1]}: " if hidden == 1 else f"… and {hidden:,} more: {of_each}"
        lines.append(f"✗ {last}{printable(what)}")
    in_quarantine = found.quarantined + found.failed
    count = counted(len(found.problems), "problem") if found.problems else "verified"
    lines.append(
        f"{out}: {count}; {counted(found.rows_in, 'row')} in, {found.rows_out:,} out in "
        f"{counted(found.files, 'whole file')} ({counted(found.tokens, 'token')}), {in_quarantine:,} in quarantine"
    )
    if found.beside:
        first = ", ".join(map(printable, found.beside[:_ALIKE_SHOWN]))
        more = f" and {len(found.beside) - _ALIKE_SHOWN:,} more" if len(found.beside) > _ALIKE_SHOWN else ""
        lines.append(
            f"→ beside the parts: {first}{more}. pandas and pyarrow may read what is there, too, or fail on it"
        )
    return "\n".join(lines)
