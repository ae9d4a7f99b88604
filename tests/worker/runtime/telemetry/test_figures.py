"""What a worker serves to Prometheus."""

import re
import subprocess
import sys
import urllib.request

from support.processes import check_outputs, eventually, make_rows, open_site, worker_parts
from support.promtool import check_metrics
from support.shell import REPOSITORY

from unrolled.telemetry.server import text
from worker.engines.engine import PoolStats
from worker.runtime.outcome import Outcome
from worker.runtime.telemetry.figures import Now, figures
from worker.runtime.telemetry.metrics import SHARD_STAGES, Metrics

ABOUT = {
    "offer": "ab" * 6 + "-fused-float32",
    "model": "ab" * 6,
    "engine": "fused",
    "arithmetic": "float32",
    "kernel": "avx512",
    "threads": "2",
}


def made():
    metrics = Metrics()
    metrics.computed(rows=3, seconds=2.0, stats=PoolStats(100, 80, 0.5), waits=[0.1])
    metrics.ended(Outcome.PUBLISHED)
    return list(figures(ABOUT, metrics.tallies(), Now(2, 1.5, 0.25, 100, 1000, 1)))


def test_names_follow_the_rules():
    """One prefix, base units in the plural, `_total` and `_info` where they belong, a help text, and few labels."""
    for family in made():
        assert re.fullmatch(r"unrolled_worker_[a-z_]+", family.name)
        assert family.help.endswith(".")
        assert not re.search(r"milli|micro|_ms\b|_mb|_count$|_total$", family.name)
        for labels, _ in family.values:
            assert set(labels) <= {"outcome", "stage", *ABOUT}
            assert labels.keys() == family.values[0][0].keys()
    assert check_metrics(text(made)) == ""


def test_every_outcome_and_stage_is_there_from_the_start():
    """A counter that appears with its first event would hide that event from `increase`."""
    found = {family.name: family for family in figures(ABOUT, Metrics().tallies(), Now(0, 0, 0, 0, 0, 0))}
    assert {labels["outcome"] for labels, _ in found["unrolled_worker_shards"].values} == {
        one.name.lower() for one in Outcome
    }
    assert {labels["stage"] for labels, _ in found["unrolled_worker_shard_stage_seconds"].values} == set(SHARD_STAGES)


def test_a_live_worker_serves_what_it_has_done(tmp_path, broker_url):
    """Over HTTP, valid by Prometheus's own check, and equal to what was published."""
    with open_site(tmp_path, broker_url) as site:
        rows = make_rows(10)
        worker = site.worker(metrics_port=0).wait_ready()
        url = re.search(r"figures for Prometheus: (\S+)", worker.log)[1]
        assert url.startswith("http://127.0.0.1:")
        job = site.enqueue(rows)
        site.wait_done(job)
        check_outputs(job, rows)

        def exposition():
            with urllib.request.urlopen(url) as answer:
                return answer.read().decode()

        eventually(lambda: 'unrolled_worker_shards_total{outcome="published"} 5.0' in exposition(), "five shards")
        found = exposition()
        assert check_metrics(found) == ""
        assert "unrolled_worker_rows_total 10.0" in found
        for stage in SHARD_STAGES:
            assert f'unrolled_worker_shard_stage_seconds_count{{stage="{stage}"}} 5.0' in found
        assert worker.stop() == 0


def test_a_worker_serves_nothing_unless_it_is_asked_to(tmp_path, broker_url):
    """No port, no thread, and nothing of the packages is imported (redis imports a part of OpenTelemetry by itself)."""
    with open_site(tmp_path, broker_url) as site, worker_parts(site) as assembly:
        assert assembly._server is None
        assert {family.name for family in assembly.figures()} == {family.name for family in made()}
    code = "import sys, worker.app, worker.runtime.assembly; print([m for m in sys.modules if m.startswith(PREFIXES)])"
    code = code.replace("PREFIXES", "('prometheus_client', 'opentelemetry.instrumentation', 'opentelemetry.exporter')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"
