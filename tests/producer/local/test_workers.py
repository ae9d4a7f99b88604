"""Worker processes are started again when they die, unless that is hopeless, and never outlive their owner."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from support.processes import eventually
from support.shell import ENGINE, REPOSITORY, children, environment, gone, make_model

from producer.local.deaths import Deaths, Settled
from producer.local.workers import UNUSABLE, Workers, _own_port
from unrolled.errors import TransientError, UnrolledError

DEATHS = Deaths(2, 3, lambda: Settled(0, 0))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "model").path


@pytest.fixture
def settings(model, broker_url):
    return {"UNROLLED_BROKER": broker_url, "UNROLLED_MODEL": str(model), "UNROLLED_ENGINE": ENGINE}


def workers_of(pid):
    return children(pid, "worker")


def ready(logs, count):
    eventually(lambda: sum(log.read_text().count(" ready.") for log in logs.glob("*.log")) >= count, "workers ready")


def unchanged():
    """The model has not changed."""


def never():
    raise AssertionError("a failure was reported")


def test_workers_run_until_the_end_of_the_block(tmp_path, settings):
    """As many as asked for, in a process group that Ctrl-C doesn't reach, and none afterwards; all end in order."""
    before = psutil.Process().children()
    with Workers(2, settings, tmp_path / "logs", never, DEATHS, unchanged):
        ready(tmp_path / "logs", 2)
        found = workers_of(os.getpid())
        assert len(found) == 2
        assert os.getpgrp() not in {os.getpgid(worker.pid) for worker in found}
        assert not any(settings["UNROLLED_BROKER"] in word for worker in found for word in worker.cmdline())
    assert gone(found)
    assert psutil.Process().children() == before
    logs = sorted((tmp_path / "logs").iterdir())
    assert [log.name for log in logs] == ["worker-0.log", "worker-1.log"]
    assert all("stopping after SIG" in log.read_text() for log in logs)


def test_a_worker_that_died_is_started_again(tmp_path, settings, capsys):
    """That is said, and the new one appends to the log of the one that died."""
    with Workers(1, settings, tmp_path, never, DEATHS, unchanged):
        ready(tmp_path, 1)
        (first,) = workers_of(os.getpid())
        first.send_signal(signal.SIGKILL)
        ready(tmp_path, 2)
        (second,) = workers_of(os.getpid())
        assert second.pid != first.pid
    assert gone([second])
    log = tmp_path / "worker-0.log"
    assert capsys.readouterr().err == (
        "a worker died (signal 9), and was started again; what it held, if anything, is queued again "
        "after 30 seconds and a few more; "
        f"its log: {log}\n"
    )


def test_a_worker_that_was_stopped_in_order_has_not_died(tmp_path, settings, capsys):
    """It has given back what it held, so nothing waits for its lease."""
    with Workers(1, settings, tmp_path, never, DEATHS, unchanged):
        ready(tmp_path, 1)
        (first,) = workers_of(os.getpid())
        first.terminate()
        ready(tmp_path, 2)
    log = tmp_path / "worker-0.log"
    assert capsys.readouterr().err == f"a worker ended (exit status 0), and was started again; its log: {log}\n"


def test_a_worker_that_died_with_its_watchdog_is_started_again(tmp_path, settings, capsys):
    """Any process may be killed: the new worker has a watchdog of its own, and a worker that lives on ends as ever."""
    with Workers(2, settings, tmp_path, never, DEATHS, unchanged) as workers:
        ready(tmp_path, 2)
        watchdog = psutil.Process(workers._watchdog.group)
        watchdog.kill()
        before = workers_of(os.getpid())
        before[0].send_signal(signal.SIGKILL)
        ready(tmp_path, 3)
        after = workers_of(os.getpid())
        assert len(after) == 2
        assert workers._watchdog.group != watchdog.pid
        new = next(process for process in after if process.pid not in [one.pid for one in before])
        assert os.getpgid(new.pid) == workers._watchdog.group
    assert gone(after)
    assert capsys.readouterr().err.startswith("a worker died (signal 9), and was started again; what it held")


def resume_when_told_to_end(process):
    """Let a suspended process go on once SIGTERM waits for it."""
    about = Path(f"/proc/{process.pid}/status")
    bit = 1 << (signal.SIGTERM - 1)
    eventually(lambda: int(re.search(r"ShdPnd:\s*(\w+)", about.read_text())[1], 16) & bit, "the signal")
    process.resume()


def test_no_worker_is_killed_within_its_grace(tmp_path, settings, monkeypatch):
    """A worker that is busy at the end of the block has the whole grace, however long that is."""
    monkeypatch.setattr("producer.local.workers.ENDING_SECONDS", 0.0)
    with Workers(1, settings | {"UNROLLED_GRACE_SECONDS": "60"}, tmp_path, never, DEATHS, unchanged):
        ready(tmp_path, 1)
        (worker,) = workers_of(os.getpid())
        worker.suspend()
        eventually(
            lambda: worker.status() == psutil.STATUS_STOPPED, "the worker to stop"
        )  # else it may take the signal
        helper = threading.Thread(target=resume_when_told_to_end, args=[worker])
        helper.start()
    helper.join()
    assert "stopping after SIGTERM" in (tmp_path / "worker-0.log").read_text()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"UNROLLED_ENGINE": "abacus"}, "'abacus' is not one of"),
        ({"UNROLLED_ENGINE": "tensorflow", "UNROLLED_ARITHMETIC": "bfloat16"}, "take --engine fused for bfloat16"),
        ({"UNROLLED_THREADS": "0"}, "0 is not in the range 1<=x<=1024"),
        ({"UNROLLED_MODEL": "/nowhere"}, "/nowhere: does not exist"),
    ],
)
def test_a_worker_that_can_not_start_is_no_reason_to_try_again(tmp_path, settings, variables, said):
    """It is started once; the failure has its last line and its log's path, and is reported until the block ends."""
    calls = []
    with Workers(1, settings | variables, tmp_path, lambda: calls.append(1), DEATHS, unchanged) as crew:
        eventually(lambda: calls, "the failure")
        assert said in str(crew.failure)
        assert f"Its log: {tmp_path / 'worker-0.log'}" in str(crew.failure)
        assert any(f"(exit status {status})" in str(crew.failure) for status in UNUSABLE)
        assert workers_of(os.getpid()) == []
    assert (tmp_path / "worker-0.log").read_text().count(said) == 1


def test_logs_that_can_not_be_written_are_an_error(tmp_path, settings):
    """Nothing is left running."""
    (tmp_path / "worker-1.log").mkdir()
    before = psutil.Process().children()
    with pytest.raises(UnrolledError, match=r"the workers can't be started: .*worker-1\.log"):
        Workers(2, settings, tmp_path, never, DEATHS, unchanged).__enter__()
    assert psutil.Process().children() == before
    (tmp_path / "file").touch()
    with pytest.raises(TransientError, match=r"cannot create .*/file/logs: Not a directory; "):
        Workers(2, settings, tmp_path / "file" / "logs", never, DEATHS, unchanged).__enter__()


OWNER = """
import sys, time
from pathlib import Path
from producer.local.deaths import Deaths, Settled
from producer.local.workers import Workers
settings = dict(word.split("=", 1) for word in sys.argv[2:])
deaths = Deaths(2, 3, lambda: Settled(0, 0))
with Workers(2, settings, Path(sys.argv[1]), lambda: None, deaths, lambda: None):
    time.sleep(600)
"""


def test_workers_end_with_a_killed_owner(tmp_path, settings):
    """`kill -9` leaves nothing behind: neither workers, one of which was started again, nor what watches them."""
    given = [f"{name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-c", OWNER, str(tmp_path), *given]
    with subprocess.Popen(command, env=environment(), cwd=REPOSITORY) as owner:
        ready(tmp_path, 2)
        workers_of(owner.pid)[0].send_signal(signal.SIGKILL)
        ready(tmp_path, 3)
        below = psutil.Process(owner.pid).children(recursive=True)
        assert len(workers_of(owner.pid)) == 2
        owner.kill()
    eventually(lambda: gone(below), f"nothing left of {below}", 60)
    assert sum(log.read_text().count("stopping after SIG") for log in tmp_path.glob("*.log")) == 2


def test_each_worker_has_a_port_for_figures_of_its_own():
    """The ports after that of `unrolled run` itself; none without one, and any for each with 0."""
    assert _own_port({"UNROLLED_METRICS_PORT": "9150"}, 0) == {"UNROLLED_METRICS_PORT": "9151"}
    assert _own_port({"UNROLLED_METRICS_PORT": "9150"}, 2) == {"UNROLLED_METRICS_PORT": "9153"}
    for given in ({}, {"UNROLLED_METRICS_PORT": ""}, {"UNROLLED_METRICS_PORT": "0"}):
        assert _own_port(given, 1) == {}
