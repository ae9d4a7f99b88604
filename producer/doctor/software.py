"""What this program is made of."""

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
    """Versions of what this program is made of, and whether it can start a broker of its own."""
    names = ("unrolled", "numpy", "pyarrow", "celery", "kombu", "redis")
    found = [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)]
    yield Check("software", "ok", ", ".join(found))
    try:
        yield Check("embedded broker", "ok", str(server_program()))
    except UnrolledError as error:
        yield Check("embedded broker", "warn", str(error), "needed by `unrolled run` and `demo` without --broker only")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
