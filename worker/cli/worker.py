"""`unrolled worker`: a Celery worker whose options are checked before it starts."""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import click

from unrolled.errors import BrokenWorkerError, OptionError, RequestError
from unrolled.job.output_root import OutputRoot
from unrolled.model.directory import open_model
from unrolled.process.open_files import allow_open_files
from unrolled.settings.flags import check_companion, flags
from unrolled.telemetry import tracing
from unrolled.telemetry.health_file import check_health_file
from unrolled.telemetry.server import check_installed
from worker.cli.logs import quieten_celery, start_log
from worker.cli.too_much import too_much
from worker.engines.choice import choose_and_measure
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from worker.app import MakeEngine

_log = logging.getLogger(__name__)


@click.command(short_help="Compute and publish shards until stopped.")
@flags(Settings)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
    help="Least severe messages that are logged, to standard error.",
)
@click.pass_context
def worker(context: click.Context, /, log_level: str, **options: Any) -> None:
    """Compute and publish shards until stopped.

    SIGTERM, SIGHUP, SIGQUIT or Ctrl-C lets the shards that the worker holds finish within the grace, then gives them
    back; a second signal gives them back immediately. Start as many workers as there is memory and work for.

    \b
    Examples:
      unrolled worker --broker redis://localhost:6379/0 --model my-model
      UNROLLED_BROKER=rediss://worker:secret@host:6379/0 unrolled worker --model my-model --memory-budget 4G
    """
    settings = Settings(**options)
    check_companion("metrics_address", "--metrics-port", given=settings.metrics_port is not None)
    check_companion("emulate", "--arithmetic bfloat16x3", given=settings.arithmetic == "bfloat16x3")
    if settings.output_root:
        _check_root(settings.output_root)
    if settings.health_file:
        check_health_file(settings.health_file)
    start_log(settings.log_format, log_level)
    allow_open_files()
    for line in too_much(settings):
        _log.warning(line)
    if settings.metrics_port is not None:
        check_installed()
    tracing.check_installed(settings.tracing)
    open_model(settings.model)
    context.exit(run_worker(settings, log_level))


def _check_root(root: Path) -> None:
    """Check that jobs may be in the root.

    Raises:
        OptionError: none can be.
    """
    try:
        OutputRoot(root).check_exists()
    except RequestError as error:
        raise OptionError(f"--output-root {error}") from error


def run_worker(settings: Settings, log_level: str, make_engine: MakeEngine = choose_and_measure) -> int:
    """Run a worker in this process until it is stopped; its exit status.

    Args:
        settings: checked.
        log_level: of all loggers, Celery's too.
        make_engine: makes what computes.
    """
    from worker.app import EXIT_UNUSABLE, create_app  # noqa: PLC0415 - Celery's import is a third of a second

    start_log(settings.log_format, log_level)
    quieten_celery()
    try:
        app = create_app(settings, make_engine)
    except BrokenWorkerError as error:
        _log.critical("%s", error)
        return EXIT_UNUSABLE
    # Without Celery's own command line, whose import takes longer than the worker's start.
    program = app.Worker(
        hostname=f"unrolled-{os.getpid()}@{socket.gethostname()}",
        pool_cls="threads",
        loglevel=log_level,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    program.start()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it has ended in order, and Python takes some time to end
    status = app.ending or program.exitcode or 0
    if app.assembly and app.assembly.computing:
        # The engine is still computing shards that were given back; nothing in it needs a clean shutdown.
        logging.shutdown()
        os._exit(status)
    return status
