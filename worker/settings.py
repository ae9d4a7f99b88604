"""A worker's settings: read once at the entry point, checked before anything starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from unrolled.queue.broker_url import check_broker_url
from unrolled.queue.messages import check_namespace
from unrolled.settings.declaration import from_environ, option
from unrolled.settings.worker_options import WorkerOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(WorkerOptions):
    """All settings of a worker: how it computes, and whom it serves.

    Raises:
        OptionError: a value isn't allowed, or two contradict each other.
    """

    broker: str = option(
        help="Redis URL, such as redis://localhost:6379/0. Set a URL with a password in the environment, not on the "
        "command line.",
        metavar="URL",
        read=check_broker_url,
    )
    model: Path = option(help="Model directory, or URL of one in a bucket; a worker serves one model.", metavar="DIR")
    namespace: str = option(
        "unrolled",
        "Prefix of every key in Redis; producer and workers need the same one.",
        metavar="NAME",
        read=check_namespace,
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings from `UNROLLED_*` variables, as a worker that `celery -A worker.app worker` starts reads them.

        Raises:
            OptionError: a variable is missing, or its value isn't allowed; the text has its name.
        """
        return from_environ(cls, environ)
