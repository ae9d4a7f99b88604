"""Which software runs here?"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from producer.doctor.check import Check
from producer.local.broker_host import server_program
from unrolled.errors import UnrolledError

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_software() -> Iterator[Check]:
    """Look at the versions of the packages, and whether a broker of its own can be started."""
    names = ("unrolled", "numpy", "pyarrow", "celery", "kombu", "redis")
    found = [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)]
    yield Check("software", "ok", ", ".join(found))
    try:
        yield Check("embedded broker", "ok", str(server_program()))
    except UnrolledError as error:
        yield Check("embedded broker", "warn", str(error), "only `unrolled run` and `demo` without --broker need it")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
