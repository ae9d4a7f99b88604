"""Figures for Prometheus, over HTTP and printed."""

import socket
import urllib.request
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.promtool import check_metrics

from unrolled.errors import OptionError
from unrolled.telemetry import server
from unrolled.telemetry.distribution import Distribution
from unrolled.telemetry.family import Family
from unrolled.telemetry.server import MetricsServer, check_installed, text


def some():
    seconds = Distribution((0.5, 2.0))
    for value in (0.25, 0.5, 1.0, 8.0):
        seconds.add(value)
    yield Family.counter("unrolled_test_rows", "Rows.", 7)
    yield Family("unrolled_test_shards", "Shards.", "gauge", [({"state": "held"}, 2), ({"state": "waiting"}, 3)])
    yield Family("unrolled_test_seconds", "Seconds.", "histogram", [({"stage": "read"}, seconds.buckets())])


def samples(exposition):
    """Name and labels → value."""
    found = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.items())] = sample.value
    return found


def test_figures_are_served_as_they_are_now():
    """Counters, labels, and buckets that count what is in the buckets below them too."""
    with closing(MetricsServer(some, 0, "127.0.0.1")) as served, urllib.request.urlopen(served.url) as answer:
        found = samples(answer.read().decode())
    assert found["unrolled_test_rows_total",] == 7
    assert found["unrolled_test_shards", ("state", "waiting")] == 3
    buckets = [found["unrolled_test_seconds_bucket", ("le", le), ("stage", "read")] for le in ("0.5", "2.0", "+Inf")]
    assert buckets == [2, 3, 4]
    assert found["unrolled_test_seconds_sum", ("stage", "read")] == 9.75
    assert found["unrolled_test_seconds_count", ("stage", "read")] == 4
    assert any(key[0] == "unrolled_build_info" for key in found)
    assert any(key[0] == "process_cpu_seconds_total" for key in found)


def test_printed_figures_pass_prometheus_own_check():
    """The form that a file for the node exporter has; each figure says what it is."""
    assert check_metrics(text(some)) == ""


def test_a_bad_figure_does_not_pass_the_check():
    """The check is one that complains: of a unit that isn't a base unit."""
    assert check_metrics(text(lambda: [Family.gauge("unrolled_wait_milliseconds", "", 1)])) != ""


def test_only_this_machine_can_ask_by_default():
    """The server listens on the address that it is given, and on no other."""
    with closing(MetricsServer(some, 0, "127.0.0.1")) as served:
        port = int(served.url.rpartition(":")[2].removesuffix("/metrics"))
        with socket.create_server(("127.0.0.2", port)):
            pass  # another address of this machine is free


def test_a_closed_server_frees_its_port():
    """Another one can take it at once."""
    with closing(MetricsServer(some, 0, "127.0.0.1")) as first:
        port = int(first.url.rpartition(":")[2].removesuffix("/metrics"))
    MetricsServer(some, port, "127.0.0.1").close()


@pytest.mark.parametrize("address", ["127.0.0.1", "no.such.host.invalid"])
def test_a_port_that_cannot_be_used_is_a_clear_error(address):
    """Both the port and the address are named, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=rf"--metrics-port {port}: can't listen on {address}: .*; choose another"):
            MetricsServer(some, port, address)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch):
    """The extra is named."""
    monkeypatch.setattr(server, "find_spec", lambda _: None)
    for ask in (check_installed, lambda: MetricsServer(some, 0, "127.0.0.1"), lambda: text(some)):
        with pytest.raises(OptionError, match=r"pip install .*\[metrics\]"):
            ask()
