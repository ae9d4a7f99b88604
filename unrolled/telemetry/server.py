"""Serves figures to Prometheus over HTTP, or prints them once. Needs `prometheus_client`, the extra `metrics`.

Nothing of it is imported until somebody asks for it, and the figures are collected at the moment of each request.
"""

# Over 150 lines: one server, and whether it can be had.

from __future__ import annotations

import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from unrolled.errors import OptionError, install_command
from unrolled.telemetry.distribution import Buckets
from unrolled.telemetry.family import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Collect = Callable[[], Iterable[Family]]

#: Where the figures are.
PATH = "/metrics"


def check_installed() -> None:
    """See that figures can be served.

    Raises:
        OptionError: `prometheus_client` is missing; the text says how to install it.
    """
    if find_spec("prometheus_client") is None:
        raise OptionError(f"figures for Prometheus need prometheus_client: {install_command('metrics')}")


class MetricsServer:
    """Serves figures until it is closed.

    Args:
        collect: gives the figures; called for each request, in threads of this server.
        port: to listen on; 0 for any that is free.
        address: the address to listen on. Anyone who can reach it can read the figures.

    Attributes:
        url: where the figures are.

    Raises:
        OptionError: `prometheus_client` is missing, or the server can't listen there.
    """

    def __init__(self, collect: Collect, port: int, address: str) -> None:
        check_installed()
        from prometheus_client import ProcessCollector, start_http_server  # noqa: PLC0415 - an extra

        figures = registry(collect)
        ProcessCollector(registry=figures)  # this process's own: CPU, memory, files
        try:
            self._server, self._thread = start_http_server(port, address, figures)
        except (OSError, OverflowError) as error:
            raise OptionError(
                f"--metrics-port {port}: can't listen on {address}: {error}; choose another port or --metrics-address"
            ) from error
        host = f"[{address}]" if ":" in address else address
        self.url = f"http://{host}:{self._server.server_port}{PATH}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def registry(collect: Collect) -> Any:
    """A registry of `prometheus_client` with these figures, and the build's."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra

    made = CollectorRegistry(auto_describe=False)
    made.register(_Collector(collect))
    return made


def text(collect: Collect) -> str:
    """The figures of one moment, as Prometheus reads them, without those of this process: it ends at once.

    The textfile collector of Prometheus's node_exporter refuses a file with the same names as its own.

    Raises:
        OptionError: `prometheus_client` is missing.
    """
    check_installed()
    from prometheus_client import generate_latest  # noqa: PLC0415 - an extra

    found: bytes = generate_latest(registry(collect))
    return found.decode()


def build_info() -> Family:
    """Which release runs, on which Python."""
    try:
        release = version("unrolled")
    except PackageNotFoundError:
        release = "unknown"
    facts = {"version": release, "python": platform.python_version()}
    return Family.info("unrolled_build_info", "The release of Unrolled and its Python.", **facts)


class _Collector:
    """The object that `prometheus_client` asks for figures."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect
        self._build = build_info()

    def describe(self) -> list[Any]:
        """Nothing: names are checked by tests, and a registration shouldn't ask a broker."""
        return []

    def collect(self) -> Iterator[Any]:
        """The figures now."""
        for family in (self._build, *self._collect()):
            yield _converted(family)


def _converted(family: Family) -> Any:
    from prometheus_client import core  # noqa: PLC0415 - an extra

    kinds = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    names = list(family.values[0][0]) if family.values else []
    made = kinds[family.kind](family.name, family.help, labels=names)
    for labels, value in family.values:
        of = [labels[name] for name in names]
        if isinstance(value, Buckets):
            made.add_metric(of, _cumulated(value), sum_value=value.total)
        else:
            made.add_metric(of, value)
    return made


def _cumulated(found: Buckets) -> list[tuple[str, float]]:
    """For each bound, how many values were not above it; the last bound is infinity."""
    made, sum_of_counts = [], 0
    for bound, count in zip((*map(str, found.bounds), "+Inf"), found.counts, strict=True):
        sum_of_counts += count
        made.append((bound, float(sum_of_counts)))
    return made


def why_deaf(port: int, address: str) -> str:
    """Why no server can listen on a port now; empty if one can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except (OSError, OverflowError) as error:
        return str(error)
    return ""
