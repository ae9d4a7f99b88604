"""Can figures be served to Prometheus where the settings say?"""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from importlib.util import find_spec
from typing import TYPE_CHECKING

from producer.doctor.check import Check
from unrolled.errors import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS = 3.0
_MOST_BYTES = 1 << 20
#: In the figures of every process of ours.
_MARK = b"unrolled_build_info"
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared, not listened on


def check_metrics_port(port: int, address: str) -> Iterator[Check]:
    """Look whether a port is free, or who answers there.

    Args:
        port: where figures are to be served; 0 for any that is free.
        address: on which.
    """
    if find_spec("prometheus_client") is None:
        yield Check("metrics", "fail", "prometheus_client is missing", install_command("metrics"))
        return
    try:
        with socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, reuse_port=False
        ):
            found = f"port {port} on {address} is free" if port else f"a free port on {address}"
    except OSError as error:
        yield _check_taken(port, address, error)
        return
    if address in _EVERYWHERE:
        yield Check("metrics", "ok", found, "anyone who can reach this port can read the figures: limit who can")
        return
    yield Check("metrics", "ok", found)


def _check_taken(port: int, address: str, error: OSError) -> Check:
    host = "127.0.0.1" if address in _EVERYWHERE else f"[{address}]" if ":" in address else address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=_SECONDS) as answer:
            ours = _MARK in answer.read(_MOST_BYTES)
    except (OSError, ValueError, urllib.error.URLError):
        ours = False
    if ours:
        return Check("metrics", "ok", f"a process of Unrolled serves its figures on port {port}")
    return Check("metrics", "fail", f"port {port} on {address}: {error.strerror or error}", "choose another port")
