"""What a worker's spans say of its shards."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.processes import make_rows, open_site, worker_parts

from unrolled.telemetry import tracing
from worker.runtime import assembly

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is missing: pip install '.[tracing]'")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture
def recorded(monkeypatch):
    """A worker made in the test records its spans here."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(assembly, "start_tracing", lambda *_: tracing.RecordedSpans(provider))
    return exporter.get_finished_spans


def test_a_shard_has_its_stages_and_its_pool_links_to_it(tmp_path, broker_url, recorded):
    """Waiting, reading and writing are inside of the shard's span; the pool's is apart, as it is of many shards."""
    with open_site(tmp_path, broker_url) as site:
        sent = []
        job = site.enqueue(make_rows(2))
        with worker_parts(site, send=sent.append) as parts:
            (life,) = site.ledger.members(job.key)[0]
            assert parts.service.handle([job.key, str(life)]) == "published"
    spans = {span.name: span for span in recorded()}
    assert set(spans) == {"shard", "room_wait", "read", "compute", "write"}
    shard = spans["shard"]
    assert dict(shard.attributes) == {"unrolled.job": job.key, "unrolled.shard": str(life.shard)}
    for stage in ("room_wait", "read", "write"):
        assert spans[stage].parent.span_id == shard.context.span_id
    compute = spans["compute"]
    assert compute.parent is None
    assert [link.context.span_id for link in compute.links] == [shard.context.span_id]
    assert compute.context.trace_id != shard.context.trace_id
    assert compute.attributes["unrolled.shards"] == 1


def test_a_shard_that_fails_says_so_in_its_span(tmp_path, broker_url, recorded):
    """The error that put it off is in the span of its stage."""
    with open_site(tmp_path, broker_url) as site, worker_parts(site) as parts:
        assert parts.service.handle(["nonsense"]) == "dropped"
    (span,) = recorded()
    assert span.name == "shard"
    assert dict(span.attributes) == {}


@pytest.fixture
def collector(monkeypatch):
    """A server that takes spans as OpenTelemetry's collectors do; what it has taken."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                taken.extend((names["service.name"], span) for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield taken
        server.shutdown()
        thread.join()


def test_a_workers_spans_reach_a_collector(tmp_path, broker_url, collector):
    """Celery's span of each message contains the shard's; a pool links to the shards that it has computed."""
    with open_site(tmp_path, broker_url) as site:
        worker = site.worker(tracing="otlp").wait_ready()
        job = site.enqueue(make_rows(8))
        site.wait_done(job)
        assert worker.stop() == 0, worker.log
    assert {service for service, _ in collector} == {"unrolled-worker"}
    spans = [span for _, span in collector]
    shards = {span.span_id: span for span in spans if span.name == "shard"}
    messages = {span.span_id for span in spans if span.name == "run/unrolled.shard"}
    named = {number: {one.key: one.value.string_value for one in span.attributes} for number, span in shards.items()}
    # On a busy machine, a message may be sent again, and find its shard published.
    assert len(shards) >= 4
    assert {span.parent_span_id for span in shards.values()} <= messages
    linked = [link.span_id for span in spans if span.name == "compute" for link in span.links]
    assert len(linked) == len({named[number]["unrolled.shard"] for number in linked}) == 4
