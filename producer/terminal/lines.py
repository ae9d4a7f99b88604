"""Lines for people on standard error, or for programs, if the command logs as JSON."""

import logging

import click

from unrolled.telemetry import json_log

log = logging.getLogger("unrolled")


def tell(line: str) -> None:
    """Write one line to standard error."""
    if json_log.is_active():
        log.info("%s", line)
    else:
        click.echo(line, err=True)
