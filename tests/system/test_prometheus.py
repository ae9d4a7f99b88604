"""A real Prometheus scrapes two workers and the exporter, while one worker is killed."""

import contextlib
import json
import re
import socket
import subprocess
import urllib.parse
import urllib.request

import pytest
from support.processes import check_outputs, eventually, make_rows, open_site
from support.promtool import program
from support.shell import environment, words
from support.skips import long

#: A busy machine may take a while to answer.
SCRAPE_SECONDS = 1.0
LEASE_SECONDS = 4.0


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


class Prometheus:
    """A server of the test's own.

    Args:
        folder: for its data.
        targets: job → addresses.
    """

    def __init__(self, folder, targets):
        self.url = f"http://127.0.0.1:{free_port()}"
        often = f"{SCRAPE_SECONDS * 1000:.0f}ms"
        config = {
            "global": {"scrape_interval": often, "scrape_timeout": often},
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self):
        eventually(self._ready, "a Prometheus that answers", 60)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _ready(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/-/ready").status == 200
        return False

    def ask(self, expression):
        """The samples of an expression now: labels and values."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}") as answer:
            return json.load(answer)["data"]["result"]

    def value(self, expression):
        """The one value of an expression; -1 where there is none."""
        found = self.ask(expression)
        return float(found[0]["value"][1]) if found else -1


def grown(samples):
    """By how much counters have grown since they were first seen, and what they began with, across restarts."""
    total = 0.0
    for series in samples:
        before = 0.0
        for _, text in series["values"]:
            now = float(text)
            total += now if now < before else now - before
            before = now
    return total


def published(prometheus):
    return grown(prometheus.ask('unrolled_worker_shards_total{outcome="published"}[1h]'))


@contextlib.contextmanager
def exporter(site, port):
    """`unrolled metrics` of a site."""
    with (site.root / "exporter.log").open("w") as log:
        process = subprocess.Popen(
            words("metrics"),
            env=environment(broker=site.broker_url, namespace=site.namespace, metrics_port=port),
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(30) == 143


def _shards_of(url):
    """The shards that a worker itself says that it has published."""
    with urllib.request.urlopen(url) as answer:
        found = re.search(r'unrolled_worker_shards_total\{outcome="published"\} (\S+)', answer.read().decode())
    return float(found[1])


def siege(tmp_path, broker_url, jobs, rows):
    """Run jobs on two workers, each of which both hold when the first is killed and started again at its address.

    Nothing is published between the last look of Prometheus at a worker and that worker's death, so all sums are exact.
    """
    program("prometheus")
    ports = [free_port() for _ in range(3)]
    targets = {"workers": [f"127.0.0.1:{port}" for port in ports[:2]], "queue": [f"127.0.0.1:{ports[2]}"]}
    with open_site(tmp_path, broker_url) as site, exporter(site, ports[2]), Prometheus(tmp_path, targets) as prometheus:
        plan = site.with_plan(gate=str(site.gate))

        def start(port):
            return site.worker(plan, metrics_port=port, lease_seconds=LEASE_SECONDS).wait_ready()

        first, second = map(start, ports[:2])
        for number in range(jobs):
            site.gate.unlink(missing_ok=True)
            made = make_rows(rows)
            job = site.enqueue(made, name=f"out{number}")
            eventually(lambda: prometheus.value("sum(unrolled_worker_on_board_shards)") >= 2, "shards on board")
            eventually(lambda: prometheus.value("min(unrolled_worker_on_board_shards)") >= 1, "both have some")
            both = "count(unrolled_ledger_shards and on (offer) unrolled_worker_info)"
            eventually(lambda both=both: prometheus.value(both) == 1, "workers and queue have one name for an offer")
            # One place has the queue's figures: two workers don't double them.
            eventually(lambda: prometheus.value("count(unrolled_ledger_shards)") == 1, "one series of the queue")
            eventually(lambda: prometheus.value("sum(unrolled_ledger_shards)") == rows // 2, "all shards in the ledger")
            first.kill()
            eventually(
                lambda: prometheus.value(f'up{{instance="{targets["workers"][0]}"}}') == 0, "a target that is down"
            )
            first = start(ports[0])
            site.gate.touch()
            site.wait_done(job, 120)
            check_outputs(job, made)
            shards = (number + 1) * rows // 2
            eventually(lambda shards=shards: published(prometheus) == shards, f"{shards} shards, as published")
            eventually(lambda: prometheus.value("sum(unrolled_ledger_shards)") == 0, "an empty ledger")
        live = sum(_shards_of(f"http://{address}/metrics") for address in targets["workers"])
        now = 'sum(unrolled_worker_shards_total{outcome="published"})'
        eventually(lambda: prometheus.value(now) == live, "what the workers say themselves")
        eventually(lambda: prometheus.value("sum(unrolled_ledger_workers)") == 2, "the dead ones are forgotten", 60)
        assert [worker.stop() for worker in (first, second)] == [0, 0]
        assert published(prometheus) == jobs * rows // 2


@pytest.mark.timeout(300)
def test_sums_are_right_through_a_workers_death(tmp_path, broker_url):
    """One death."""
    siege(tmp_path, broker_url, jobs=1, rows=40)


@pytest.mark.timeout(3600)
@long("some minutes")
def test_sums_are_right_through_many_deaths(tmp_path, broker_url):
    """At length."""
    siege(tmp_path, broker_url, jobs=15, rows=400)
