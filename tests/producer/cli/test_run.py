"""`unrolled run`: a whole job by one command, on a machine where anything may end at any moment."""

import contextlib
import json
import os
import pty
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import psutil
import pytest
from support.jobs import record_death, waiting
from support.processes import eventually, let_echoes_end
from support.shell import ENGINE, UNITS, Crew, children, end, gone, make_model, unrolled, words, write_rows
from support.skips import unless

from producer.jobs.verify import verify_job
from producer.local.broker_record import BROKER_FILE
from producer.local.run import LOGS, _check_unchanged
from unrolled.errors import ModelError
from unrolled.job import names
from unrolled.model.directory import open_model
from unrolled.protocol.opening import open_job
from unrolled.reading.dataset import open_dataset

ROWS = {f"row-{number}": [1 + number % 50, 0, 2, 3][: number % 5] for number in range(1000)}


@pytest.fixture
def place(tmp_path):
    """A directory with a model and rows, and files that are named like modules and are none of ours."""
    for module in ("click", "redis", "celery", "numpy", "queue"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('a file of the user was run')\n")
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


@pytest.fixture
def crew():
    with Crew() as opened:
        yield opened


def command(*more, out="out", shard_tokens=60):
    options = ("--model", "model", "--out", out, "--shard-tokens", str(shard_tokens), "--engine", ENGINE)
    return ("run", "rows.jsonl", *options, *more)


def check_complete(out):
    """Every row is in the files once, in order."""
    assert [row.id for row in open_dataset(out)] == list(ROWS)
    assert verify_job(open_job(out)).problems == ()


def record_of(path):
    return path / "out" / BROKER_FILE


def published(path):
    return len(list((path / "out").glob("*.parquet")))


def test_a_whole_job_leaves_files_and_nothing_else(place):
    """A run prints a summary, ends with 3 for bad rows, and leaves no process; a second run writes nothing."""
    with (place / "rows.jsonl").open("a") as file:
        file.write('{"id": "bad", "tokens": [51]}\nnonsense\n')
    before = psutil.Process().children(recursive=True)
    done = unrolled(*command(), cwd=place)
    assert done.returncode == 3, done.stderr
    files = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.parquet")}
    assert done.stdout == (
        "out: complete\n"
        f"1,000 rows are published, in {len(files)} files\n"
        "2 rows are in quarantine, with reasons: unrolled quarantine out\n"
        "200 rows have no token, and so no state (length is 0)\n"
        "400 rows contain the padding id 0 between tokens; if 0 is a token of yours, see "
        "docs/token_ids.md\n"
        f"out: verified; 1,002 rows in, 1,000 out in {len(files)} whole files (1,400 tokens), 2 in quarantine\n"
        "→ unrolled show out; in Python: unrolled.open('out')\n"
        "report: out/_unrolled/report.html\n"
    )
    assert "<h1>" in (place / "out" / "_unrolled" / "report.html").read_text()
    check_complete(place / "out")
    assert psutil.Process().children(recursive=True) == before
    assert not record_of(place).exists()
    assert list((place / "out" / names.ROWS).iterdir()) == []
    log = (place / "out" / LOGS / "worker-0.log").read_text()
    assert "Traceback" not in log
    assert log.count(" is published\n") == len(files)
    again = unrolled(*command("--json"), cwd=place)
    assert again.returncode == 3
    assert "published already: " in again.stderr
    assert "computing" not in again.stderr
    assert "report.html (nothing has changed since it was written)\n" in again.stderr
    found = json.loads(again.stdout)
    assert (found["complete"], found["rows_published"], found["done"]) == (True, 1000, len(files))
    assert {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.parquet")} == files


def test_too_few_open_files_are_refused_before_anything_is_made(place):
    """Neither the broker nor a worker could say as well what they lack."""
    limited = f"ulimit -n 40; exec {shlex.join(words(*command()))}"
    done = subprocess.run(["sh", "-c", limited], cwd=place, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.startswith("Error: this process may have 40 files open, and a worker needs 48: raise the limit")
    assert not (place / "out").exists()


def test_the_line_of_json_says_what_the_verification_found(place):
    """A program reads no other output; the problems are those of `verify --json`."""
    began = time.monotonic()
    whole = unrolled(*command("--json", "--no-report"), cwd=place)
    found = json.loads(whole.stdout)
    assert (whole.returncode, found["verified"]) == (0, True), whole.stderr
    # Of all that was computed, also what was while the input was read.
    assert found["tokens_per_second"] * (time.monotonic() - began) >= found["tokens_done"]
    part = min((place / "out").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    done = unrolled(*command("--json", "--no-report"), cwd=place)
    found = json.loads(done.stdout)
    assert (done.returncode, found["verified"]) == (1, False)
    [problem] = found["problems"]
    assert problem["where"] == part.name
    assert found["problems"] == json.loads(unrolled("verify", "out", "--json", cwd=place).stdout)["problems"]
    said = unrolled(*command("--no-report"), cwd=place).stdout
    assert "out: 1 problem; 1,000 rows in, " in said
    assert "complete" not in said, "of a job with a problem"


def test_a_run_on_a_terminal_is_one_screen(place):
    """It shows the job and its worker while it works, and leaves the summary alone; elsewhere, lines are plain."""
    main, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
    with subprocess.Popen(words(*command()), cwd=place, stdout=other, stderr=other, env=environment) as run:
        os.close(other)
        shown = b""
        with contextlib.suppress(OSError):  # Linux reports that the other side is closed
            while chunk := os.read(main, 65_536):
                shown += chunk
    os.close(main)
    assert run.returncode == 0, shown
    text = shown.decode()
    assert "out: " in text
    assert "at work" in text or "waiting" in text
    assert "shards: " in text
    assert "\x1b[" in text
    assert "Traceback" not in text
    assert "out: verified; 1,000 rows in, 1,000 out" in text
    assert "shards: " not in "\n".join(text.splitlines()[-4:])  # the screen is wiped
    plain = unrolled(*command(), cwd=place)
    assert plain.returncode == 0
    assert "\x1b" not in plain.stdout + plain.stderr
    assert "published already: " in plain.stderr


def test_what_is_asked_for_is_stored(place):
    """Layers, pooled vectors and float16 go from the command line to the reader, with the right values."""
    chosen = ("--layers", "all", "--pooling", "max,none", "--pooling", "mean", "--with-tokens")
    done = unrolled(*command(*chosen, "--precision", "float16"), cwd=place)
    assert done.returncode == 0, done.stderr
    check_complete(place / "out")
    assert unrolled(*command(*chosen, out="exact"), cwd=place).returncode == 0
    halves, exact = open_dataset(place / "out"), open_dataset(place / "exact")
    assert [column.name for column in halves.columns] == [column.name for column in exact.columns]
    names = [(column.name, column.width) for column in exact.columns[:3]]
    assert names == [("outputs_0", UNITS), ("mean_0", UNITS), ("max_0", UNITS)]
    for half, row in zip(halves, exact, strict=True):
        assert half.tokens.tolist() == row.tokens.tolist() == ROWS[row.id]
        for name, vectors in row.vectors.items():
            assert half[name].dtype == np.float16
            np.testing.assert_array_equal(half[name], vectors.astype(np.float16))
    for name in ("mean", "max"):
        made = [pool(row["outputs_0"], name) for row in exact]
        np.testing.assert_allclose(exact.pooled(name, layer=0)[1], made, rtol=0, atol=1e-7)


def test_what_was_given_up_is_done_when_it_is_asked_for(place, broker_url):
    """The broker ends with `run`, so `retry` works without one, and the same `run` completes the job."""
    options = ("--model", "model", "--out", "out", "--shard-tokens", "60", "--broker", broker_url, "--engine", ENGINE)
    assert unrolled("enqueue", "rows.jsonl", *options, cwd=place).returncode == 0
    job = open_job(place / "out")
    record_death(job, min(waiting(job)))
    done = unrolled(*command(), cwd=place)
    assert done.returncode == 1
    assert "1 shard is dead; when the cause is gone: unrolled retry" in done.stdout
    assert unrolled("retry", "out", cwd=place).stdout.startswith("out: 1 dead shard waits again\n")
    assert unrolled(*command(), cwd=place).returncode == 0
    check_complete(place / "out")


def pool(vectors, how):
    if not len(vectors):
        return np.full(UNITS, np.nan, np.float32)
    return vectors.mean(axis=0, dtype=np.float64) if how == "mean" else vectors.max(axis=0)


def test_another_choice_of_columns_is_another_job(place):
    """Another --pooling in a job's directory is refused with what differs, and changes nothing."""
    assert unrolled(*command("--pooling", "mean"), cwd=place).returncode == 0
    again = unrolled(*command("--pooling", "max"), cwd=place)
    assert again.returncode == 1
    assert 'other options (pooling is ["mean"]; this command asks for ["max"])' in again.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--layers", "7"), "layer 7: the model has"),
        (("--layers", "first"), "give last, all, or numbers of layers from 0"),
        (("--pooling", "median"), "pooling 'median': give one or more of none, mean, max, last, first"),
        (("--empty-rows", "zeros"), "empty_rows is zeros, but no pooled vectors are stored; leave it out"),
        (("--precision", "bfloat16"), "'bfloat16' is not one of 'float32', 'float16'"),
        (("--memory-budget", "lots"), "'lots' is not a number of bytes, such as 512M or 1.5G"),
        (("--lease-seconds", "nan"), "nan is not a finite number in the range 1<=x<=86400"),
        (("--lease-seconds", "x"), "'x' is not a valid number."),
        (("--threads", "x"), "'x' is not a valid integer."),
        (
            ("--workers", "2", "--health-file", "well"),
            "--health-file well is for one worker, and --workers is 2: one that",
        ),
        (("--metrics-port", "65535"), "--metrics-port 65535 is too high for 1 worker, each of which takes a port"),
        (("--metrics-port", "65533", "--workers", "3"), "give at most 65532, or 0 for any free ports"),
        pytest.param(
            ("--arithmetic", "bfloat16x3"),
            "bfloat16x3 needs matrix units to be faster than float32, and there are none",
            marks=unless(ENGINE == "fused", "build: TensorFlow has no such arithmetic"),
        ),
        (("--output-root", "elsewhere"), "--out out is outside --output-root; allowed: directories in /"),
    ],
)
def test_what_can_not_be_is_refused_at_once(place, options, text):
    """Wrong options of the job and of the workers are refused before a broker or a worker is started."""
    done = unrolled(*command(*options), cwd=place, isa="portable")
    assert done.returncode == 2
    assert text in done.stderr
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("engine", "more", "text"),
    [
        ("abacus", (), "'abacus' is not one of 'fused', 'tensorflow'"),
        ("tensorflow", ("--arithmetic", "bfloat16"), "take --engine fused for bfloat16"),
    ],
)
def test_an_engine_that_can_not_be_is_refused_at_once(place, engine, more, text):
    """Before a broker or a worker is started."""
    done = unrolled("run", "rows.jsonl", "--model", "model", "--out", "out", "--engine", engine, *more, cwd=place)
    assert (done.returncode, text in done.stderr) == (2, True)
    assert not (place / "out").exists()


def test_a_port_of_a_worker_that_is_taken_is_refused_at_once(place):
    """And a health file that is another file; the job isn't begun."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = unrolled(*command("--metrics-port", str(port - 1)), cwd=place)
    assert done.returncode == 2
    assert f"--metrics-port {port - 1}: a worker takes port {port}, and can't listen there" in done.stderr
    (place / "notes.txt").write_text("mine")
    for file, found in (
        ("notes.txt", "exists, and no worker has written it"),
        ("no/health", "its directory doesn't exist"),
    ):
        done = unrolled(*command("--health-file", file), cwd=place)
        assert (done.returncode, found in done.stderr) == (2, True), done.stderr
        assert "set in the environment" not in done.stderr
    assert (place / "notes.txt").read_text() == "mine"
    assert not (place / "out").exists()


@pytest.mark.parametrize("also_below", [False, True])
def test_it_goes_on_after_kill_9_and_leaves_no_process(place, crew, also_below):
    """Broker and workers of a killed run end by themselves, and the same command completes the job.

    All of them may be killed, as when memory runs out: then the broker's socket is left.
    """
    run = crew.start(*command("--workers", "2"), cwd=place, grace_seconds=1)
    eventually(lambda: published(place) > 3 or run.poll() is not None, "some files", 90)
    below = psutil.Process(run.pid).children(recursive=True)
    assert len(children(run.pid, "worker")) == 2
    for process in [run, *below] if also_below else [run]:
        process.kill()
    run.communicate()
    eventually(lambda: gone(below), f"{below} to end", 30)
    assert record_of(place).exists()
    status = unrolled("status", "out", "--json", cwd=place)
    assert json.loads(status.stdout)["queue"] is None  # the record leads nowhere, and is not taken for a broker
    assert unrolled(*command(), cwd=place).returncode == 0
    check_complete(place / "out")
    assert not record_of(place).exists()


def test_a_model_that_is_gone_meanwhile_is_named(place):
    """A new one, with other weights, would be no help."""
    opened = open_model(place / "model")
    _check_unchanged(opened)
    (place / "model").rename(place / "kept")
    with pytest.raises(ModelError, match="model, the model of the job, is gone; put it back, and run the same command"):
        _check_unchanged(opened)


def test_a_model_that_changes_meanwhile_is_named(place, crew):
    """A worker that is started again would compute nothing of this job; with the old model, the job is completed."""
    run = crew.start(*command(shard_tokens=10), cwd=place)
    eventually(lambda: published(place) > 3 or run.poll() is not None, "some files", 90)
    (worker,) = children(run.pid, "worker")
    worker.suspend()
    (place / "model").rename(place / "kept")
    make_model(place / "model", layers=1)
    worker.kill()
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "can't be started again: the files of model have changed since the job began; put them back, or" in said
    shutil.rmtree(place / "model")
    (place / "kept").rename(place / "model")
    assert unrolled(*command(shard_tokens=10), cwd=place).returncode == 0
    check_complete(place / "out")


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_all_in_order(place, crew, number, status):
    """Any of them prints one line and leaves no process, no record and no broker's data; the job can resume."""
    run = crew.start(*command("--workers", "2"), cwd=place)
    eventually(lambda: published(place) > 3, "some files", 90)
    socket = Path(unquote(record_of(place).read_text().removeprefix("redis+socket://")))
    assert socket.is_socket()
    below = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, number)  # as a terminal does
    _, said = run.communicate(timeout=60)
    assert run.returncode == status
    again = " Ctrl-C again stops them immediately." if number == signal.SIGINT else ""
    assert f"Stopping: the workers finish the shards that they compute, for up to 25 seconds.{again}\n" in said
    assert said.endswith("Interrupted; what is in the output is kept. Run the same command again and it resumes.\n")
    assert "Traceback" not in said
    assert gone(below)
    assert not record_of(place).exists()
    assert not socket.parent.exists()
    for log in (place / "out" / LOGS).iterdir():
        assert "Traceback" not in log.read_text()
    assert unrolled(*command(), cwd=place).returncode == 0
    check_complete(place / "out")


def test_a_second_ctrl_c_stops_at_once(place, crew):
    """The workers give their shards back, and don't use the grace, which is longer than the test waits."""
    run = crew.start(*command(), "--grace-seconds", "500", cwd=place)
    eventually(lambda: children(run.pid, "worker"), "the worker")
    (worker,) = children(run.pid, "worker")
    below = psutil.Process(run.pid).children(recursive=True)
    worker.suspend()  # it can't end by itself, so that the first signal has something to wait for
    assert any("queueing: " in line for line in iter(run.stderr.readline, ""))
    os.killpg(run.pid, signal.SIGINT)
    assert any("Stopping" in line for line in iter(run.stderr.readline, ""))
    let_echoes_end()
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=45)
    assert run.returncode == 130
    eventually(lambda: gone(below), "their end")


@pytest.mark.parametrize(("word", "count"), [("worker", 1), ("sh", 2)], ids=["with workers", "before"])
def test_a_run_whose_broker_dies_ends_with_the_reason(place, crew, word, count):
    """It can't come back, so nothing waits for it; the same command resumes the job. Also while the workers start."""
    workers = 1 if word == "worker" else 16  # which takes a while
    run = crew.start(*command("--grace-seconds", "500", "--workers", workers), cwd=place)
    eventually(lambda: len(children(run.pid, word)) == count, "the worker, or both watchdogs")
    below = psutil.Process(run.pid).children(recursive=True)
    (server,) = (process for process in below if process.name().endswith("-server"))  # valkey or redis
    server.kill()
    said = run.communicate(timeout=45)[1]
    assert (run.returncode, "the embedded broker ended with status -9" in said) == (1, True)
    eventually(lambda: gone(below), "their end")


def test_a_broker_that_dies_with_its_files_is_named(place, crew):
    """A program that removes old temporary files may have removed them."""
    run = crew.start(*command("--grace-seconds", "500"), cwd=place)
    eventually(lambda: children(run.pid, "worker"), "the worker")
    (server,) = (each for each in psutil.Process(run.pid).children() if each.name().endswith("-server"))
    shutil.rmtree(Path(server.cwd()).parent)
    server.kill()
    said = run.communicate(timeout=45)[1]
    assert run.returncode == 1
    assert "the embedded broker ended with status -9; " in said
    assert "its log is gone" in said
    assert "Exception in thread" not in said


def test_a_broker_that_dies_when_the_job_is_complete_is_not_missed(place, crew):
    """While the workers end, nothing needs it any more."""
    run = crew.start(*command("--workers", "2", "--grace-seconds", "500"), cwd=place)
    eventually(lambda: len(children(run.pid, "worker")) == 2, "the workers")
    (server,) = (each for each in psutil.Process(run.pid).children() if each.name().endswith("-server"))
    slow, quick = children(run.pid, "worker")
    slow.suspend()  # it takes no shard, and can't end by itself
    quick.wait(90)
    server.kill()
    said = run.communicate(timeout=45)
    assert (run.returncode, "out: complete" in said[0]) == (0, True), said
    check_complete(place / "out")


def test_a_second_sigterm_changes_nothing(place, crew):
    """A second signal while the run is ending doesn't stop it from ending in order."""
    run = crew.start(*command("--workers", "2"), cwd=place)
    eventually(lambda: record_of(place).exists(), "the broker")
    below = psutil.Process(run.pid).children(recursive=True)
    run.terminate()
    while run.poll() is None:
        run.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(0.02)
    assert run.returncode == 143
    assert gone(below)
    assert not record_of(place).exists()


def test_a_run_is_found_and_alone(place, crew):
    """While a run works, `status` in another terminal finds its broker; a second run is refused and changes nothing."""
    follow = ("--follow", "--flush-seconds", "0.1", "--format", "jsonl")
    run = crew.start("run", "-", *follow, *command()[2:], cwd=place, stdin=subprocess.PIPE)
    run.stdin.write((place / "rows.jsonl").read_text())
    run.stdin.flush()

    def looked():
        if not record_of(place).exists():
            return None
        return json.loads(unrolled("status", "out", "--json", cwd=place).stdout)

    eventually(lambda: (found := looked()) and found["queue"] and found["queue"]["workers"], "a worker in the status")
    eventually(lambda: looked()["rows_published"] == len(ROWS), "all rows published while the input is open")
    second = unrolled("run", "-", *follow, *command()[2:], cwd=place)
    assert second.returncode == 1
    assert "another `unrolled run` is working on it" in second.stderr
    assert looked()["queue"]["workers"], "the first run's broker is found still"
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    check_complete(place / "out")


#: An instruction set that no processor has, which only the worker sees, when it makes its engine.
SPOILT = {"isa": "abacus"}
needs_kernel = unless(ENGINE == "fused", "build: the fused engine has a setting that stops its worker")


@needs_kernel
def test_a_worker_that_can_not_start_ends_the_run_with_its_reason(place):
    """The run ends soon with status 1, the worker's last line and the path of its log, and leaves no process."""
    before = psutil.Process().children(recursive=True)
    done = unrolled(*command(), cwd=place, **SPOILT)
    assert done.returncode == 1
    assert "Error: the worker doesn't run (exit status" in done.stderr
    assert "UNROLLED_ISA is 'abacus'" in done.stderr
    assert done.stderr.endswith(f"Its log: out/{LOGS}/worker-0.log\n")
    assert psutil.Process().children(recursive=True) == before
    assert not record_of(place).exists()


@needs_kernel
@pytest.mark.parametrize("follow", [True, False])
def test_a_failure_is_reported_even_while_the_input_is_silent(place, follow, crew):
    """A pipe that stays open doesn't keep the run alive, even where the shell makes it ignore Ctrl-C."""
    more = ["--follow"] if follow else []
    line = words("run", "-", "--format", "jsonl", *more, *command()[2:])
    run = crew.shell(f"trap '' INT; exec {shlex.join(line)}", cwd=place, stdin=subprocess.PIPE, **SPOILT)
    assert run.wait(60) == 1
    assert "UNROLLED_ISA is 'abacus'" in run.stderr.read()


def test_a_broker_that_is_named_is_used_and_left_alone(place, broker, crew):
    """The run's worker and one that was there share the work; no record is made."""
    helper = crew.worker(place / "helper.log", broker=broker.url, model=place / "model", engine=ENGINE)
    done = unrolled(*command("--broker", broker.url), cwd=place)
    assert done.returncode == 0, done.stderr
    check_complete(place / "out")
    assert not record_of(place).exists()
    assert helper.poll() is None
    assert end(helper) == 0
