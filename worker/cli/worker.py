"""`unrolled worker`: a Celery worker whose options are checked before it starts."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unrolled.errors import UnrolledError
from unrolled.model.directory import open_model
from unrolled.queue.broker_url import check_broker_url
from worker.engines.choice import choose_engine
from worker.settings import ARITHMETICS, ENGINES, Settings, parse_bytes

if TYPE_CHECKING:
    from worker.app import MakeEngine


#: Celery's voices that say something for each message, or again what `worker.runtime.heartbeat` says in one line.
_QUIETER = {
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    "celery.worker.consumer.consumer": logging.ERROR,
    "kombu": logging.WARNING,
    "py.warnings": logging.ERROR,  # Celery's word on its own deprecations, at each reconnection
}


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, such as 512M."""

    name = "bytes"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        try:
            return value if isinstance(value, int) else parse_bytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Compute and publish shards until stopped.")
@click.option(
    "--broker",
    required=True,
    help="Redis URL, such as redis://localhost:6379/0 (a secret belongs into the variable).",
)
@click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path),
    help="Model directory; one worker serves one model.",
)
@click.option("--namespace", default="unrolled", show_default=True, help="Prefix of every key in Redis.")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="What computes.")
@click.option(
    "--arithmetic",
    type=click.Choice(ARITHMETICS),
    default="float32",
    show_default=True,
    help="Its precision; what is stored has its own, `unrolled enqueue --precision`.",
)
@click.option("--threads", type=int, help="Of the engine.  [default: as many cores as this process may use]")
@click.option("--memory-budget", type=Bytes(), default="1G", show_default=True, help="Bytes of outputs in flight.")
@click.option(
    "--pool-tokens",
    type=int,
    default=2**18,
    show_default=True,
    help="Most tokens that are computed in one go.",
)
@click.option("--concurrency", type=int, default=8, show_default=True, help="Most shards on board at once.")
@click.option(
    "--lease-seconds",
    type=float,
    default=30.0,
    show_default=True,
    help="Silence after which another worker takes over.",
)
@click.option(
    "--grace-seconds",
    type=float,
    default=25.0,
    show_default=True,
    help="How long SIGTERM lets shards on board finish.",
)
@click.option(
    "--max-attempts",
    type=int,
    default=3,
    show_default=True,
    help="How often a shard may kill a worker while alone on board.",
)
@click.option(
    "--output-root",
    type=click.Path(path_type=Path),
    help="Where output directories must lie.  [default: anywhere]",
)
@click.option("--health-file", type=click.Path(path_type=Path), help="Touched while the worker is well.")
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="INFO",
    show_default=True,
    help="Least severe messages that are logged, to standard error.",
)
def worker(log_level: str, **options: object) -> None:
    """Compute and publish shards until stopped.

    SIGTERM lets the shards on board finish within the grace, then gives them back; a second one gives them back at
    once. Start as many workers as there is memory and work for; each serves one model.

    \b
    Examples:
      unrolled worker --broker redis://localhost:6379/0 --model my-model
      UNROLLED_BROKER=rediss://worker:secret@host:6379/0 unrolled worker --model my-model --memory-budget 4G
    """
    try:
        settings = Settings(**options)  # type: ignore[arg-type]
        check_broker_url(settings.broker)
        open_model(settings.model)
    except (UnrolledError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(run_worker(settings, log_level))


def run_worker(settings: Settings, log_level: str, make_engine: MakeEngine = choose_engine) -> int:
    """Run a worker in this process until it is stopped; its exit status.

    Args:
        settings: checked.
        log_level: of everything, Celery included.
        make_engine: gives what computes.
    """
    from celery.exceptions import CPendingDeprecationWarning  # noqa: PLC0415 - as below
    from celery.platforms import SecurityWarning  # noqa: PLC0415 - as below

    from worker.app import EXIT_BROKEN, create_app  # noqa: PLC0415 - Celery's import is a third of a second

    logging.basicConfig(
        level=log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(level)
    # Celery warns of root because of pickle, which this worker refuses; in a container, root is usual. The other
    # warning is of a default that is set here.
    for category in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
    app = create_app(settings, make_engine)
    arguments = [
        "--quiet",
        "worker",
        "--pool=threads",
        "--without-gossip",
        "--without-mingle",
        f"--loglevel={log_level}",
    ]
    try:
        app.worker_main([*arguments, f"--hostname=unrolled-{os.getpid()}@%h"])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0
    else:
        status = 0
    if app.assembly and app.assembly.broken:
        status = EXIT_BROKEN
    if app.assembly and app.assembly.computing:
        # The engine is in the midst of what was given back; it holds nothing that needs an orderly end.
        logging.shutdown()
        os._exit(status)
    return status
