"""The worker as a program: how it starts, what it says, and what it never says."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest
import redis
from kombu.asynchronous import Hub
from support.broker import RestartableBroker
from support.kernels import needs_kernel
from support.processes import (
    REPOSITORY,
    WorkerProcess,
    check_outputs,
    eventually,
    left,
    make_model,
    make_rows,
    open_site,
    published_rows,
    worker_parts,
)

from unrolled.errors import BrokenWorkerError
from unrolled.queue.messages import TASK
from worker.app import _wake_at_signals, create_app
from worker.runtime.outcome import Outcome
from worker.settings import Settings

SECRET = "s3cr3t-of-the-test"


@pytest.fixture
def site(tmp_path, broker_url):
    with open_site(tmp_path, broker_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "model")


@pytest.fixture
def locked_broker():
    """A server that asks for a password, and the URL with it."""
    with RestartableBroker(port=0) as server:
        redis.Redis.from_url(server.url).config_set("requirepass", SECRET)
        yield server, server.url.replace("//", f"//:{SECRET}@")


def run(*command, **environ):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UNROLLED_")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={**kept, "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


STOCK = ("celery", "-A", "worker.app", "worker")
OURS = ("producer", "worker")


@pytest.mark.parametrize(
    ("command", "environ", "said"),
    [
        (STOCK, {}, "UNROLLED_BROKER is not set"),
        (STOCK, {"UNROLLED_BROKER": "redis://h"}, "UNROLLED_MODEL is not set"),
        (STOCK, {"UNROLLED_BROKER": "redis://h", "UNROLLED_MODEL": "/nowhere"}, "/nowhere"),
        (
            STOCK,
            {"UNROLLED_BROKER": "redis://h", "UNROLLED_MODEL": "MODEL", "UNROLLED_THREADS": "x"},
            "THREADS: 'x' is not a whole number",
        ),
        (STOCK, {"UNROLLED_BROKER": f"amqp://u:{SECRET}@h", "UNROLLED_MODEL": "MODEL"}, "redis://"),
        (OURS, {"UNROLLED_BROKER": f"amqp://u:{SECRET}@h", "UNROLLED_MODEL": "MODEL"}, "redis://"),
        (OURS, {"UNROLLED_BROKER": "redis://h", "UNROLLED_MODEL": "/nowhere"}, "/nowhere"),
        (OURS, {"UNROLLED_BROKER": "redis://h", "UNROLLED_MODEL": "MODEL", "UNROLLED_LEASE_SECONDS": "0"}, "lease"),
    ],
)
def test_a_start_that_can_not_be_ends_with_one_clear_line(model, command, environ, said):
    """No traceback, no secret, an exit status that isn't 0."""
    result = run(*command, **{name: value.replace("MODEL", str(model.path)) for name, value in environ.items()})
    assert result.returncode != 0
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert SECRET not in result.stderr + result.stdout
    (line,) = [line for line in result.stderr.splitlines() if "Error" in line]
    assert said in line


@needs_kernel  # the job is for the fused engine
def test_stock_celery_runs_the_worker(site):
    """`celery -A worker.app worker` publishes a shard with an engine of its own choice, and SIGTERM ends it."""
    command = [sys.executable, "-m", *STOCK, "--loglevel=INFO"]
    worker = WorkerProcess(site.environ(), site.root / "log", command)
    site.workers.append(worker)
    rows = make_rows(6)
    job = site.enqueue(rows)
    site.wait_done(job, seconds=60)
    assert published_rows(job).keys() == {row.id for row in rows}
    assert worker.stop() == 0
    assert "Traceback" not in worker.log


def test_no_secret_is_said_or_shown(locked_broker, tmp_path):
    """With a password in the URL, through an outage and a refused login: not in a log, nor in the list of processes."""
    server, url = locked_broker
    with open_site(tmp_path, url) as site:
        worker = site.worker().wait_ready()
        assert SECRET not in " ".join(psutil.Process(worker.pid).cmdline())
        server.kill()
        eventually(lambda: "can't send the heartbeat" in worker.log, "the worker to notice")
        server.start()
        redis.Redis.from_url(server.url).config_set("requirepass", SECRET)
        rows = make_rows(6)
        job = site.enqueue(rows)
        site.wait_done(job)
        check_outputs(job, rows)
        refused = site.worker(broker=url.replace(SECRET, f"wrong-{SECRET}"))
        assert refused.wait() == 75
        assert refused.log.count("\n") == 2, refused.log
        assert "refuses: " in refused.log
        assert "Traceback" not in worker.log + refused.log
        assert SECRET not in worker.log + refused.log


@pytest.mark.parametrize("with_work", [True, False])
def test_a_full_broker_is_logged_once(tmp_path, with_work):
    """Whatever the worker tries again and again, its log has no traceback, and it works when there is room."""
    with RestartableBroker(port=0) as server, open_site(tmp_path, server.url) as site:
        client = redis.Redis.from_url(server.url)
        worker = site.worker(replace(site.plan, gate=str(site.gate))).wait_ready()
        rows = make_rows(20)
        jobs = [site.enqueue(rows)] if with_work else []

        def refused():
            return client.info("stats")["total_error_replies"]

        client.config_set("maxmemory", "1")
        site.gate.touch()
        before = refused()
        eventually(lambda: "maxmemory" in worker.log, "the worker to say what is wrong")
        eventually(lambda: refused() > before + 20, "it to try many times")
        client.config_set("maxmemory", "0")
        jobs.append(site.enqueue(rows, name="later"))
        for job in jobs:
            site.wait_done(job)
            check_outputs(job, rows)
        assert "CRITICAL" not in worker.log
        assert "Traceback" not in worker.log
        assert worker.log.count("Connected to") <= 3


def test_the_log_of_a_worker_is_calm(site):
    """Root or not, with a job or without: nothing but what a person needs, and a line for each shard."""
    worker = site.worker().wait_ready()
    site.wait_done(site.enqueue(make_rows(10)))
    eventually(lambda: worker.log.count(" is published") == 5, "the lines of the shards")
    assert worker.stop() == 0
    lines = [line for line in worker.log.splitlines() if line.strip()]
    assert len(lines) == 10, worker.log
    published = [" is published"] * 5
    expected = (
        "worker.runtime.assembly: model",
        "Connected to",
        "ready.",
        *published,
        "stopping after SIGTERM",
        "5 shards, ",
    )
    for line, said in zip(lines, expected, strict=True):
        assert said in line


def test_a_message_asks_for_two_values(site):
    """The task drops a message of another shape; the shards are in the ledger."""
    app = create_app(Settings(broker=site.broker_url, model=site.model.path), lambda *_: None)
    with worker_parts(site) as app.assembly:
        assert app.tasks[TASK]() == Outcome.DROPPED
        assert app.tasks[TASK]("a", "b", "c") == Outcome.DROPPED
    app.close()


def test_two_apps_of_one_process_have_each_its_own_task(site):
    """Celery hands a task to each app of a process that is told to share it: the first one's parts, to the second."""
    settings = Settings(broker=site.broker_url, model=site.model.path)
    first, second = (create_app(settings, lambda *_: None) for _ in range(2))
    with worker_parts(site) as second.assembly:
        assert second.tasks[TASK]() == Outcome.DROPPED
    with pytest.raises(BrokenWorkerError, match="before the worker had started"):
        first.tasks[TASK]()
    first.close()
    second.close()


def test_only_our_queue_is_consumed_and_only_json_taken(site):
    """The settings that the promises rest on are what the app says."""
    app = create_app(Settings(broker=site.broker_url, model=site.model.path, engine="fused"), lambda *_: None)
    assert [queue.name for queue in app.amqp.queues.consume_from.values()] == [site.queue_key.partition(":")[2]]
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_acks_late
    assert app.conf.worker_pool == "threads"
    assert app.conf.result_backend is None
    app.close()


def test_importing_the_app_reads_nothing():
    """Settings are read when `app` is asked for, not at import; TensorFlow is loaded by its engine alone."""
    code = "import sys, worker.app, worker.cli.worker; sys.exit('tensorflow' in sys.modules)"
    assert run("-c").returncode != 0  # the helper reports failures
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False, env={"PATH": os.environ["PATH"]})
    assert result.returncode == 0


def test_an_engine_that_can_not_start_ends_the_worker_with_one_line(site):
    """Exit status 75 and the reason; no shard is touched."""
    job = site.enqueue(make_rows(2))
    worker = WorkerProcess(site.environ(), site.root / "log", [sys.executable, "-c", NO_ENGINE])
    site.workers.append(worker)
    assert worker.wait() == 75
    assert "no engine here" in worker.log
    assert "Traceback" not in worker.log
    assert len(left(job)) == 1


def test_a_model_that_is_removed_while_the_worker_starts(site):
    """Exit status 1, as if it hadn't been there; the file that is missing is named."""
    worker = WorkerProcess(site.environ(), site.root / "log", [sys.executable, "-c", NO_MODEL])
    site.workers.append(worker)
    assert worker.wait() == 1
    assert "model.safetensors: isn't there any more; restore it from your copy" in worker.log
    assert "Traceback" not in worker.log


NO_MODEL = """
import sys
from worker.cli.worker import choose_and_measure, run_worker
from worker.settings import Settings

def make_engine(settings, model):
    (model.path / "model.safetensors").rename(model.path / "elsewhere")
    return choose_and_measure(settings, model)

sys.exit(run_worker(Settings.from_environ(), "INFO", make_engine))
"""


NO_ENGINE = """
import sys
from unrolled.errors import UnrolledError
from worker.cli.worker import run_worker
from worker.settings import Settings

def make_engine(settings, model):
    raise UnrolledError("no engine here: install one")

sys.exit(run_worker(Settings.from_environ(), "INFO", make_engine))
"""


def test_a_worker_without_any_engine_ends_as_one_whose_engine_can_not_start(site):
    """By default it takes the engine that is installed."""
    worker = WorkerProcess(site.environ(engine="auto"), site.root / "log", [sys.executable, "-c", NEITHER])
    site.workers.append(worker)
    assert worker.wait() == 75
    assert "CRITICAL worker.cli.worker: the kernel is missing; the tensorflow engine needs TensorFlow" in worker.log
    assert "Traceback" not in worker.log


NEITHER = """
import sys
from worker.cli.worker import run_worker
from worker.engines import choice
from worker.settings import Settings

choice.why_unavailable = lambda: "the kernel is missing"
choice.find_spec = lambda _: None
sys.exit(run_worker(Settings.from_environ(), "INFO"))
"""


def test_the_worker_is_a_program_with_help():
    """`unrolled worker --help` names every setting by its flag."""
    result = run("producer", "worker", "--help")
    assert result.returncode == 0
    for name in Settings.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in result.stdout


def test_a_signal_ends_the_wait_for_a_message():
    """Python goes on waiting after a signal's handler; what Celery waits for is readable then, so that it stops."""
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    hub = Hub()
    try:
        _wake_at_signals(hub)
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        events = hub.poller.poll(60)
        assert [fd for fd, _ in events] == [hub.wakers[1].fileno()]
        callback, arguments = hub.readers[events[0][0]]
        callback(*arguments)
        assert not hub.poller.poll(0)
        timer.join()
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
        hub.close()
        for end in hub.wakers:
            end.close()
