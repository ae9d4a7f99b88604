"""Figures for Prometheus from a producer's commands, and their lines as JSON."""

import json
import re
import subprocess
import urllib.request

import pytest
from support.jobs import make_job
from support.processes import eventually
from support.promtool import check_metrics
from support.shell import Crew, end, make_model, unrolled, write_rows

from unrolled.job.offer import Offer
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker


@pytest.fixture
def crew():
    with Crew() as opened:
        yield opened


def served(process):
    """The figures of a command that has said where they are."""
    found = None
    while not found:
        line = process.stderr.readline()
        assert line, "the command ended"
        found = re.search(r"figures for Prometheus: (http://127\.0\.0\.1:\d+/metrics)", line)

    def ask():
        with urllib.request.urlopen(found[1]) as answer:
            return answer.read().decode()

    return ask


def test_the_queues_figures_are_served_until_the_command_is_ended(broker, crew):
    """They follow the queue; SIGTERM ends the command in order."""
    ask = served(crew.start("metrics", "--metrics-port", 0, broker=broker.url, namespace="test"))
    assert "unrolled_broker_up 1.0" in ask()
    offer = Offer("ab" * 32, "fused", "float32")
    Broker(broker.url).ledger("test", offer).beat("host", {})
    found = ask()
    assert f'unrolled_ledger_workers{{offer="{offer.short}"}} 1.0' in found
    assert check_metrics(found) == ""
    assert end(crew._processes[-1]) == 143


def test_a_later_refusal_is_a_figure_and_one_line(broker, crew):
    """However often Prometheus asks; another line says that the broker lets it in again, and the command goes on."""
    process = crew.start("metrics", "--metrics-port", 0, broker=broker.url)
    ask = served(process)
    admin = Broker(broker.url).client
    for _ in range(2):
        assert "unrolled_broker_up 1.0" in ask()
        admin.config_set("requirepass", "secret")
        admin.client_kill_filter(skipme=True)
        assert "unrolled_broker_up 0.0" in ask()
        assert "unrolled_broker_up 0.0" in ask()
        line = process.stderr.readline()
        assert "can't read the queue's figures: broker" in line
        assert "refuses: it wants a password, and the URL has none" in line
        admin.config_set("requirepass", "")
        assert "unrolled_broker_up 1.0" in ask()
        assert "can read the queue's figures again" in process.stderr.readline()
    assert end(process) == 143


def test_figures_can_be_printed_once(broker):
    """For a file that another exporter serves, beside its own process's figures; a broker that is away is no error."""
    done = unrolled("metrics", "--once", broker=broker.url)
    assert (done.returncode, check_metrics(done.stdout), done.stderr) == (0, "", "")
    assert "\nprocess_" not in done.stdout
    broker.kill()
    done = unrolled("metrics", "--once", "--log-format", "json", broker=broker.url)
    assert (done.returncode, "unrolled_broker_up 0.0" in done.stdout) == (0, True)
    line = json.loads(done.stderr)
    assert (line["level"], line["message"].partition(": ")[0]) == ("WARNING", "can't read the queue's figures")


@pytest.mark.parametrize("options", [(), ("--once", "--metrics-port", "0")])
def test_either_served_or_printed(options):
    """Anything else is wrong usage."""
    done = unrolled("metrics", "--broker", "redis://localhost:1/0", *options)
    assert done.returncode == 2
    assert "either --metrics-port, to serve the figures, or --once, to print them" in done.stderr


def test_the_bytes_of_a_stream_are_counted(tmp_path, crew, broker):
    """As they come."""
    options = {"model": make_model(tmp_path / "model").path, "out": tmp_path / "out", "broker": broker.url}
    words = ("enqueue", "--follow", "-", "--format", "jsonl", "--flush-seconds", 0.2, "--metrics-port", 0)
    process = crew.start(*words, stdin=subprocess.PIPE, **options)
    ask = served(process)
    row = '{"id": "a", "tokens": [1, 2]}\n'
    process.stdin.write(row)
    process.stdin.flush()
    eventually(lambda: "unrolled_producer_rows_total 1.0" in ask(), "the row")
    assert f"unrolled_producer_read_bytes_total {len(row)}.0" in ask()
    process.stdin.close()
    assert process.wait(60) == 0


def test_wait_serves_how_far_its_job_is(tmp_path, crew):
    """From its first look on."""
    make_job(tmp_path / "out", shards=3)
    ask = served(crew.start("wait", tmp_path / "out", "--metrics-port", 0))
    eventually(lambda: "unrolled_job_shards 3.0" in ask(), "the job's shards")
    found = ask()
    assert "unrolled_job_complete 0.0" in found
    assert check_metrics(found) == ""


def test_what_is_in_the_way_is_a_warning(tmp_path):
    """For programs, as in a worker's log."""
    make_job(tmp_path / "out", shards=3)
    words = ("wait", tmp_path / "out", "--timeout", "2")
    done = unrolled(*words, broker="redis://localhost:1/0", log_format="json")
    levels = {line["message"].partition(":")[0]: line["level"] for line in map(json.loads, done.stderr.splitlines())}
    assert levels["can't see the queue"] == "WARNING"
    assert "INFO" in levels.values()


def test_each_line_of_a_command_that_logs_as_json_is_an_object(tmp_path):
    """Of a whole job, whose workers log so too, and of an error."""
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {f"row-{number}": [1, 2, 3] for number in range(20)})
    words = ("run", "rows.jsonl", "--model", "model", "--out", "out")
    done = unrolled(*words, "--json", "--metrics-port", "0", cwd=tmp_path, log_format="json")
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out" / "_unrolled" / "logs").iterdir()
    lines = [json.loads(line) for line in (done.stderr + log.read_text()).splitlines()]
    assert {"unrolled", "celery.apps.worker", "worker.runtime.assembly"} <= {line["logger"] for line in lines}
    assert {"time", "level", "logger", "message", "thread"} <= set.intersection(*map(set, lines))
    assert any(re.fullmatch(r"[0-9a-f]{16}", line.get("job", "")) for line in lines)
    (report,) = (line for line in lines if line["message"].startswith("report: "))
    assert "job" in report
    assert sum("figures for Prometheus" in line["message"] for line in lines) == 2
    done = unrolled("wait", "nowhere", cwd=tmp_path, log_format="json")
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, line["level"], "job" in line) == (1, "ERROR", False)
    assert "nowhere" in line["message"]


def test_the_last_lines_about_a_job_have_its_key(tmp_path, broker):
    """What keeps it from its end is a warning, without the arrow that marks it for people; and so has an error."""
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {"a": [1, 2, 3]})
    common = {"broker": broker.url, "cwd": tmp_path, "log_format": "json"}
    done = unrolled("enqueue", "rows.jsonl", "--model", "model", "--out", "out", **common)
    key = open_job(tmp_path / "out").key
    *_, last = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, last["level"], last["job"]) == (0, "WARNING", key)
    assert last["message"].startswith("no worker offers what this job asks for")
    assert unrolled("cancel", "out", broker=broker.url, cwd=tmp_path).returncode == 0
    done = unrolled("wait", "out", **common)
    *_, last = map(json.loads, done.stderr.splitlines())
    assert (done.returncode, last["level"], last["job"]) == (1, "ERROR", key)
