"""`unrolled verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from producer.cli.exit_status import ExitStatus
from producer.cli.options import json_option, out_argument
from producer.jobs.verify import verify_job
from producer.terminal.progress import progress
from producer.terminal.text import printable
from unrolled.job.directory import open_job

if TYPE_CHECKING:
    from pathlib import Path

    from producer.jobs.verify import Verification


@click.command()
@out_argument
@json_option
@click.pass_context
def verify(context: click.Context, *, out: Path, as_json: bool) -> None:
    """Check that every input row is published exactly once.

    Reads every file whole and compares it with the job's manifest: rows in = rows out + quarantine, the right rows in
    the right order, every bit as it was published, no file missing and none too many. Lists what is wrong. No broker
    is needed.

    \b
    Examples:
      unrolled verify out
      unrolled verify out --json | jq '.problems[].where'
    """
    directory = open_job(out)
    with progress("verifying") as bar:
        found = verify_job(directory, lambda done, total: bar.update(done_tokens=done, total_tokens=total))
    if as_json:
        click.echo(json.dumps({"ok": not found.problems, **asdict(found)}))
    else:
        click.echo(report(found, out))
    context.exit(ExitStatus.FAILED if found.problems else ExitStatus.DONE)


def report(found: Verification, out: Path) -> str:
    """The result as text for people."""
    lines = [f"✗ {printable(problem.where)}: {printable(problem.what)}" for problem in found.problems]
    lines += [f"note: {note}" for note in found.notes]
    if len(found.kinds) > 1:
        lines.append(f"note: files come from different engines: {', '.join(found.kinds)}")
    in_quarantine = found.quarantined + found.failed
    count = f"{len(found.problems):,} problem(s)" if found.problems else "verified"
    lines.append(
        f"{out}: {count}; {found.rows_in:,} rows in, {found.rows_out:,} out in {found.files:,} whole files "
        f"({found.tokens:,} tokens), {in_quarantine:,} in quarantine"
    )
    return "\n".join(lines)
