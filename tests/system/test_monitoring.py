"""Alerts, dashboard and the compose file that shows them: each expression is about a figure that is served."""

import json
import re
import subprocess

import jsonschema
import pytest
import yaml
from support.broker import RestartableBroker
from support.compose import ROOT, SCHEMA, load, merge
from support.jobs import make_job
from support.promtool import program

from producer.enqueue.summary import Summary
from producer.jobs.status_reader import StatusReader
from producer.queue.ledger_figures import LedgerFigures
from producer.terminal.figures import ProducerFigures
from unrolled.job.offer import Offer
from unrolled.queue.broker import Broker
from unrolled.telemetry.server import build_info
from worker.runtime.telemetry.figures import Now, figures
from worker.runtime.telemetry.metrics import Metrics

MONITORING = ROOT / "deploy" / "monitoring"
BOARD = json.loads((MONITORING / "grafana" / "dashboards" / "unrolled.json").read_text())
#: What the client library says of each process.
OF_PROCESSES = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Figures that some process of ours serves: name → labels."""
    producer = ProducerFigures()
    producer.queued(Summary())
    producer.looked(StatusReader(make_job(tmp_path_factory.mktemp("job"))).read())
    about = dict.fromkeys(("model", "engine", "arithmetic", "kernel", "threads"), "x")
    with RestartableBroker() as broker:
        server = Broker(broker.url)
        server.ledger("test", Offer("ab" * 32, "fused", "float32")).beat("host", {})
        queue = list(LedgerFigures(server, "test").collect())
        server.close()
    found = {}
    families = [
        build_info(),
        *figures(about, Metrics().tallies(), Now(0, 0, 0, 0, 0, 0)),
        *producer.collect(),
        *queue,
    ]
    for family in families:
        labels = {*family.values[0][0], "instance", "job"}
        if family.kind == "counter":
            found[f"{family.name}_total"] = labels
        elif family.kind == "histogram":
            found |= {f"{family.name}_{end}": labels | {"le"} for end in ("bucket", "sum", "count")}
        else:
            found[family.name] = labels
    return found | {name: {"instance", "job"} for name in OF_PROCESSES}


def names_in(expression):
    """The figures in an expression of PromQL."""
    return set(re.findall(r"\b(?:unrolled|process)_\w+", re.sub(r'"[^"]*"', '""', expression)))


def labels_in(expression):
    """Figure → the labels that the expression selects by."""
    return {
        name: set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
        for name, inside in re.findall(r"\b((?:unrolled|process)_\w+)\{([^}]*)\}", expression)
    }


def panels():
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("expression", [target["expr"] for panel in panels() for target in panel["targets"]])
def test_every_expression_of_the_dashboard_is_about_figures_that_exist(served, expression):
    """With labels that they have."""
    assert names_in(expression)
    assert names_in(expression) <= served.keys()
    for name, labels in labels_in(expression).items():
        assert labels <= served[name]


def test_the_dashboard_shows_every_figure_that_is_not_left_out_on_purpose(served):
    """A new figure is shown, or is listed here."""
    text = json.dumps(BOARD) + (MONITORING / "alerts.yml").read_text()
    left_out = {
        "unrolled_build_info", "unrolled_producer_read_bytes_total",
        "unrolled_producer_tokens_total", "unrolled_producer_quarantined_rows_total", "unrolled_producer_shards_total",
        "unrolled_producer_queued_shards_total",
    }  # fmt: skip
    missing = {name for name in served if name not in text and not name.endswith(("_sum", "_count", "_bucket"))}
    assert {name for name in missing if not name.startswith("unrolled_job_")} == left_out
    assert "unrolled_worker_shard_stage_seconds" in text


def test_the_dashboard_belongs_to_no_installation():
    """Its data source is a variable, every panel takes it, has a unit and says what it shows."""
    (source,) = [one for one in BOARD["templating"]["list"] if one["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["datasource"] == wanted
        assert all(target["datasource"] == wanted for target in panel["targets"])
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith(".")
    assert {one["type"] for one in BOARD["__requires"]} == {"grafana", "datasource"}
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_panels_do_not_overlap():
    """Each has a place of its own on a grid of 24 columns."""
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_every_alert_is_about_figures_that_exist(served):
    """And says what it means, and how grave it is."""
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]:
        assert names_in(rule["expr"]) <= served.keys(), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_alerts_fire_when_they_should_and_only_then():
    """By Prometheus's own test of rules; every alert is tested both ways."""
    rules, tests = MONITORING / "alerts.yml", MONITORING / "alerts.test.yml"
    for what in (["check", "rules", rules], ["test", "rules", tests]):
        done = subprocess.run([program("promtool"), *what], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    alerts = {rule["alert"] for rule in yaml.safe_load(rules.read_text())["groups"][0]["rules"]}
    asked = [one for test in yaml.safe_load(tests.read_text())["tests"] for one in test["alert_rule_test"]]
    assert {one["alertname"] for one in asked if one["exp_alerts"]} == alerts
    assert {one["alertname"] for one in asked if not one["exp_alerts"]} == alerts


def test_the_compose_file_is_valid_and_wires_everything():
    """By the official schema; Prometheus asks the ports that are set, Grafana finds Prometheus and the dashboard."""
    document = merge(load("docker-compose.yml"), load("docker-compose.observability.yml"))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    services = document["services"]
    scraped = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    (workers,) = [one["dns_sd_configs"][0] for one in scraped if "dns_sd_configs" in one]
    assert workers["names"] == ["worker"]
    assert str(workers["port"]) == services["worker"]["environment"]["UNROLLED_METRICS_PORT"]
    (queue,) = [one["static_configs"][0]["targets"] for one in scraped if "static_configs" in one]
    assert queue == [f"exporter:{services['exporter']['environment']['UNROLLED_METRICS_PORT']}"]
    for name in ("exporter", "prometheus", "grafana"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in services[name].get("ports", []))
        for mount in services[name].get("volumes", []):
            if mount.startswith("./"):
                assert (ROOT / mount.split(":")[0]).exists()
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    (boards,) = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/unrolled.yml").read_text())["providers"]
    assert f"./deploy/monitoring/grafana/dashboards:{boards['options']['path']}:ro" in services["grafana"]["volumes"]


def test_prometheus_takes_its_configuration(tmp_path):
    """By its own check, with the rules at the place that the configuration names."""
    text = (MONITORING / "prometheus.yml").read_text().replace("/etc/prometheus", str(MONITORING))
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [program("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
