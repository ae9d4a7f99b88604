"""What a worker writes to standard error: its own records and Celery's, in one form."""

from __future__ import annotations

import logging
import sys
import warnings

from unrolled.telemetry.json_log import log_json

#: Loggers that say something for each message, or repeat what `worker.runtime.heartbeat` logs in one line.
_QUIETER = {
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    "celery.worker.consumer.consumer": logging.ERROR,
    "kombu": logging.WARNING,
    "py.warnings": logging.ERROR,  # Celery warns of its own deprecations at each reconnection
}


def start_log(log_format: str, log_level: str) -> None:
    """Write all that is logged to standard error, Celery's own records included."""
    if log_format == "json":
        from celery.signals import setup_logging  # noqa: PLC0415 - Celery's import is a third of a second

        log_json(log_level)
        # Celery gives some of its loggers handlers of their own, unless somebody else sets up logging.
        setup_logging.connect(_set_up, weak=False)
    else:
        logging.basicConfig(
            level=log_level,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            stream=sys.stderr,
            force=True,
        )


def _set_up(**_: object) -> None:
    """Logging is set up already."""


def quieten_celery() -> None:
    """Leave out what Celery says of each message, and its warnings that don't concern this worker."""
    from celery.exceptions import CPendingDeprecationWarning  # noqa: PLC0415 - Celery's import is a third of a second
    from celery.platforms import SecurityWarning  # noqa: PLC0415 - as above

    for name, level in _QUIETER.items():
        logging.getLogger(name).setLevel(level)
    # Celery warns root of pickle, which this worker refuses; in a container, root is usual. The other warning is about
    # a default that the app sets.
    for category in (SecurityWarning, CPendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
