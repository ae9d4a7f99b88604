"""Spans for OpenTelemetry."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.processes import eventually, make_rows, open_site
from support.shell import make_model, write_rows
from support.shell import unrolled as command

from unrolled.errors import OptionError
from unrolled.telemetry import tracing
from unrolled.telemetry.tracing import Spans, start_tracing


def test_nothing_is_recorded_unless_asked_for():
    """A span is a context that does nothing, and there is no place to link to."""
    spans = start_tracing("off", "unrolled-test")
    assert type(spans) is Spans
    with spans.span("read", job="a"), spans.joint("compute", [spans.here()]):
        pass
    assert spans.here() is None
    spans.close()


def test_without_the_packages_the_error_says_how_to_install_them(monkeypatch):
    """The extra is named; if spans are off, nothing is missing."""
    monkeypatch.setattr(tracing, "_PACKAGES", ("no_such_package.sdk",))
    tracing.check_installed("off")
    with pytest.raises(OptionError, match=r"--tracing needs no_such_package.sdk, .*pip install .*\[tracing\]"):
        start_tracing("otlp", "unrolled-test")


@pytest.fixture
def closed(monkeypatch):
    """Where no collector listens; what is sent there is given up soon."""
    pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is missing: pip install '.[tracing]'")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    return "http://127.0.0.1:1/v1/traces"


def plain(said, line):
    """One line, and nothing of the libraries that have sent the spans."""
    assert said.count(line) == 1, said
    for word in ("HTTPConnection", "urllib3", "Max retries", "Transient", "span batch", "spans batch", "Traceback"):
        assert word not in said


def test_a_collector_that_is_away_is_one_line(tmp_path, broker_url, closed, monkeypatch):
    """Of a command, whose work isn't disturbed, and which doesn't wait for an hour."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    make_model(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl", {"a": [1], "b": [2]})
    options = {"model": tmp_path / "model", "out": tmp_path / "out", "broker": broker_url, "tracing": "otlp"}
    done = command("enqueue", rows, **options)
    assert done.returncode == 0, done.stderr
    plain(done.stderr, f"can't send traces to {closed}: Connection refused; these are lost, and later ones are tried")


@pytest.mark.usefixtures("closed")
def test_a_collector_that_never_answers_keeps_nobody(tmp_path, broker_url, monkeypatch):
    """Though it takes the connection: the command and the worker end, and say that there was no answer."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    with socket.create_server(("127.0.0.1", 0)) as silent, open_site(tmp_path, broker_url) as site:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        worker = site.worker(tracing="otlp").wait_ready()
        site.wait_done(site.enqueue(make_rows(4), name="first"))
        assert worker.stop() == 0
        rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
        done = command("enqueue", rows, model=site.model.path, out=tmp_path / "out", broker=broker_url, tracing="otlp")
    assert done.returncode == 0, done.stderr
    for said in (done.stderr, worker.log):
        plain(said, f"can't send traces to {address}/v1/traces: no answer")


def test_a_worker_says_so_once_for_many_batches(tmp_path, broker_url, closed):
    """And publishes its shards."""
    with open_site(tmp_path, broker_url) as site:
        worker = site.worker(tracing="otlp").wait_ready()
        site.wait_done(site.enqueue(make_rows(4), name="first"))
        eventually(lambda: "can't send traces" in worker.log, "the line")
        site.wait_done(site.enqueue(make_rows(4), name="second"))
        assert worker.stop() == 0
    plain(worker.log, f"can't send traces to {closed}: Connection refused")


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(401, "Unauthorized")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.usefixtures("closed")
def test_a_collector_that_refuses_is_named_with_its_answer(tmp_path, broker_url, monkeypatch):
    """By its status and words; a password in its URL isn't shown."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:s3cret@127.0.0.1:{server.server_port}")
        make_model(tmp_path / "model")
        rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
        options = {"model": tmp_path / "model", "out": tmp_path / "out", "broker": broker_url, "tracing": "otlp"}
        done = command("enqueue", rows, **options)
        server.shutdown()
        thread.join()
    assert done.returncode == 0, done.stderr
    plain(done.stderr, "/v1/traces: 401 Unauthorized; ")
    assert "s3cret" not in done.stderr
