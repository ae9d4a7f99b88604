"""Lines for people on standard error, or for programs, if the command logs as JSON."""

import logging

import click

from unrolled.telemetry import json_log

log = logging.getLogger("unrolled")


def tell(line: str, level: int = logging.INFO) -> None:
    """Write one line to standard error; the level is for programs."""
    if json_log.is_active():
        log.log(level, "%s", line)
    else:
        click.echo(line, err=True)


def warn(line: str) -> None:
    """Write one line about something that is in the way to standard error."""
    tell(line, logging.WARNING)


def advise(line: str) -> None:
    """The same at the end of a command, where an arrow marks it for people."""
    warn(line if json_log.is_active() else f"→ {line}")
