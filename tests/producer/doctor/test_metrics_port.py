"""What `unrolled doctor` says of the port for figures."""

import socket
from contextlib import closing

import pytest

from producer.doctor import metrics_port
from producer.doctor.metrics_port import check_metrics_port
from unrolled.errors import install_command
from unrolled.telemetry.server import MetricsServer


def test_a_free_port_passes():
    """So does any that is free; one that everybody reaches comes with a warning."""
    (check,) = check_metrics_port(0, "127.0.0.1")
    assert (check.outcome, check.advice) == ("ok", "")
    (check,) = check_metrics_port(0, "0.0.0.0")
    assert (check.outcome, check.advice) == ("ok", "anyone who can reach this port can read the figures: limit who can")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_a_worker_serves_passes(address):
    """`doctor` runs beside workers that are alive."""
    with closing(MetricsServer(list, 0, address)) as server:
        port = int(server.url.rpartition(":")[2].removesuffix("/metrics"))
        (check,) = check_metrics_port(port, address)
    assert (check.outcome, check.found) == ("ok", f"a process of Unrolled serves its figures on port {port}")


def test_a_port_that_another_program_has_fails(monkeypatch):
    """Even if that program never answers."""
    monkeypatch.setattr(metrics_port, "_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (check,) = check_metrics_port(taken.getsockname()[1], "127.0.0.1")
    assert (check.outcome, check.advice) == ("fail", "choose another port")


def test_without_the_package_it_fails(monkeypatch):
    """The extra is named."""
    monkeypatch.setattr(metrics_port, "find_spec", lambda _: None)
    (check,) = check_metrics_port(0, "127.0.0.1")
    assert (check.outcome, check.advice) == ("fail", install_command("metrics"))
