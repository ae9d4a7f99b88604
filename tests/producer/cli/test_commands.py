"""The commands that look at a job and mend it, as a person types them."""

import errno
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.bucket_server import client_environment
from support.jobs import decide, finished_job, job_of, log_of, make_job, publish_shard, published, record_death, waiting
from support.processes import make_model

from producer.cli.commands.watch.status import _Looks
from producer.cli.exit_status import ExitStatus
from producer.cli.root import cli
from producer.jobs import decisions, wait
from producer.jobs.removal import remove_key
from producer.jobs.status import OwnRun
from producer.local.broker_record import BROKER_FILE
from producer.terminal.progress import Progress
from unrolled.errors import FileFormatError, JobError, TransientError, UnrolledError
from unrolled.format.file_info import ENDS_ALIKE
from unrolled.format.output_spec import OutputSpec
from unrolled.job import names
from unrolled.job.names import Life, part_object, quarantine_object
from unrolled.job.offer import Offer
from unrolled.job.segment import Segment
from unrolled.job.shard_id import ShardId
from unrolled.model.files import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from unrolled.patience import Patience
from unrolled.protocol.opening import create_job, open_job
from unrolled.queue.broker import Broker
from unrolled.queue.member import Member
from unrolled.queue.messages import queue_name
from unrolled.reading.dataset import open_dataset
from unrolled.reading.outcome import failed_rows

NAMESPACE = "test"
OFFER = job_of().offer
REPOSITORY = Path(__file__).parents[3]


def run(*arguments, **kwargs):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, prog_name="unrolled", env={"COLUMNS": "100"}, **kwargs)


def run_with(broker, *arguments):
    return run(*arguments, "--broker", broker.url, "--namespace", NAMESPACE)


@pytest.fixture
def ledger(broker):
    return Broker(broker.url).ledger(NAMESPACE, OFFER)


class Working(threading.Thread):
    """Does what a worker does with the shards in the ledger, until it is stopped."""

    def __init__(self, ledger, job):
        super().__init__(daemon=True)
        self.ledger, self.job = ledger, job
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.02):
            for life in sorted(self.ledger.members(self.job.key)[0]):
                publish_shard(self.job, life.shard)
                self.ledger.remove(Member(self.job.key, life))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def enter(ledger, job, *shards):
    """Enter only the first lives of some shards, and put the mark at the end of the log."""
    members = [(Member(job.key, Life(shard, 0)), 5) for shard in shards]
    ledger.enter(job.key, job.place, ledger.mark(job.key), members, log_of(job).length)


class Lines(Progress):
    """Keeps the lines that are said, and calls a function at the first line with a certain word."""

    def __init__(self, reactions=()):
        super().__init__("waiting", clock=lambda: 0.0)  # so that no line is printed only because time has passed
        self.lines = []
        self._reactions = dict(reactions)

    def say(self, line):
        self.lines.append(line)
        for word in [word for word in self._reactions if word in line]:
            self._reactions.pop(word)()

    warn = say


# ---------------------------------------------------------------- status


def test_status_tells_how_far_a_job_is(tmp_path):
    """Without a terminal the status is printed once; without a broker it is what the directory shows."""
    job = make_job(tmp_path, shards=4, bad=[3])
    publish_shard(job, min(waiting(job)))
    result = run("status", tmp_path)
    assert result.exit_code == 0
    assert result.output == (
        f"{tmp_path}: not complete; job {job.key}, model abababababab… in float32 by fused\n"
        "rows    4 of 16 published, 1 in quarantine\n"
        "tokens  7 of 25\n"
        "shards  1 done, 3 waiting, 0 dead, of 4\n"
        f"→ no broker is named, and no `unrolled run` is seen at work on {tmp_path}: only its files are watched. Name "
        "the broker (--broker redis://HOST:6379/0, or UNROLLED_BROKER), or give the same `unrolled run` again\n"
    )


def test_status_of_a_complete_job(tmp_path):
    """The report has no speed, no time left and no hint, and no row of the quarantine is called published."""
    job = finished_job(tmp_path, shards=2, bad=[0])
    assert run("status", tmp_path).output == (
        f"{tmp_path}: complete; job {job.key}, model abababababab… in float32 by fused\n"
        "rows    7 of 8 published, 1 in quarantine\n"
        "tokens  11 of 11\n"
        "shards  2 done, 0 waiting, 0 dead, of 2\n"
    )


def test_status_of_a_cancelled_job(tmp_path, broker, ledger):
    """What waits isn't in Redis because it was taken out, which is no loss."""
    job = make_job(tmp_path, shards=3)
    enter(ledger, job, *waiting(job))
    publish_shard(job, min(waiting(job)))
    assert run_with(broker, "cancel", tmp_path).exit_code == 0
    for option in ("--once", "--watch"):  # which ends: nothing of it is queued
        lines = run_with(broker, "status", tmp_path, option).stdout.splitlines()
        assert "shards  1 done, 2 cancelled, 0 dead, of 3" in lines
        assert "Redis" not in "".join(lines)
    assert json.loads(run_with(broker, "status", tmp_path, "--json", "--once").stdout)["queue"]["missing"] == 0


def test_status_with_a_broker_shows_workers_and_a_diagnosis(tmp_path, broker, ledger):
    """The report shows running shards, workers with the speeds of their engines, and what to do about dead shards."""
    job = make_job(tmp_path, shards=3)
    first, second, third = waiting(job)
    enter(ledger, job, first, second)
    ledger.claim(Member(job.key, Life(first, 0)), "host-1")
    ledger.beat("host-1", {"tokens_per_second": 79_200, "busy_share": 0.97, "on_board": 1})
    seconds = {"read_seconds": 1.2, "plan_seconds": 0.7, "compute_seconds": 340, "write_seconds": 95}
    ledger.beat("host-2", {"computed_share": 0.924, **seconds})
    ledger.beat("host-3", {"computed_share": 8.52, **seconds})  # it pads its batches
    record_death(job, third)
    result = run_with(broker, "status", tmp_path)
    assert result.output.splitlines()[3:] == [
        "shards  0 done, 1 running, 1 queued, 1 dead, of 3",
        "",
        "worker  offers      seen     tokens/s when busy  busy  shards",
        "host-1  this job's  0 s ago  79.2k               97 %       1",
        "host-2  this job's  0 s ago  0                   0 %        0",
        "host-3  this job's  0 s ago  0                   0 %        0",
        "",
        "worker  read  plan  compute     write       computed",
        "host-2  1 s   1 s   5 min 40 s  1 min 35 s  92 % of tokens",
        "host-3  1 s   1 s   5 min 40 s  1 min 35 s  8.5 steps a token",
        (
            f"→ 1 shard was given up (its worker died 3 times); each reason is in {tmp_path}/_unrolled/dead; "
            f"when the cause is gone: unrolled retry {tmp_path}"
        ),
    ]


def test_status_says_that_only_workers_of_another_arithmetic_are_alive(tmp_path, broker):
    """They have the model, but would compute another result; the line says which worker to start."""
    make_job(tmp_path)
    other = Offer(OFFER.fingerprint, "fused", "bfloat16")
    Broker(broker.url).ledger(NAMESPACE, other).beat("host-1", {})
    lines = run_with(broker, "status", tmp_path).output.splitlines()
    assert [line.split()[0] for line in lines if "by fused" in line] == [f"{tmp_path}:", "host-1", "→"]
    assert lines[-1] == (
        "→ no worker offers what this job asks for, model abababababab… in float32 by fused (alive: 1 for model "
        "abababababab… in bfloat16 by fused); start one for this broker and namespace: unrolled "
        "worker --model DIR --engine fused --arithmetic float32; or queue the rows for the workers that are alive: "
        "the same `unrolled enqueue` with "
        "--engine fused --arithmetic bfloat16 and another --out"
    )


def test_status_as_json_is_one_object(tmp_path, broker):
    """The object has every figure of the report, and the hints."""
    make_job(tmp_path)
    found = json.loads(run_with(broker, "status", tmp_path, "--json").output)
    assert (found["shards"], found["waiting"], found["complete"]) == (3, 3, False)
    assert found["queue"] == {
        "running": 0, "queued": 0, "missing": 3, "workers": [], "others_running": 0, "others_queued": 0,
        "original": None, "moved_from": None, "memory_share": None, "declines": None,
    }  # fmt: skip
    assert len(found["diagnosis"]) == 2


def test_status_watches_until_the_job_is_complete(tmp_path):
    """--watch --json prints one line for each look at the job."""
    job = make_job(tmp_path, shards=1)
    timer = threading.Timer(0.3, publish_shard, (job, *waiting(job)))
    timer.start()
    result = run("status", tmp_path, "--watch", "--json", "--every-seconds", "0.1")
    timer.join()
    looks = [json.loads(line)["complete"] for line in result.output.splitlines()]
    assert looks[0] is False
    assert looks[-1] is True
    assert looks.count(True) == 1


def test_a_watched_job_whose_run_ends(tmp_path):
    """The next look asks no broker that is gone with the run."""
    job = make_job(tmp_path, shards=1)
    with TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/socket")
        server.listen()
        (tmp_path / BROKER_FILE).write_text(f"redis+socket://{folder}/socket\n")
        looks = _Looks(job, None, NAMESPACE)
        server.close()
        found = looks.read()
    assert (found.away, found.queue, found.has_run) == (None, None, False)


def test_a_run_that_ends_while_doctor_looks(tmp_path):
    """Nobody can start its broker again, and nothing is wrong."""
    make_job(tmp_path, shards=1)

    def ends_at_first_word(server):
        word = b""
        while not word:  # who only looks whether it is there says nothing
            with server.accept()[0] as client:
                word = client.recv(1)
                if word:
                    Path(server.getsockname()).unlink()
                    server.close()

    with TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/socket")
        server.listen()
        (tmp_path / BROKER_FILE).write_text(f"redis+socket://{folder}/socket\n")
        run_ends = threading.Thread(target=ends_at_first_word, args=(server,), daemon=True)
        run_ends.start()
        result = run("doctor", tmp_path, "--json")
        run_ends.join(60)
        assert not run_ends.is_alive()
    checks = {check["name"]: check for check in json.loads(result.output)["checks"]}
    assert checks["broker"]["outcome"] == "unknown"
    assert checks["broker"]["found"] == f"that of the `unrolled run` of {tmp_path} has ended meanwhile"
    assert [name for name, check in checks.items() if check["outcome"] == "fail"] == []


def test_status_on_a_terminal_is_live(tmp_path):
    """One screen is redrawn until the job is finished; the report is what stays."""
    finished_job(tmp_path, shards=1)
    main, other = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "producer", "status", str(tmp_path)],
        stdout=other,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        cwd=REPOSITORY,
        check=True,
    )
    os.close(other)
    with os.fdopen(main, "rb") as screen:
        shown = screen.read1(65_536)
    assert done.stderr == b""
    assert b"shards: 1 of 1 done" in shown
    assert b"shards  1 done, 0 waiting, 0 dead, of 1" in shown  # the report that stays
    assert b"\x1b[" in shown


def test_status_of_a_broker_that_is_away_falls_back_on_the_directory(tmp_path, broker):
    """The report says that the broker is away; the exit status is 0."""
    make_job(tmp_path)
    url = broker.url
    broker.kill()
    result = run("status", tmp_path, "--broker", url)
    assert result.exit_code == 0
    assert "shards  0 done, 3 waiting, 0 dead, of 3" in result.output
    assert f"→ broker {url} is away (" in result.output


def test_a_running_jobs_own_broker_is_found(tmp_path, broker):
    """`unrolled run` records its broker in the output directory."""
    make_job(tmp_path)
    (tmp_path / BROKER_FILE).write_text(f"{broker.url}\n")
    assert json.loads(run("status", tmp_path, "--json").output)["queue"] is not None
    broker.stop()
    assert json.loads(run("status", tmp_path, "--json").output)["away"] is None
    (tmp_path / BROKER_FILE).write_text("nonsense")
    result = run("status", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}/{BROKER_FILE}: names no broker of `unrolled run`; remove it, or name the broker with "
        "--broker\n"
    )


@pytest.mark.parametrize("command", ["status", "wait", "verify", "retry", "quarantine", "show", "discard"])
def test_a_directory_without_a_job_is_an_error(tmp_path, command):
    """The error names the command that makes a job."""
    result = run(command, tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}: no job here (_unrolled/job.json is missing); `unrolled run` or `unrolled enqueue` makes "
        "one\n"
    )


@pytest.mark.parametrize(("command", "has_log"), [("status", False), ("verify", True), ("show", False)])
def test_parts_that_were_copied_without_their_job(tmp_path, command, has_log):
    """The error doesn't advise a command that would refuse the directory."""
    finished_job(tmp_path / "out")
    (tmp_path / "copy").mkdir()
    if has_log:
        shutil.copytree(tmp_path / "out" / "_unrolled" / "log", tmp_path / "copy" / "_unrolled" / "log")
    for path in (tmp_path / "out").glob("*.parquet"):
        shutil.copy(path, tmp_path / "copy")
    result = run(command, tmp_path / "copy")
    assert result.exit_code == 1
    assert "contains parts, but not the records of their job (_unrolled/job.json is missing)" in result.stderr
    assert result.stderr.endswith("`unrolled neighbours`, and unrolled.open in Python, need only the parts\n")
    assert ("Copy the directory _unrolled too" in result.stderr) == (not has_log)
    assert ("Restore that file from a copy" in result.stderr) == has_log
    named = next(open_dataset(tmp_path / "copy").rows()).id
    assert run("neighbours", tmp_path / "copy", "--id", named).exit_code == 0


# ---------------------------------------------------------------- wait


def test_wait_ends_with_0_where_every_row_is_published(tmp_path):
    """`wait` prints how many rows are published."""
    finished_job(tmp_path, shards=2)
    result = run("wait", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}: complete\n8 rows are published, in 2 files\n"
    assert result.stderr == "done: 14 of 14 tokens (100 %), 8 rows\n"


@pytest.mark.parametrize(("bad", "failed"), [([0], {}), ([], {0: "ValueError: no"})])
def test_wait_ends_with_3_where_rows_are_in_quarantine(tmp_path, bad, failed):
    """The status is 3 for rows that the producer refused and for rows that the engine failed on."""
    job = make_job(tmp_path, shards=2, bad=bad)
    first, second = waiting(job)
    publish_shard(job, first)
    publish_shard(job, second, failed=failed)
    result = run("wait", tmp_path)
    assert result.exit_code == 3
    assert result.stdout == (
        f"{tmp_path}: complete\n7 rows are published, in 2 files\n"
        f"1 row is in quarantine, with reasons: unrolled quarantine {tmp_path}\n"
        + (
            "1 of them could be read, but not computed or stored; those that wouldn't fail again, if any: "
            f"unrolled retry {tmp_path} --failed-rows\n"
            if failed
            else ""
        )
    )


def test_wait_ends_with_1_where_shards_are_dead(tmp_path):
    """Dead shards count more than rows in quarantine, and a job with one isn't called complete."""
    job = make_job(tmp_path, shards=1, bad=[0])
    record_death(job, *waiting(job))
    result = run("wait", tmp_path, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["dead"], found["finished"], found["complete"]) == (1, True, False)
    waited = run("wait", tmp_path)
    assert "done: 0 tokens, 0 rows, 4 tokens in dead shards\n" in waited.stderr
    lines = waited.stdout.splitlines()
    assert lines[0] == f"{tmp_path}: finished, not complete"
    assert lines[-1] == f"1 shard is dead; when the cause is gone: unrolled retry {tmp_path}"
    assert run("status", tmp_path).stdout.startswith(f"{tmp_path}: finished, not complete; job ")


def test_no_job_is_complete_whose_log_has_a_gap(tmp_path, broker):
    """Somebody has deleted a file of the log: what it named isn't counted, and the job seems to be complete without."""
    job = make_job(tmp_path, shards=2)
    for shard in waiting(job):
        publish_shard(job, shard)
    log = tmp_path / "_unrolled" / "log"
    last = max(log.iterdir())
    later = log / f"{int(last.stem) + 2:06}.jsonl"
    dataset = open_dataset(tmp_path)
    assert dataset.complete
    assert run("status", tmp_path).stdout.startswith(f"{tmp_path}: complete")
    later.write_bytes(last.read_bytes())
    said = f"{int(last.stem) + 1:06}.jsonl: isn't there, but later segments of the log are; restore it from a copy"
    for command in ("status", "wait", "report", "verify"):
        result = run_with(broker, command, tmp_path) if command == "wait" else run(command, tmp_path)
        assert (result.exit_code, said in result.output) == (1, True), (command, result.output)
        assert ": complete" not in result.stdout
    with pytest.raises(JobError, match="isn't there, but later segments of the log are"):
        _ = dataset.complete


def test_a_job_whose_log_has_a_gap_is_not_waited_for(tmp_path, broker):
    """What is in the file that somebody has deleted, and in those after it, can't be seen by anything."""
    job = make_job(tmp_path)
    publish_shard(job, waiting(job)[0])
    lost = tmp_path / "_unrolled" / "log" / "000000.jsonl"
    lost.unlink()
    said = f"Error: {lost}: isn't there, but later segments of the log are; restore it from a copy, or else use a new "
    for command in ("status", "wait", "report", "show", "quarantine"):
        result = run_with(broker, command, tmp_path) if command == "wait" else run(command, tmp_path)
        assert (result.exit_code, result.stderr.startswith(said)) == (1, True), (command, result.output)
        assert not result.stdout


def test_wait_ends_with_124_when_time_is_up(tmp_path):
    """The status is that of `timeout`; an input that isn't at its end is mentioned."""
    make_job(tmp_path, shards=2, ended=False)
    began = time.monotonic()
    result = run("wait", tmp_path, "--timeout", "0.3")
    assert result.exit_code == 124
    assert time.monotonic() - began >= 0.3
    assert result.stdout == (
        f"{tmp_path}: not finished yet\n0 of 2 shards are published, and the input isn't at its end\n"
    )


def test_a_wait_that_is_over_says_what_is_in_the_way(tmp_path, broker):
    """What may be over soon is said late, but not too late: a program waits for some seconds at a time."""
    make_job(tmp_path, shards=2, ended=False)
    result = run_with(broker, "wait", tmp_path, "--timeout", "0.3")
    assert result.exit_code == 124
    assert "at work on it" in result.stderr
    assert "at work on it" in run_with(broker, "status", tmp_path).output


def test_wait_ends_in_time_if_redis_takes_no_entry(tmp_path, broker, ledger):
    """What Redis lost can't be entered again where its memory is full; that isn't tried for ever."""
    make_job(tmp_path, shards=2)
    ledger.client.config_set("maxmemory", "1")
    try:
        result = run_with(broker, "wait", tmp_path, "--timeout", "0.5")
    finally:
        ledger.client.config_set("maxmemory", "0")
    assert result.exit_code == 124


def test_wait_says_that_redis_takes_no_writes(tmp_path, broker, ledger):
    """And not that it has what it doesn't take as done, or that no worker is alive; then it goes on."""
    job = make_job(tmp_path, shards=2)
    ledger.client.config_set("min-replicas-to-write", 1)
    lines = Lines({"takes no writes now": lambda: ledger.client.config_set("min-replicas-to-write", 0)})
    try:
        with Working(ledger, job):
            status = wait.wait_for_job(job, broker.url, NAMESPACE, lines, until=time.monotonic() + 60)
    finally:
        ledger.client.config_set("min-replicas-to-write", 0)
    assert status.complete
    said = "\n".join(lines.lines)
    assert said.startswith("the broker takes no writes now (NOREPLICAS ")
    assert "as done" not in said
    assert "none is alive" not in said.partition("entered now")[0]


def test_wait_enters_again_what_redis_lost(tmp_path, broker, ledger):
    """The job completes without another command, and a line says why shards were entered."""
    job = make_job(tmp_path, shards=5)
    with Working(ledger, job):
        result = run_with(broker, "wait", tmp_path, "--timeout", "60")
    assert result.exit_code == 0
    assert "5 waiting shards were not in Redis, and entered now: it had lost them" in result.stderr
    assert (len(published(job)), waiting(job)) == (5, [])


def test_another_broker_than_that_of_a_run_at_work(tmp_path, broker, ledger):
    """It is neither said to have lost the shards nor given them, until the run is over."""
    job = make_job(tmp_path, shards=5)
    ledger.beat("host-1", {})
    with TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{folder}/socket")
        server.listen()
        (tmp_path / BROKER_FILE).write_text(f"redis+socket://{folder}/socket\n")
        shown = run_with(broker, "status", tmp_path, "--once").stdout
        found = json.loads(run_with(broker, "status", tmp_path, "--json", "--once").stdout)
        waited = run_with(broker, "wait", tmp_path, "--timeout", "2")
        entered = ledger.client.keys(f"{NAMESPACE}*{job.key}*")
    assert "shards  0 done, 5 waiting" in shown
    assert "→ an `unrolled run` with a broker and workers of its own is at work on it" in shown
    assert (found["has_run"], found["run_elsewhere"], found["queue"]) == (True, True, None)
    assert all("leave out --broker (and UNROLLED_BROKER)" in text for text in (shown, waited.stderr))
    assert waited.exit_code == ExitStatus.TIMED_OUT
    assert entered == []
    with Working(ledger, job):
        result = run_with(broker, "wait", tmp_path, "--timeout", "60")
    assert result.exit_code == 0
    assert "5 waiting shards were not in Redis, and entered now" in result.stderr


def test_wait_enters_again_what_redis_lost_of_a_stream_whose_producer_died(tmp_path, broker, ledger):
    """The input hasn't ended, and no producer will enter its shards; `status` says what does."""
    job = make_job(tmp_path, shards=5, ended=False, live=True)
    enter(ledger, job, *waiting(job))
    ledger.client.flushall()
    shown = run_with(broker, "status", tmp_path, "--once").stdout
    assert "0 running, 0 queued, 5 not in Redis" in shown
    assert (
        "→ 5 waiting shards are not in Redis: it lost them, or this isn't the job's broker and namespace; this queues"
        in shown
    )
    lines = Lines({"5 waiting shards were not in Redis, and entered now": lambda: decide(job, Segment("end"))})
    with Working(ledger, job):
        until = time.monotonic() + 60
        status = wait.wait_for_job(job, broker.url, NAMESPACE, lines, until=until, every_seconds=0.05)
    assert status.complete
    assert (len(published(job)), waiting(job)) == (5, [])


def test_wait_does_not_bring_back_a_job_whose_directory_is_being_removed(tmp_path, broker, ledger):
    """The broker would list it for ever, and no worker could open it."""

    class Removing(Lines):
        def update(self, **facts):
            (tmp_path / names.JOB).unlink(missing_ok=True)
            super().update(**facts)

    job = make_job(tmp_path, shards=2)
    status = wait.wait_for_job(job, broker.url, NAMESPACE, Removing(), until=time.monotonic() + 0.5, every_seconds=0.05)
    assert status.lost == 2
    assert (ledger.place_of(job.key), ledger.mark(job.key)) == (None, None)


def test_wait_deletes_what_a_complete_job_needs_no_more(tmp_path):
    """A worker that died before its last step leaves rows beside their part, with a row that failed in them."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    rows = job.objects.read(names.rows_object(first))
    publish_shard(job, first, failed={1: "ValueError: no"})
    publish_shard(job, second)
    job.objects.delete(names.failed_object(first))
    job.objects.create(names.rows_object(first), rows)
    assert run("wait", tmp_path).exit_code == 3
    assert waiting(job) == []
    assert list(names.shards_in(job.objects.list(names.FAILED))) == [first]


def test_wait_lets_redis_forget_a_finished_job(tmp_path, broker, ledger):
    """Redis forgets the job, and a shard that its worker has published and not taken out."""
    job = finished_job(tmp_path)
    shard, *_ = published(job)
    enter(ledger, job, shard)
    assert ledger.place_of(job.key) == str(tmp_path)
    assert run_with(broker, "wait", tmp_path).exit_code == 0
    assert (ledger.place_of(job.key), ledger.mark(job.key)) == (None, None)
    assert ledger.members(job.key) == (set(), set())


def test_wait_tells_a_ledger_that_is_behind_the_log(tmp_path, broker, ledger):
    """A crash of Redis took its last second, and with it the mark and the shards of the last segments."""
    job = make_job(tmp_path, shards=3)
    ledger.enter(job.key, job.place, None, [], 0)
    with Working(ledger, job):
        result = run_with(broker, "wait", tmp_path, "--timeout", "60")
    assert result.exit_code == 0
    assert waiting(job) == []


@pytest.mark.parametrize("decide", [decisions.cancel, decisions.discard])
def test_wait_does_not_wait_for_a_job_that_was_stopped(tmp_path, decide):
    """Nothing more will be computed; the error says how to resume."""
    job = make_job(tmp_path)
    decide(job.objects, None)
    with pytest.raises(JobError, match=r"it was (cancelled, and 3 shards wait; the same|discarded: no part)"):
        wait.wait_for_job(job, None, NAMESPACE, Lines())


def test_a_job_that_is_removed_is_not_waited_for(tmp_path):
    """Its workers may still publish parts there, but without its records nothing can complete or resume it."""

    class Removing(Lines):
        def update(self, **facts):
            shutil.rmtree(tmp_path / "out" / "_unrolled", ignore_errors=True)
            super().update(**facts)

    job = make_job(tmp_path / "out")
    with pytest.raises(JobError, match=r"_unrolled/job\.json was removed while the job ran\. Restore it from"):
        wait.wait_for_job(job, None, NAMESPACE, Removing(), until=time.monotonic() + 60, every_seconds=0.01)


def test_a_job_that_is_removed_at_its_end(tmp_path):
    """`run` says so, and doesn't name commands that would refuse the parts."""
    finished_job(tmp_path / "out")
    assert wait.open_again(str(tmp_path / "out")).job
    (tmp_path / "out" / "_unrolled" / "job.json").unlink()
    with pytest.raises(JobError, match=r"out: _unrolled/job\.json was removed while the job ran\. Restore it from"):
        wait.open_again(str(tmp_path / "out"))


def test_wait_rides_over_a_broker_that_is_away(tmp_path, broker, ledger):
    """`wait` says once that the broker is away, and continues when it is back, empty."""
    job = make_job(tmp_path, shards=3)
    broker.kill()
    working = Working(ledger, job)

    def come_back():
        broker.restart(keep_data=False)
        working.start()

    lines = Lines({"is away": come_back})
    until = time.monotonic() + 60
    status = wait.wait_for_job(job, broker.url, NAMESPACE, lines, until=until, every_seconds=0.05)
    working.stopped.set()
    working.join()
    assert status.complete
    assert lines.lines[0].startswith(f"can't see the queue: broker {broker.url} is away (")
    assert lines.lines[1].startswith("can see the queue again, after ")
    told = [line for line in lines.lines[2:] if not line.startswith("no worker offers")]
    (line,) = told
    assert line.startswith("3 waiting shards were not in Redis, and entered now: it had lost them, or isn't the broker")


def test_a_broker_that_is_not_asked_is_not_said_to_be_back(tmp_path, broker):
    """It is still away when an `unrolled run` with another broker begins to work on the job."""
    job, found = make_job(tmp_path, shards=3), [OwnRun.UNSEEN]
    broker.kill()
    lines = Lines(
        {
            "is away": lambda: found.append(OwnRun.ELSEWHERE),
            "isn't asked": lambda: [publish_shard(job, shard) for shard in waiting(job)],
        }
    )
    wait.wait_for_job(
        job, broker.url, NAMESPACE, lines, until=time.monotonic() + 60, every_seconds=0.05, own_run=lambda: found[-1]
    )
    assert [line for line in lines.lines if "see the queue" in line] == lines.lines[:1]


def let_in(broker):
    """Let a user in; a broker that is started again has forgotten it."""
    Broker(broker.url).client.execute_command("ACL", "SETUSER", "known", "on", ">secret", "~*", "&*", "+@all")


def known_user(tmp_path, broker, ledger):
    """A job of a user who was let in, who works on it, and what lets the user in again and starts the work."""

    def come_back():
        let_in(broker)
        working.start()

    let_in(broker)
    job = make_job(tmp_path)
    working = Working(ledger, job)
    return job, working, come_back


def waited_as_known_user(broker, job, working, lines):
    """What `wait` says of the queue to a user with a password, until the job is complete."""
    url, until = broker.url.replace("redis+socket://", "redis+socket://known:secret@"), time.monotonic() + 60
    status = wait.wait_for_job(job, url, NAMESPACE, lines, until=until, every_seconds=0.05)
    working.stopped.set()
    working.join()
    assert status.complete
    assert "secret" not in str(lines.lines)
    return [line for line in lines.lines if "see the queue" in line]


def test_wait_rides_over_a_broker_that_refuses_for_a_while(tmp_path, broker, ledger):
    """One that let this user in before, and that is started again without its list of users."""

    class RefusesAfterALook(Lines):
        def update(self, **_):
            if not self.lines:
                ledger.client.execute_command("ACL", "DELUSER", "known")

    job, working, come_back = known_user(tmp_path, broker, ledger)
    seen = waited_as_known_user(broker, job, working, RefusesAfterALook({"refuses": come_back}))
    assert "refuses" in seen[0]
    assert seen[1].startswith("can see the queue again, after ")


def test_wait_says_that_a_broker_which_is_back_refuses_the_login(tmp_path, broker, ledger):
    """It comes back with an old list of users: what was said of the time before isn't so any more."""

    class EndsAfterALook(Lines):
        def update(self, **_):
            if not self.lines:
                broker.kill()

    job, working, come_back = known_user(tmp_path, broker, ledger)
    lines = EndsAfterALook({"is away": broker.start, "refuses": come_back})
    seen = waited_as_known_user(broker, job, working, lines)
    assert [part in line for part, line in zip(("is away", "refuses", "again, after"), seen, strict=True)] == [True] * 3


def test_a_broker_that_refuses_from_the_last_part_on(tmp_path, broker, ledger):
    """The job is complete: what the broker still knows of it does no harm."""

    class RefusesWhenAllIsThere(Lines):
        def update(self, **_):
            ledger.client.execute_command("ACL", "DELUSER", "late")

    ledger.client.execute_command("ACL", "SETUSER", "late", "on", ">secret", "~*", "&*", "+@all")
    job = make_job(tmp_path)
    for shard in waiting(job):
        publish_shard(job, shard)
    url = broker.url.replace("redis+socket://", "redis+socket://late:secret@")
    status = wait.wait_for_job(job, url, NAMESPACE, RefusesWhenAllIsThere(), until=time.monotonic() + 60)
    assert status.complete


def failing(monkeypatch, name, times):
    """Have a call of the operating system fail this many times, as a network file system does that is away."""
    works, left = getattr(os, name), [OSError(errno.ESTALE, "Stale file handle")] * times

    def call(*arguments):
        if left:
            raise left.pop()
        return works(*arguments)

    monkeypatch.setattr(os, name, call)


def test_wait_without_a_broker_says_what_it_can_not_know(tmp_path):
    """Only files are watched then, and perhaps no process ever writes one: the line is printed at once."""
    job = make_job(tmp_path)
    lines = Lines()
    assert not wait.wait_for_job(job, None, NAMESPACE, lines, until=time.monotonic() + 0.1, every_seconds=0.02).complete
    assert [line.partition(":")[0] for line in lines.lines] == [
        f"no broker is named, and no `unrolled run` is seen at work on {tmp_path}"
    ]


def test_wait_rides_over_a_directory_that_is_away(tmp_path, monkeypatch):
    """`wait` says it once and looks again; files that can't be swept at the end do no harm."""
    job = finished_job(tmp_path)
    failing(monkeypatch, "scandir", 2)
    lines = Lines()
    assert wait.wait_for_job(job, None, NAMESPACE, lines).complete
    first, second = lines.lines
    assert re.fullmatch(
        rf"can't look at {tmp_path}: .*Stale file handle; mount the directory again; trying again until it works", first
    )
    assert second.startswith(f"can look at {tmp_path} again, after ")


def test_wait_gives_up_on_a_directory_that_stays_away(tmp_path, monkeypatch):
    """Where it never could be read, with the reason; else with its last status."""
    job = make_job(tmp_path)

    class AwayAfterALook(Lines):
        def update(self, **_):
            failing(monkeypatch, "scandir", 10_000)

    until = time.monotonic() + 0.3
    status = wait.wait_for_job(job, None, NAMESPACE, AwayAfterALook(), until=until, every_seconds=0.05)
    assert (status.complete, status.shards) == (False, 3)
    with pytest.raises(TransientError, match=r"cannot list .*: Stale file handle; mount the directory again"):
        wait.wait_for_job(job, None, NAMESPACE, Lines(), until=time.monotonic())


def test_wait_says_what_stands_in_the_way_once(tmp_path, broker):
    """A worker for the model is missing; the line is printed at once, and only once."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)

    class PublishedAfterThreeMoreLooks(Lines):
        looks = 0

        def update(self, **_):
            self.looks += any("no worker" in line for line in self.lines)
            if self.looks == 3:
                publish_shard(job, shard)

    lines = PublishedAfterThreeMoreLooks()
    assert wait.wait_for_job(job, broker.url, NAMESPACE, lines, every_seconds=0.05).complete
    assert lines.lines == [
        (
            "no worker offers what this job asks for, model abababababab… in float32 by fused (none is alive; one that "
            "starts, or connects again, needs some seconds); start one for this broker and namespace: "
            "unrolled worker --model DIR --engine fused --arithmetic float32"
        ),
        "1 waiting shard was not in Redis, and entered now: it had lost it, or isn't the broker that it was sent to",
    ]


def test_wait_misses_no_worker_at_once_that_was_there(tmp_path, broker, ledger, monkeypatch):
    """A broker that was emptied learns of it again; later, it is gone."""
    monkeypatch.setattr(wait, "_WORKER_SECONDS", 0.5)
    job = make_job(tmp_path, shards=1)
    enter(ledger, job, *waiting(job))
    ledger.beat("host-1", {})
    hidden_at, said_at = [], []

    class Emptied(Lines):
        def update(self, **_):
            if not hidden_at:
                hidden_at.append(time.monotonic())
                ledger.client.delete(ledger.keys.workers)

        def warn(self, line):
            super().warn(line)
            said_at.append(time.monotonic())
            publish_shard(job, *waiting(job))

    lines = Emptied()
    assert wait.wait_for_job(job, broker.url, NAMESPACE, lines, every_seconds=0.05).complete
    assert lines.lines[0].startswith("no worker offers what this job asks for")
    assert said_at[0] - hidden_at[0] >= 0.5


def test_wait_keeps_its_time_where_the_job_cannot_be_seen(monkeypatch):
    """Not even at its beginning; the line says why."""
    monkeypatch.setattr("unrolled.store.cloud.options.SILENT_SECONDS", 0.2)
    monkeypatch.setattr("unrolled.store.bucket._RETRIES", {"max_retries": 0})
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name, value in client_environment(f"http://127.0.0.1:{server.getsockname()[1]}").items():
            monkeypatch.setenv(name, value)
        for seconds, status in (("0.1", 124), ("600", 1)):
            result = run("wait", "s3://bucket/out", "--timeout", seconds)
            assert (result.exit_code, "no answer in time" in result.stderr) == (status, True)


def test_a_look_is_not_finished_long_after_the_time_is_over(tmp_path, monkeypatch):
    """One look at a slow bucket takes hundreds of requests."""
    job = make_job(tmp_path, shards=3)
    asked = []

    def slowly(what, action):
        asked.append(what)
        time.sleep(0.6 if len(asked) < 3 else 0)
        return action()

    monkeypatch.setattr(wait, "_LATE_SECONDS", 1)
    with pytest.raises(TransientError, match="the time is over"):
        wait.wait_for_job(job.with_patience(slowly), None, NAMESPACE, Lines(), until=time.monotonic())
    assert len(asked) == 2
    for shard in waiting(job):
        publish_shard(job, shard)
    until = time.monotonic() + 60
    assert wait.wait_for_job(job.with_patience(slowly), None, NAMESPACE, Lines(), until=until).complete
    assert len(asked) > 4


def test_a_run_that_waits_for_its_own_workers_asks_for_none(tmp_path, broker, monkeypatch):
    """They take long to start on a busy machine, and another one couldn't reach its broker."""
    monkeypatch.setitem(wait.PATIENCE_SECONDS, "starting", 0)
    job = make_job(tmp_path, shards=1)
    for run, said in (
        (OwnRun.HERE, "no worker is ready yet"),
        (OwnRun.UNSEEN, "no worker offers what this job asks for"),
    ):
        lines = Lines()
        until = time.monotonic() + 1
        wait.wait_for_job(job, broker.url, NAMESPACE, lines, until=until, own_run=lambda run=run: run)
        assert [line for line in lines.lines if "no worker" in line and said in line]
        assert len([line for line in lines.lines if "no worker" in line]) == 1


def test_wait_says_what_brings_a_removed_part_back(tmp_path, broker, ledger, monkeypatch):
    """Redis had it as done, so nothing is entered again; after a while `wait` says so, and it continues to wait."""
    monkeypatch.setitem(wait.PATIENCE_SECONDS, "lost", 0.1)
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    ledger.beat("host-1", {})
    ledger.enter(job.key, job.address, None, [], log_of(job).length)

    class PublishedOnceItIsSaid(Lines):
        def update(self, **_):
            if self.lines and waiting(job):
                publish_shard(job, shard)

    lines = PublishedOnceItIsSaid()
    assert wait.wait_for_job(job, broker.url, NAMESPACE, lines, every_seconds=0.05).complete
    assert len(lines.lines) == 1
    assert lines.lines[0] == (
        f"1 shard waits that Redis has as done. If it stays so: `unrolled cancel {job.place}`, and then the same "
        "`unrolled run` or `unrolled enqueue`, queues it again"
    )


@pytest.mark.parametrize("in_ledger", [False, True], ids=["not in the ledger", "in the ledger"])
def test_wait_ends_where_only_the_input_can_help(tmp_path, broker, ledger, monkeypatch, in_ledger):
    """Rows and part of the last shard were removed: no wait brings them back, though its hint be sent again."""
    monkeypatch.setattr(wait, "GONE_SECONDS", 0.1)
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    publish_shard(job, first)
    ledger.beat("host-1", {})
    members = [(Member(job.key, Life(second, 0)), 5)] if in_ledger else []
    ledger.enter(job.key, job.address, None, members, log_of(job).length)
    job.objects.delete(names.rows_object(second))
    result = run_with(broker, "wait", tmp_path, "--timeout", 60)
    assert result.exit_code == 1
    assert f"neither the rows nor the part of 1 shard ({second}) can be seen" in result.stderr
    assert "same `unrolled run` or `unrolled enqueue` makes it again" in result.stderr
    assert "unrolled wait" not in result.stderr
    assert "→ neither the rows nor the part of 1 shard (" in run("status", tmp_path).stdout


def test_wait_goes_on_while_a_worker_has_the_rows(tmp_path, broker, ledger, monkeypatch):
    """It read them before they were removed, so it may still publish the part."""
    monkeypatch.setattr(wait, "GONE_SECONDS", 0.0)
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    enter(ledger, job, shard)
    ledger.claim(Member(job.key, Life(shard, 0)), "host-1")
    kept = job.objects.read(names.rows_object(shard))
    job.objects.delete(names.rows_object(shard))

    class PublishedInTheEnd(Lines):
        looks = 0

        def update(self, **_):
            self.looks += 1
            if self.looks == 4:
                job.objects.create(names.rows_object(shard), kept)
                publish_shard(job, shard)

    lines = PublishedInTheEnd()
    assert wait.wait_for_job(job, broker.url, NAMESPACE, lines, every_seconds=0.05).complete


@pytest.mark.parametrize("login", ["weak:pw", "nobody:wrong"])
def test_wait_does_not_wait_for_a_broker_that_refuses(tmp_path, broker, ledger, login):
    """A refused login stays refused; the error doesn't show the password."""
    ledger.client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping")
    job = make_job(tmp_path, shards=1)
    url = broker.url.replace("redis+socket://", f"redis+socket://{login}@")
    with pytest.raises(UnrolledError, match=r"\*\*\*@.* refuses: .*; check the user and password in --broker"):
        wait.wait_for_job(job, url, NAMESPACE, Lines())


# ---------------------------------------------------------------- jobs


def test_jobs_in_a_bucket_that_gives_no_answer_are_asked_for_once(broker, ledger, monkeypatch):
    """All are listed, however many there are; other buckets and directories are looked at."""
    monkeypatch.setattr("unrolled.store.cloud.options.SILENT_SECONDS", 0.2)
    monkeypatch.setattr("unrolled.store.bucket._RETRIES", {"max_retries": 0})
    monkeypatch.setattr("producer.jobs.job_stores.SILENT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        for name, value in client_environment(f"http://127.0.0.1:{server.getsockname()[1]}").items():
            monkeypatch.setenv(name, value)
        for number in range(3):
            key = f"{number:016x}"
            ledger.enter(key, f"s3://bucket/out-{number}", None, [(Member(key, Life(ShardId(0, "ab" * 6), 0)), 1)], 1)
        found = [json.loads(line) for line in run_with(broker, "jobs", "--json").stdout.splitlines()]
        assert sorted((job["place"], job["status"]) for job in found) == [
            (f"s3://bucket/out-{number}", None) for number in range(3)
        ]
        server.settimeout(0)
        server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_jobs_lists_no_job_that_is_over(tmp_path, broker, ledger):
    """The broker forgets a job a minute after its end; until then nothing of it is unfinished."""
    over, dead, unfinished = (make_job(tmp_path / name, shards=1) for name in ("over", "dead", "unfinished"))
    for job in (over, dead, unfinished):
        enter(ledger, job, *waiting(job))
        ledger.remove(Member(job.key, Life(min(waiting(job)), 0)))
    assert len(run_with(broker, "jobs", "--json").stdout.splitlines()) == 3
    publish_shard(over, min(waiting(over)))
    record_death(dead, min(waiting(dead)))
    (line,) = run_with(broker, "jobs", "--json").stdout.splitlines()
    assert json.loads(line)["job"] == unfinished.key


def test_jobs_say_whether_their_input_is_being_read(tmp_path, broker, ledger):
    """As `status` does."""
    job = make_job(tmp_path, ended=False)
    enter(ledger, job, *waiting(job))
    for is_read in (False, True):
        (line,) = run_with(broker, "jobs", "--json").stdout.splitlines()
        status = json.loads(run_with(broker, "status", tmp_path, "--json").stdout)
        assert (json.loads(line)["status"]["fed"], status["fed"]) == (is_read, is_read)
        ledger.say_fed(job.key, 20)


def test_jobs_lists_what_waits_in_the_broker(tmp_path, broker, ledger):
    """Jobs of all offers, each with its key, its rows where its directory is here, its shards and its directory."""
    assert run_with(broker, "jobs").stdout == "no job waits in namespace 'test' of this broker\n"
    job = make_job(tmp_path / "here", shards=3)
    first, second, _ = waiting(job)
    publish_shard(job, first)
    enter(ledger, job, *waiting(job))
    ledger.claim(Member(job.key, Life(second, 0)), "host-1")
    other = Broker(broker.url).ledger(NAMESPACE, Offer(OFFER.fingerprint, "fused", "bfloat16"))
    other.enter("f" * 16, "/not/here", None, [(Member("f" * 16, Life(first, 0)), 5)], 1, 30)
    found = {facts["job"]: facts for facts in map(json.loads, run_with(broker, "jobs", "--json").stdout.splitlines())}
    assert {name: (facts["place"], facts["waiting"], facts["running"]) for name, facts in found.items()} == {
        job.key: (job.place, 1, 1),
        "f" * 16: ("/not/here", 1, 0),
    }
    assert found["f" * 16]["status"] is None
    assert (found[job.key]["priority"], found["f" * 16]["priority"]) == (10, 30)
    assert (found[job.key]["status"]["job"], found[job.key]["status"]["rows_done"]) == (job.key, 4)
    heading, *lines = run_with(broker, "jobs").stdout.splitlines()
    assert heading.split() == [
        "job",
        "asks",
        "for",
        "rows",
        "done",
        "running",
        "waiting",
        "for",
        "priority",
        "directory",
    ]
    assert sorted(line.split()[0] for line in lines) == sorted(found)
    assert job.key in run("status", job.place).stdout


def test_jobs_tells_how_long_the_oldest_shard_that_waits_has(tmp_path, broker, ledger):
    """By the broker's clock; a shard that is computed doesn't wait, and one that the ledger lacks is no shard of it."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    enter(ledger, job, first, second)
    held = Member(job.key, Life(first, 0))
    ledger.claim(held, "host-1")
    now, _ = ledger.client.time()
    ledger.client.zadd(ledger.keys.ledger, {str(held): now - 5000, str(Member(job.key, Life(second, 0))): now - 700})
    facts = json.loads(run_with(broker, "jobs", "--json").stdout)
    assert 700 <= facts["waited_seconds"] < 800
    assert facts["since"] == now - 700
    ledger.claim(Member(job.key, Life(second, 0)), "host-1")
    assert json.loads(run_with(broker, "jobs", "--json").stdout)["waited_seconds"] is None
    ledger.client.delete(ledger.keys.ledger)  # as Redis does that evicts keys
    facts = json.loads(run_with(broker, "jobs", "--json").stdout)
    assert (facts["waiting"], facts["running"]) == (0, 0)


def test_jobs_believes_no_entry_in_redis(tmp_path, broker, ledger):
    """Places and keys that somebody wrote there open no other file and print no control character."""
    victim = finished_job(tmp_path / "victim")
    for number, place in enumerate((victim.place, "relative", "/x\x1b[2J", "ftp://x/y", "/\0")):
        ledger.enter(f"{number:016x}", place, None, [], 1)
    ledger.client.hset(ledger.keys.jobs, b"\xff", b"x")
    ledger.client.hset(ledger.keys.jobs, "0" * 15 + "f", b"[" * 9999)
    hostile = [b"\xff", b"1" * 9999, b"-1", b"0", b"1e9"]
    for number, priority in enumerate(hostile):
        ledger.client.hset(ledger.keys.priorities, f"{number:016x}", priority)
    result = run_with(broker, "jobs", "--json")
    assert result.exit_code == 0
    found = list(map(json.loads, result.stdout.splitlines()))
    assert len(found) == 6
    assert all((facts["status"], facts["priority"]) == (None, 10) for facts in found)
    assert "\x1b" not in run_with(broker, "jobs").stdout


# ---------------------------------------------------------------- verify


def test_verify_passes_on_a_sound_job(tmp_path):
    """A sound job is one line and exit status 0."""
    finished_job(tmp_path, shards=2, bad=[0])
    result = run("verify", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == (f"{tmp_path}: verified; 8 rows in, 7 out in 2 whole files (11 tokens), 1 in quarantine\n")


def test_verify_lists_what_is_wrong(tmp_path):
    """Each problem is a line, and the exit status is 1."""
    job = finished_job(tmp_path, shards=2)
    _, shard = published(job)
    (tmp_path / part_object(shard)).unlink()
    (tmp_path / "more.parquet").touch()
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == (
        f"✗ {part_object(shard)}: is missing: wait for the workers, or run the same `unrolled run` or "
        "`unrolled enqueue` again\n"
        "✗ more.parquet: is not a part of this job; move it elsewhere\n"
        f"{tmp_path}: 2 problems; 8 rows in, 4 out in 1 whole file (7 tokens), 0 in quarantine\n"
    )


def test_what_verify_finds_in_many_files_controls_no_terminal(tmp_path):
    """A column may have any name; it is escaped in the line for the files that aren't named, too."""
    finished_job(tmp_path, shards=7)
    for path in tmp_path.glob("*.parquet"):
        table, about = pq.read_table(path), dict(pq.read_metadata(path).metadata)
        del about[b"ARROW:schema"]
        spoilt = table.append_column("\x1b]0;pwned\x07\n", [[1] * len(table)]).replace_schema_metadata(about)
        path.unlink()
        pq.write_table(spoilt, path)
    *lines, _ = run("verify", tmp_path).stdout.splitlines()
    assert lines[-1].startswith("✗ … and 3 more: ")
    assert [line.count(r"\x1b]0;pwned\x07\n") for line in lines] == [1] * 5


def test_verify_counts_the_tokens_that_it_reads(tmp_path):
    """Those of the parts that are there, and of rows that were computed again once."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    publish_shard(job, first, failed={1: "ValueError: no"})
    assert run("verify", tmp_path).stderr == "verifying: 6 of 6 tokens (100 %)\n"
    publish_shard(job, second)
    decisions.retry(job.objects, None, failed_rows, failed=True)
    publish_shard(job, *waiting(job))
    assert run("verify", tmp_path).stderr == "verifying: 14 of 14 tokens (100 %)\n"


def test_verify_as_json_has_the_list(tmp_path):
    """JSON has the problems too, with exit status 1."""
    finished_job(tmp_path, shards=1)
    assert json.loads(run("verify", tmp_path, "--json").stdout)["ok"] is True
    (tmp_path / "more.parquet").touch()
    result = run("verify", tmp_path, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["ok"], found["rows_in"], found["rows_out"]) == (False, 4, 4)
    assert [problem["where"] for problem in found["problems"]] == ["more.parquet"]


# ---------------------------------------------------------------- retry


def messages(ledger):
    return ledger.client.llen(f"{NAMESPACE}:{queue_name(OFFER)}")


def test_retry_brings_dead_shards_back(tmp_path, broker, ledger):
    """Each gets another life, which is in the ledger and whose message is in the queue."""
    job = make_job(tmp_path, shards=3)
    first, second, third = waiting(job)
    enter(ledger, job, third)
    record_death(job, first)
    record_death(job, second)
    result = run_with(broker, "retry", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}: 2 dead shards are back in the queue\n")
    assert ledger.members(job.key)[0] == {Life(first, 1), Life(second, 1), Life(third, 0)}
    assert messages(ledger) == 2
    assert json.loads(run("status", tmp_path, "--json").stdout)["dead"] == 0


def test_retry_in_a_directory_that_was_restored_from_an_older_copy(tmp_path, broker, ledger):
    """Redis has heard of more files of the log: the retry's would have the number of one of those."""
    job = make_job(tmp_path / "out")
    for shard in waiting(job):
        record_death(job, shard)
    copy = shutil.copytree(tmp_path / "out", tmp_path / "copy")
    decide(job, Segment("cancel"))
    decide(job, Segment("resume"))
    assert run_with(broker, "wait", tmp_path / "out", "--timeout", "0").exit_code
    ledger.enter(job.key, job.place, ledger.mark(job.key), [], log_of(job).length)
    shutil.rmtree(tmp_path / "out")
    copy.rename(tmp_path / "out")
    assert run_with(broker, "retry", tmp_path / "out").exit_code == 0
    assert ledger.members(job.key)[0] == {Life(shard, 1) for shard in waiting(job)}


def test_retry_with_nothing_dead_does_nothing(tmp_path, broker):
    """`retry` says that it did nothing, and the log stays as it is."""
    job = finished_job(tmp_path)
    before = log_of(job).length
    assert run_with(broker, "retry", tmp_path).stdout == f"{tmp_path}: no shard is dead\n"
    assert run_with(broker, "retry", tmp_path, "--failed-rows").stdout == (
        f"{tmp_path}: no shard is dead\nno failed row waits for a retry\n"
    )
    assert log_of(job).length == before


def test_retry_leaves_out_what_would_fail_again(tmp_path, broker):
    """Unless a row of the same shard may not: a shard's failed rows are retried together."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    publish_shard(job, first, failed=dict.fromkeys((0, 1), f"the number is too large; {ENDS_ALIKE}"))
    publish_shard(job, second)
    before = log_of(job).length
    command = ("retry", tmp_path, "--failed-rows")
    assert run_with(broker, *command).stdout == (
        f"{tmp_path}: no shard is dead\nno failed row waits for a retry\n"
        f"2 rows would fail again, so they are not retried: unrolled quarantine {tmp_path} says why\n"
    )
    assert log_of(job).length == before
    assert json.loads(run_with(broker, *command, "--json").stdout)["hopeless"] == 2
    other = make_job(tmp_path / "other", shards=1)
    (shard,) = waiting(other)
    publish_shard(other, shard, failed={0: f"too large; {ENDS_ALIKE}", 1: "MemoryError: no"})
    assert (
        "2 failed rows are back in the queue" in run_with(broker, "retry", tmp_path / "other", "--failed-rows").stdout
    )


def test_retry_says_what_to_do_about_damaged_rows(tmp_path, broker):
    """The shard stays dead, for its next life would die of them, too."""
    job = make_job(tmp_path, shards=1)
    (shard,) = waiting(job)
    record_death(job, shard)
    (tmp_path / names.rows_object(shard)).write_bytes(b"PK")
    result = run_with(broker, "retry", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == (
        f"{tmp_path}: no dead shard can be computed again yet\n"
        f"1 dead shard has damaged rows in {tmp_path}/_unrolled/rows: the same `unrolled enqueue` or `unrolled run` "
        "reads them from the input again; rows of a stream or of an earlier retry have to be restored from a copy\n"
    )
    assert log_of(job).life(shard).number == 0


def test_retry_leaves_a_shard_that_was_published_after_all(tmp_path, broker, ledger):
    """Of two workers, one gave the shard up and the other one published it: the part counts."""
    job = finished_job(tmp_path, shards=1)
    record_death(job, *published(job))
    found = json.loads(run_with(broker, "retry", tmp_path, "--json").stdout)
    assert found == {"rows": 0, "shards": 0, "dead": 0, "damaged": 0, "hopeless": 0}
    assert ledger.members(job.key)[0] == set()


def test_retry_without_a_broker_leaves_the_queueing_to_the_next_command(tmp_path, broker, ledger):
    """After `unrolled run`, its broker has ended; the shards wait in the directory."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    record_death(job, first)
    publish_shard(job, second, failed={0: "MemoryError: no"})
    part = (tmp_path / part_object(second)).read_bytes()
    result = run("retry", tmp_path, "--failed-rows")
    assert result.exit_code == 0
    assert result.stdout == (
        f"{tmp_path}: 1 dead shard waits again\n"
        "1 failed row waits again, in 1 new shard\n"
        "no broker is named, so none is queued: the same `unrolled run` computes them, and so does "
        f"`unrolled wait {tmp_path} --broker redis://HOST:6379/0` if workers are alive\n"
    )
    first_waiting, again = waiting(job)
    assert (first_waiting, again.retries, published(job)) == (first, 1, [second])
    with Working(ledger, job):
        assert run_with(broker, "wait", tmp_path, "--timeout", "60").exit_code == 0
    assert published(job) == sorted([first, second, again])
    assert (tmp_path / part_object(second)).read_bytes() == part
    assert run("verify", tmp_path).exit_code == 0


@pytest.mark.parametrize("command", ["cancel", "discard"])
def test_retry_of_a_job_that_was_stopped_is_refused(tmp_path, broker, command):
    """The error says which decision is in the way."""
    job = make_job(tmp_path)
    record_death(job, min(waiting(job)))
    assert run_with(broker, command, tmp_path, *["--yes"] * (command == "discard")).exit_code == 0
    result = run("retry", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {tmp_path}: the job is {command.rstrip('l')}")
    until = " before the same `unrolled run` or `unrolled enqueue` resumes it" * (command == "cancel")
    assert result.stderr.endswith(f"ed; nothing can be retried{until}\n")


# ---------------------------------------------------------------- cancel and discard


def test_cancel_takes_what_waits_out_of_the_queue(tmp_path, broker, ledger):
    """Parts stay, and rows wait for the command that resumes the job."""
    job = make_job(tmp_path, shards=3)
    first, *others = waiting(job)
    enter(ledger, job, *others)
    publish_shard(job, first)
    result = run_with(broker, "cancel", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{tmp_path}: 2 shards are taken out of the queue",
        "the same `unrolled run` or `unrolled enqueue` resumes the job",
    ]
    assert (ledger.members(job.key)[0], ledger.mark(job.key)) == (set(), None)
    assert (published(job), waiting(job)) == ([first], others)
    assert run("status", tmp_path).stdout.startswith(f"{tmp_path}: cancelled; ")
    assert json.loads(run_with(broker, "cancel", tmp_path, "--json").stdout) == {"cancelled": 0}


def test_a_cancel_elsewhere_says_that_nothing_waited_there(tmp_path, broker, ledger):
    """The job's shards wait in another namespace."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    said = run("cancel", tmp_path, "--broker", broker.url, "--namespace", "other").stdout
    assert said.startswith(f"{tmp_path}: the job is cancelled; no shard of it waited in this broker and namespace\n")
    assert len(ledger.members(job.key)[0]) == 2


def test_a_second_cancel_says_that_there_was_a_first(tmp_path, broker, ledger):
    """Nothing is left to be taken out of the queue."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    assert "2 shards are taken out" in run_with(broker, "cancel", tmp_path).stdout
    assert run_with(broker, "cancel", tmp_path).stdout == (
        f"{tmp_path}: the job was cancelled before\nthe same `unrolled run` or `unrolled enqueue` resumes the job\n"
    )


def test_a_cancel_says_how_many_shards_are_being_computed(tmp_path, broker, ledger):
    """They leave the queue with the others, and a worker that has them may still publish them."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    assert ledger.claim(Member(job.key, Life(waiting(job)[0], 0)), "host-1").state == "taken"
    said = run_with(broker, "cancel", tmp_path).stdout
    assert "2 shards are taken out of the queue\nworkers had 1 shard on board just before, and still publish" in said


def test_a_cancel_counts_the_shards_that_it_takes_out(tmp_path, broker, ledger, monkeypatch):
    """And none that workers have published since the command began."""
    job = make_job(tmp_path, shards=4)
    enter(ledger, job, *waiting(job))
    lives = sorted(ledger.members(job.key)[0])
    for life in lives[:2]:
        assert ledger.claim(Member(job.key, life), "host-1").state == "taken"
    cancel = decisions.cancel

    def cancel_late(*arguments):
        for life in lives[:3]:
            publish_shard(job, life.shard)
            ledger.remove(Member(job.key, life))
        return cancel(*arguments)

    monkeypatch.setattr(decisions, "cancel", cancel_late)
    said = run_with(broker, "cancel", tmp_path).stdout
    assert "1 shard is taken out of the queue\nworkers had 2 shards on board just before, and" in said


def test_the_name_of_no_directory_is_refused(tmp_path, monkeypatch):
    """A shell gives it for a variable that isn't set; the working directory may have a job of its own."""
    finished_job(tmp_path, shards=1)
    monkeypatch.chdir(tmp_path)
    for command in ("status", "wait", "verify", "discard"):
        result = run(command, "")
        assert (result.exit_code, "the directory's name is empty" in result.stderr) == (2, True)


def test_a_finished_job_is_not_cancelled(tmp_path, broker):
    """It would no longer be complete, and there is nothing to take out of the queue."""
    job = finished_job(tmp_path)
    result = run_with(broker, "cancel", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}: the job is finished and no shard waits, so nothing is changed\n"
    assert json.loads(run_with(broker, "cancel", tmp_path, "--json").stdout) == {"cancelled": 0}
    assert open_dataset(tmp_path).complete
    assert not log_of(job).stopped


def test_what_a_broker_has_of_a_job_that_was_finished_elsewhere_is_taken_out(tmp_path, broker, ledger):
    """It takes up room in the queue, so `jobs` lists it; the job stays complete."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    for shard in waiting(job):
        publish_shard(job, shard)
    decide(job, Segment("end"))
    (line,) = run_with(broker, "jobs", "--json").stdout.splitlines()
    assert (json.loads(line)["job"], json.loads(line)["waiting"]) == (job.key, 2)
    said = f"{tmp_path}: the job is finished; 2 shards that still waited are taken out of the queue\n"
    assert run_with(broker, "cancel", tmp_path).stdout == said
    assert (ledger.counts().shards, run_with(broker, "jobs", "--json").stdout) == (0, "")
    assert json.loads(run_with(broker, "cancel", tmp_path, "--json").stdout) == {"cancelled": 0}
    assert run_with(broker, "wait", tmp_path).exit_code == 0
    assert run("cancel", tmp_path).stdout == f"{tmp_path}: the job is finished, so nothing is changed\n"


def test_a_finished_job_is_not_cancelled_without_its_broker_either(tmp_path):
    """It needs none, so nobody waits for one."""
    finished_job(tmp_path)
    found = run("cancel", tmp_path, "--broker", "redis://127.0.0.1:1/0")
    assert found.exit_code == 0
    assert found.stdout == f"{tmp_path}: the job is finished, so nothing is changed\n"  # not: no shard waits
    assert "whether shards of it still wait in a broker isn't known: broker redis://127.0.0.1:1/0 is" in found.stderr
    found = run("cancel", tmp_path, "--broker", "redis://127.0.0.1:1/0", "--json")
    assert json.loads(found.stdout) == {"cancelled": 0}


def test_a_finished_copy_leaves_what_the_broker_has_of_the_original(tmp_path, broker, ledger):
    """Its workers compute the job there."""
    job = make_job(tmp_path / "original", shards=2)
    enter(ledger, job, *waiting(job))
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    copy = open_job(tmp_path / "copy")
    for shard in waiting(copy):
        publish_shard(copy, shard)
    for each in (job, copy):
        decide(each, Segment("end"))
    assert "so nothing is changed" in run_with(broker, "cancel", tmp_path / "copy").stdout
    assert ledger.counts().shards == 2


def test_cancel_by_key_works_where_the_directory_is_gone(tmp_path, broker, ledger):
    """The key is in the workers' logs."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    result = run_with(broker, "cancel", "--key", job.key)
    assert (result.exit_code, ledger.counts().shards) == (2, 2)
    assert f"the job is at {tmp_path}, and its workers would queue its shards again" in result.stderr
    shutil.rmtree(tmp_path / names.FOLDER)
    result = run_with(broker, "cancel", "--key", job.key)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{job.key}: 2 shards are taken out of the queue",
        f"a worker that can open {tmp_path} queues them again; if there is one, cancel the job there",
    ]
    assert ledger.counts().shards == 0
    result = run_with(broker, "cancel", "--key", "0" * 16)
    assert (result.exit_code, "`unrolled jobs` lists its jobs" in result.stderr) == (1, True)
    result = run_with(broker, "cancel", "--key", "nonsense")
    assert (result.exit_code, "16 hexadecimal digits in lower case are expected" in result.stderr) == (2, True)
    assert run_with(broker, "cancel").exit_code == 2
    result = run_with(broker, "cancel", tmp_path, "--key", job.key)
    assert (result.exit_code, "and not by both" in result.stderr) == (2, True)


def test_cancel_by_key_removes_a_job_of_which_no_shard_is_left(tmp_path, broker, ledger):
    """`jobs` lists it until then; once it is removed, the key is unknown."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job)
    shutil.rmtree(tmp_path)
    assert json.loads(run_with(broker, "jobs", "--json").stdout)["job"] == job.key
    result = run_with(broker, "cancel", "--key", job.key)
    said = f"{job.key}: no shard of it was left; the broker doesn't list the job any more"
    assert (result.exit_code, result.stdout) == (0, f"{said}\n")
    assert run_with(broker, "jobs").stdout == "no job waits in namespace 'test' of this broker\n"
    assert run_with(broker, "cancel", "--key", job.key).exit_code == 1


def test_cancel_by_key_waits_for_a_broker_that_is_away(tmp_path, broker, ledger):
    """As all commands that change a job do."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    shutil.rmtree(tmp_path / names.FOLDER)
    broker.kill()
    said = []

    def say(line):
        said.append(line)
        if len(said) == 1:
            broker.restart()

    assert remove_key(job.key, broker.url, NAMESPACE, Patience(say)) == (2, str(tmp_path))
    assert ledger.counts().shards == 0
    assert re.match("can't reach the broker: broker .* is away .*; trying again until it works", said[0])
    assert said[1].startswith("can reach the broker again, after ")


def test_discard_deletes_all_but_the_tombstone(tmp_path, broker, ledger):
    """A paused worker can't bring the job back, and no other job takes the directory."""
    job = make_job(tmp_path, shards=4, bad=[1])
    first, second, third, fourth = waiting(job)
    enter(ledger, job, fourth)
    publish_shard(job, first, failed={1: "ValueError: no"})
    record_death(job, third)
    rows = job.objects.read(names.rows_object(second))
    result = run_with(broker, "discard", tmp_path)  # there is no terminal to answer on
    assert (result.exit_code, "nothing is deleted; " in result.stderr, "--yes" in result.stderr) == (2, True, True)
    result = run_with(broker, "discard", tmp_path, "--yes")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}: the job is discarded, 1 part deleted\n")
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {names.JOB, *(names.segment_name(number) for number in range(3))}
    assert ledger.counts().shards == 0
    publish_shard(job, second, content=rows)
    for option in ("--once", "--watch"):  # which ends: nothing more can happen
        assert run("status", tmp_path, option).stdout.strip() == (
            f"{tmp_path}: discarded; job {job.key}\n→ it was discarded, and 1 part is still there: a discard is at "
            "work, was interrupted, couldn't delete it, or came while its shard was being computed; this deletes it: "
            f"unrolled discard {tmp_path}"
        )
    assert json.loads(run_with(broker, "discard", tmp_path, "--yes", "--json").stdout) == {"discarded": 1, "running": 0}
    assert published(job) == []


def test_a_discard_without_a_broker_says_what_one_keeps(tmp_path, broker, ledger):
    """Its shards wait there, till a worker comes to them or the broker is named; then nothing is left to say."""
    job = make_job(tmp_path)
    enter(ledger, job, *waiting(job))
    said = f"now: unrolled discard {job.place} --broker URL"
    assert said in run("discard", tmp_path, "--yes").stderr
    assert ledger.members(job.key)[0]
    for words in (["--broker", broker.url, "--namespace", NAMESPACE], []):
        assert run("discard", tmp_path, "--yes", *words).stderr == ""
        assert not ledger.members(job.key)[0]


@pytest.mark.parametrize("words", [["card"], ["neighbours", "--id", "a"], ["show"], ["report"]])
def test_parts_that_a_discard_has_not_deleted_yet_are_no_result(tmp_path, words):
    """One that was interrupted leaves some."""
    job = finished_job(tmp_path)
    decide(job, Segment("discard"))
    result = run(words[0], job.place, *words[1:])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "discarded" in result.stderr


def test_a_discarded_job_can_not_be_cancelled(tmp_path):
    """No broker is needed to say so."""
    job = finished_job(tmp_path)
    decide(job, Segment("discard"))
    result = run("cancel", job.place)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {job.place}: the job is discarded; nothing can be cancelled\n"


def test_parts_that_come_after_a_discard_are_told_of(tmp_path, broker, ledger):
    """A worker that computes a shard publishes it; the same command deletes its part, too."""
    job = make_job(tmp_path, shards=2)
    first, second = waiting(job)
    enter(ledger, job, first, second)
    ledger.claim(Member(job.key, Life(first, 0)), "host-1")
    kept = tmp_path.parent / f"{tmp_path.name}-kept"
    shutil.copytree(tmp_path, kept)
    done = run_with(broker, "discard", tmp_path, "--yes")
    assert "1 shard was being computed, and may still be published: run the same command again" in done.stderr
    publish_shard(make_job(kept, shards=2), first)
    part = next(kept.glob("part-*.parquet"))
    shutil.copy(part, tmp_path / part.name)
    why = "a discard is at work, was interrupted, couldn't delete it, or came while its shard was being computed"
    said = f"1 part is still there: {why}"
    assert f"{said}; this deletes it: unrolled discard {tmp_path}" in run("status", tmp_path).stdout
    assert f"the job was discarded; {said}" in run("verify", tmp_path).stdout
    delete = f"to delete what is left: unrolled discard {tmp_path}"
    assert run("show", tmp_path).stderr == f"Error: {tmp_path}: the job was discarded, and {said}; {delete}\n"
    done = run_with(broker, "discard", tmp_path, "--yes")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path}: the job is discarded, 1 part deleted\n")
    assert "no part of it is left" in run("status", tmp_path).stdout


def test_a_discard_of_a_cancelled_job_tells_of_what_workers_have(tmp_path, broker, ledger):
    """The ledger has no shard of such a job, but workers may, and will publish those in their engines."""
    job = make_job(tmp_path, shards=2)
    enter(ledger, job, *waiting(job))
    ledger.beat("host-1", {"on_board": 2})
    other = Broker(broker.url).ledger(NAMESPACE, Offer(OFFER.fingerprint, "fused", "bfloat16"))
    other.beat("host-2", {"on_board": 9})
    assert run_with(broker, "cancel", tmp_path).exit_code == 0
    for found in ("the job is discarded, 0 parts deleted", "was discarded before, and no part is left"):
        done = run_with(broker, "discard", tmp_path, "--yes")
        assert found in done.stdout
        assert "workers have 2 shards on board, and may still publish those of this job: run the same" in done.stderr
    assert json.loads(run_with(broker, "discard", tmp_path, "--yes", "--json").stdout) == {"discarded": 0, "running": 2}
    other = make_job(tmp_path.parent / f"{tmp_path.name}-other", shards=2)
    enter(ledger, other, *waiting(other))
    for shard in waiting(other):
        ledger.claim(Member(other.key, Life(shard, 0)), "host-1")
    assert run_with(broker, "discard", tmp_path, "--yes").stderr == "", "they are another job's"


def test_show_shows_no_row_of_another_job(tmp_path):
    """A part that somebody has copied there."""
    finished_job(tmp_path / "own")
    other = make_job(tmp_path / "other", shards=3)
    for shard in waiting(other):
        publish_shard(other, shard)
    for part in (tmp_path / "other").glob("*.parquet"):
        shutil.copy(part, tmp_path / "own" / f"part-{part.name[5:11]}-{'f' * 12}.parquet")
    found = run("show", tmp_path / "own", "-n", "99")
    assert (found.exit_code, "is not a part of this job; move it elsewhere" in found.stderr) == (1, True)
    shutil.rmtree(tmp_path / "own" / names.LOG)  # now it may be its own
    found = run("show", tmp_path / "own", "-n", "99")
    assert (found.exit_code, "is not in the job's log, which has no end; run the same" in found.stderr) == (1, True)


def test_discard_deletes_the_report(tmp_path):
    """It has ids and texts of rows; files of others stay."""
    make_job(tmp_path, shards=1)
    folder = tmp_path / names.FOLDER
    for name in ("report.html", "report-map.png", "report-throughput.png", "reporting.html", "report.txt"):
        (folder / name).write_text("x")
    assert run("discard", tmp_path, "--yes").exit_code == 0
    assert sorted(path.name for path in folder.glob("report*")) == ["report.txt", "reporting.html"]
    for command in ("quarantine", "report"):
        result = run(command, tmp_path)
        assert (result.exit_code, "the job in it was discarded" in result.stderr) == (1, True)


def test_nothing_of_a_discarded_job_is_left(tmp_path, broker, ledger):
    """No command suggests that something of it waits, or will come."""
    job = make_job(tmp_path, shards=3, bad=[1])
    first, second, _ = waiting(job)
    publish_shard(job, first, failed={1: "ValueError: no"})
    enter(ledger, job, second)
    ledger.beat("host-1", {})
    decisions.discard(job.objects, None)
    found = json.loads(run_with(broker, "status", tmp_path, "--json").stdout)
    assert (found["discarded"], found["finished"]) == (True, False)
    assert [found[name] for name in ("waiting", "quarantined", "failed", "dead", "strays")] == [0] * 5
    assert [found["queue"][name] for name in ("running", "queued", "missing")] == [0] * 3
    lines = run_with(broker, "jobs").stdout.splitlines()
    assert lines[1].split("float32 by fused")[1].split()[:2] == [str(found["rows"]), "discarded"]
    assert run("show", tmp_path).stderr == f"Error: {tmp_path}: the job was discarded, and no row of it is kept\n"
    assert run("neighbours", tmp_path, "--id", "a").stderr == (f"Error: no part in {tmp_path}: the job was discarded\n")
    assert run_with(broker, "cancel", tmp_path).stdout.splitlines()[-1] == (
        f"{tmp_path}: the job was discarded before; use another --out"
    )
    result = run_with(broker, "discard", tmp_path)  # without a question: nothing is left to be deleted
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}: the job was discarded before, and no part is left\n")
    (line, _) = run("verify", tmp_path).stdout.splitlines()
    assert line.endswith("the job was discarded; no part of it is left")
    assert ledger.counts().shards == 0


def test_readers_say_that_no_part_is_published_yet(tmp_path):
    """The job has begun: that is not what is missing."""
    make_job(tmp_path)
    assert run("neighbours", tmp_path, "--id", "a").stderr == (
        f"Error: no part in {tmp_path}: none is published yet, or all were removed; `unrolled status` shows "
        "how far the job is\n"
    )


@pytest.mark.parametrize(("answer", "status"), [("n\n", 1), ("\n", 1), ("ls\ny\n", 1), ("", 2)])
def test_discard_asks_first(tmp_path, answer, status):
    """Whatever isn't a yes keeps the job. Without an answer, the command lacks --yes."""
    job = finished_job(tmp_path, shards=1)
    result = run("discard", tmp_path, input=answer)
    assert (result.exit_code, "give --yes" in result.stderr) == (status, not answer)
    question, *others = result.stderr.splitlines()
    assert question.startswith(f"Delete the job in {tmp_path}, 1 part included?")
    assert "Error" not in question
    assert any(re.match(f"Error: ({tmp_path}: )?nothing is deleted", line) for line in others)
    assert (len(published(job)), log_of(job).discarded) == (1, False)
    assert run("discard", tmp_path, input="y\n").exit_code == 0
    assert (published(job), log_of(job).discarded) == ([], True)


def test_a_command_that_is_given_a_copy_leaves_the_original_alone(tmp_path, broker, ledger):
    """A copy has the key of its job: what is decided in it would empty the original's queue, or move the job."""
    job, copy = make_job(tmp_path / "original", shards=3), tmp_path / "copy"
    shards = waiting(job)
    members = [(Member(job.key, Life(shard, 0)), 5) for shard in shards[1:]]
    ledger.enter(job.key, job.address, None, members, log_of(job).length)
    record_death(job, shards[0])
    shutil.copytree(tmp_path / "original", copy)

    def state():
        return ledger.members(job.key), ledger.place_of(job.key), ledger.mark(job.key)

    before, files = state(), sorted(copy.rglob("*"))
    said = f"Error: {copy}: Redis has this job at {tmp_path}/original, and this seems to be a copy: "
    for words, way in (
        (["retry"], f"to continue here: unrolled cancel {tmp_path}/original, then the same `unrolled run`"),
        (["retry", "--failed-rows"], "to continue here"),
        (["cancel"], "to continue here"),
        (["discard"], "to delete the copy alone: remove its directory\n"),
        (["discard", "--yes"], "to delete the copy alone"),
    ):
        result = run_with(broker, words[0], copy, *words[1:])
        assert (result.exit_code, result.stderr.startswith(said), way in result.stderr) == (1, True, True), words
        assert (state(), sorted(copy.rglob("*"))) == (before, files)
    assert run("retry", copy).exit_code == 0  # without a broker, it is about this directory alone
    assert run_with(broker, "wait", copy, "--timeout", "0.5").stderr.startswith(said.partition("copy: ")[2])
    assert state() == before
    for shard in shards:
        publish_shard(open_job(copy), shard)
    assert run_with(broker, "wait", copy).exit_code == 0
    assert state() == before
    assert run_with(broker, "retry", tmp_path / "original").exit_code == 0
    assert state() != before


# ---------------------------------------------------------------- quarantine and show


def test_quarantine_lists_rows_with_reasons(tmp_path):
    """The producer's rows are named by file and position, the engine's by shard and row."""
    job = make_job(tmp_path, shards=2, bad=[0])
    first, second = waiting(job)
    publish_shard(job, first)
    publish_shard(job, second, failed={2: "ValueError: \x1b[31mno"})
    result = run("quarantine", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"rows.txt row 3: token id -3 is negative\nshard {second} row 2 (rows.txt#6): ValueError: \\x1b[31mno\n"
    )
    assert result.stderr == "2 rows in quarantine\n"
    (tmp_path / names.LOG / max(path.name for path in (tmp_path / names.LOG).iterdir())).unlink()
    so_far = "2 rows in quarantine so far: by its log, the job's input hasn't been read to its end\n"
    assert run("quarantine", tmp_path).stderr == so_far
    found = [json.loads(line) for line in run("quarantine", tmp_path, "--json").stdout.splitlines()]
    assert found[0] == {
        "file": "rows.txt",
        "position": 3,
        "shard": str(first),
        "row": None,
        "id": None,
        "reason": "token id -3 is negative",
    }
    assert (found[1]["id"], found[1]["row"], found[1]["file"]) == ("rows.txt#6", 2, None)


@pytest.mark.parametrize("as_json", [False, True])
def test_quarantine_lists_the_others_where_a_list_or_a_part_is_damaged(tmp_path, as_json):
    """Each damaged file is named with what brings it back, and the status says that something is missing."""
    job = make_job(tmp_path, shards=4, bad=[0, 2])
    shards = waiting(job)
    for shard in shards:
        publish_shard(job, shard, failed={1: "ValueError: no"})
    listed = tmp_path / quarantine_object(shards[0])
    listed.write_text(listed.read_text() + "half a li")
    part = tmp_path / part_object(shards[1])
    part.write_bytes(part.read_bytes()[:-40])
    result = run("quarantine", tmp_path, *["--json"] * as_json)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert [json.loads(line)["shard"] if as_json else line.split(" (")[0] for line in lines] == (
        [str(shards[number]) for number in (0, 2, 2, 3)]
        if as_json
        else [
            f"shard {shards[0]} row 1", "rows.txt row 11: token id -3 is negative", f"shard {shards[2]} row 1",
            f"shard {shards[3]} row 1",
        ]
    )  # fmt: skip
    said, first, second = result.stderr.splitlines()
    assert said == "4 rows in quarantine, and those that 2 damaged files should name"
    assert first.startswith(f"Error: {listed}: its checksum is not that of its content; restore the list")
    assert second.startswith(f"{part}: damaged, or not a Parquet file")
    assert "or remove it and run the same `unrolled run`" in second


def test_show_prints_the_first_rows_as_a_table(tmp_path):
    """The table fits the terminal's width."""
    finished_job(tmp_path, shards=2)
    lines = run("show", tmp_path, "-n", "5", "--numbers", "2").stdout.splitlines()
    assert lines[0].split() == ["id", "length", "mask", "first", "vector", "last", "vector", "norm"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["rows.txt#0", "1", "1"],
        ["rows.txt#1", "1", "10"],
        ["rows.txt#2", "2", "101"],
        ["rows.txt#3", "3", "1011"],
        ["rows.txt#4", "1", "1"],
    ]
    assert all(len(line) <= 100 for line in lines)


def test_show_says_how_a_damaged_part_is_made_again(tmp_path):
    """As `unrolled verify` does."""
    finished_job(tmp_path, shards=1)
    (path,) = tmp_path.glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-40])
    result = run("show", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}: damaged, or not a Parquet file")
    assert "from a copy, or remove it and run the same `unrolled run`" in result.stderr


def test_show_as_json_has_the_numbers_of_the_files(tmp_path):
    """JSON has one row on a line."""
    finished_job(tmp_path, shards=1)
    rows = list(open_dataset(tmp_path))
    found = [json.loads(line) for line in run("show", tmp_path, "-n", "9", "--json").stdout.splitlines()]
    assert [row["id"] for row in found] == [row.id for row in rows]
    assert found[3]["mask"] == [1, 0, 1, 1]
    assert found[3]["first"] == rows[3].outputs[0].tolist()
    assert found[3]["last"] == rows[3].outputs[2].tolist()
    assert found[3]["norm"] == pytest.approx(float((rows[3].outputs[2] ** 2).sum() ** 0.5))


def test_show_has_whatever_is_stored(tmp_path):
    """Each column is under its name: pooled vectors, and the first and last vectors of layers."""
    finished_job(tmp_path, shards=1, options={"layers": [0, 1], "pooling": ["none", "mean"]})
    rows = list(open_dataset(tmp_path))
    found = [json.loads(line) for line in run("show", tmp_path, "--json").stdout.splitlines()]
    assert found[0].keys() == {"id", "length", "mask", "outputs_0", "mean_0", "outputs_1", "mean_1"}
    assert found[3]["outputs_0"]["last"] == rows[3]["outputs_0"][2].tolist()
    assert found[3]["mean_1"]["vector"] == rows[3]["mean_1"].tolist()
    assert found[3]["mean_1"]["norm"] == pytest.approx(float((rows[3]["mean_1"] ** 2).sum() ** 0.5))
    finished_job(tmp_path / "pooled", shards=1, options={"pooling": ["max"], "precision": "float16"})
    lines = run("show", tmp_path / "pooled", "--numbers", "2").stdout.splitlines()
    assert lines[0].split() == ["id", "length", "mask", "max", "norm"]
    assert len(lines[1].split()) == 7  # two numbers, and a sign that there are more


@pytest.mark.parametrize("pooling", [["mean"], ["none", "mean"]])
def test_show_a_row_without_a_token(tmp_path, pooling):
    """Its vector is null in JSON, and empty for people."""
    finished_job(tmp_path, shards=1, empty=[0], options={"pooling": pooling})
    found = json.loads(run("show", tmp_path, "--json").stdout.splitlines()[0])
    assert found["mean"] == {"vector": None, "norm": None}
    lines = run("show", tmp_path).stdout.splitlines()
    assert lines[1].split()[:3] == ["rows.txt#0", "0", "0"]
    assert "nan" not in lines[1]


def test_several_columns_have_a_line_each(tmp_path):
    """Beside each other, their headings and numbers would be cut until they look alike."""
    finished_job(tmp_path, shards=1, options=OutputSpec(layers=(0, 1), pooling=("none", "mean")).to_options())
    result = CliRunner().invoke(cli, ["show", str(tmp_path), "--rows", "2"], env={"COLUMNS": "100"})
    assert result.exit_code == 0
    headings, *lines = [re.split(r" {2,}", line.strip()) for line in result.stdout.splitlines()]
    assert headings == ["id", "length", "mask", "column", "first vector", "last vector", "norm"]
    names = ["outputs_0", "mean_0", "outputs_1", "mean_1"]
    assert [line[3] for line in lines[::4]] == names[:1] * 2
    assert [line[0] for line in lines[:4]] == ["rows.txt#0", *names[1:]]


def test_show_before_the_first_file_says_so(tmp_path):
    """The error names the command that shows how far the job is."""
    make_job(tmp_path)
    result = run("show", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (f"Error: {tmp_path}: no part is published yet; see `unrolled status {tmp_path}`\n")


@pytest.mark.parametrize(
    "command",
    ["status", "wait", "verify", "show", "quarantine", "report", "card", "retry", "discard", "cancel", "neighbours"],
)
def test_a_misspelt_directory_does_not_exist(tmp_path, command):
    """Each command says so; a store would wait for a directory that is away."""
    result = run(command, tmp_path / "nowhere", *["--id", "x"] * (command == "neighbours"))
    assert result.exit_code == 1
    by_key = "; if it was deleted: unrolled cancel --key KEY, which `unrolled jobs` shows"
    more = by_key if command in ("cancel", "discard") else ""
    assert result.stderr == f"Error: {tmp_path}/nowhere: does not exist; name the output directory of a job{more}\n"


@pytest.mark.parametrize(
    "command",
    ["status", "wait", "verify", "show", "quarantine", "report", "retry", "discard", "cancel"],
)
def test_a_part_in_place_of_its_jobs_directory_is_named(tmp_path, command):
    """The shell's completion, or a pattern, gives it easily."""
    finished_job(tmp_path / "out", shards=1)
    (part,) = (tmp_path / "out").glob("*.parquet")
    result = run(command, part)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {part}: is a file; name the job's directory, {tmp_path}/out\n"
    (tmp_path / "a.txt").touch()
    assert run(command, tmp_path / "a.txt").stderr == (
        f"Error: {tmp_path}/a.txt: is a file; name the output directory of a job\n"
    )


def test_a_job_without_a_row_can_be_shown(tmp_path):
    """An empty input isn't an error; the reader, which can't know the columns, says that the job is complete."""
    finished_job(tmp_path, shards=0)
    line = "complete, and its input had no row; when the input has some, the same command with --append adds them"
    result = run("show", tmp_path)
    assert (result.exit_code, result.output) == (0, f"{tmp_path}: {line}\n")
    result = run("show", tmp_path, "--json")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{tmp_path}: {line}\n")
    with pytest.raises(FileFormatError, match=f"the job is {line}"):
        open_dataset(tmp_path)


def test_a_job_whose_rows_are_all_bad_can_be_shown_and_opened(tmp_path):
    """It has parts, of no row; while others are missing, nothing is called complete."""
    job = make_job(tmp_path, shards=2)
    for shard, missing in zip(waiting(job), ("part", "row"), strict=True):
        assert f"no {missing} is published yet; see `unrolled status {tmp_path}`" in run("show", tmp_path).output
        publish_shard(job, shard, failed=dict.fromkeys(range(4), "ValueError: no"))
    result = run("show", tmp_path)
    line = f"complete, and none of its rows can be computed; for the reasons: unrolled quarantine {tmp_path}"
    assert (result.exit_code, result.output) == (0, f"{tmp_path}: {line}\n")
    assert (len(open_dataset(tmp_path)), open_dataset(tmp_path).complete) == (0, True)


# ---------------------------------------------------------------- doctor


def test_doctor_passes_where_all_is_well(tmp_path, broker):
    """Each check is a line; a warning is not a failure."""
    result = run_with(broker, "doctor", "--out", tmp_path / "new")
    assert result.exit_code == 0
    assert "✓ eviction: noeviction\n" in result.stdout
    assert "! workers: none offers any model\n    → start one: unrolled worker --model DIR\n" in result.stdout


def test_doctor_fails_where_a_job_could_not_run(tmp_path):
    """The exit status is 1, and each failed check says what to do."""
    result = run("doctor", "--broker", "redis://localhost:1/0", "--model", tmp_path / "none")
    assert result.exit_code == 1
    assert "✗ broker: redis://localhost:1/0 is away (" in result.stdout
    assert f"✗ model: {tmp_path / 'none'}: does not exist" in result.stdout


def test_doctor_fails_where_the_login_may_not_use_the_namespace(broker, ledger):
    """`enqueue` and workers are refused then."""
    ledger.client.execute_command("ACL", "SETUSER", "other", "on", ">secret", "~other:*", "&*", "+@all")
    url = broker.url.replace("redis+socket://", "redis+socket://other:secret@")
    result = run("doctor", "--broker", url, "--namespace", NAMESPACE)
    assert result.exit_code == 1
    assert "✗ workers: the list of workers can't be read: " in result.stdout
    assert "→ check --namespace, and the user's keys" in result.stdout
    assert run("doctor", "--broker", url, "--namespace", "other").exit_code == 0


def test_doctor_as_json():
    """JSON is one object; what isn't named is unknown, not wrong."""
    result = run("doctor", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["ok"] is True
    checks = {check["name"]: check for check in found["checks"]}
    assert checks["broker"]["outcome"] == "unknown"
    assert set(checks["broker"]) == {"name", "outcome", "found", "advice"}


def test_doctor_looks_for_workers_of_the_jobs_model(tmp_path, broker, ledger):
    """The model is that of the output directory if no model is named."""
    make_job(tmp_path)
    ledger.beat("host-1", {"lease_seconds": 30})
    result = run_with(broker, "doctor", "--out", tmp_path)
    assert "✓ workers: 1 offer model abababababab… in float32 by fused: host-1\n" in result.stdout
    assert "? worker pool: no worker answered Celery's remote control\n" in result.stdout


def test_doctor_looks_whether_workers_look_in_the_right_place(tmp_path, broker, ledger):
    """A directory that was moved, and a copy, while shards wait; one whose shards are done is nobody's concern."""
    job = make_job(tmp_path / "here", shards=2)
    shards = waiting(job)
    enter(ledger, job, *shards)
    shutil.copytree(job.place, tmp_path / "copy")
    assert "job's place" not in run_with(broker, "doctor", tmp_path / "here").stdout
    result = run_with(broker, "doctor", tmp_path / "copy")
    assert result.exit_code == 1
    assert (
        f"✗ job's place: the broker has this job at {job.place}, and {tmp_path / 'copy'} seems to be a" in result.stdout
    )
    shutil.move(job.place, tmp_path / "there")
    result = run_with(broker, "doctor", tmp_path / "there")
    assert result.exit_code == 1
    assert f"✗ job's place: workers look for this job at {job.place}\n    → if you have moved it, run" in result.stdout
    for shard in shards:
        ledger.remove(Member(job.key, Life(shard, 0)))
    assert "job's place" not in run_with(broker, "doctor", tmp_path / "there").stdout


def test_doctor_compares_the_model_with_the_jobs(tmp_path):
    """Another one is refused by `run` and `enqueue`; the disk's need is then not one of its vectors."""
    model = make_model(tmp_path / "model")
    make_job(tmp_path / "job")
    result = run("doctor", tmp_path / "job", "--model", model.path)
    assert result.exit_code == 1
    assert (
        f"✗ job: {tmp_path / 'job'} is of model abababababab…, and --model is {model.fingerprint[:12]}…\n"
        "    → name the job's model, or another output directory\n"
    ) in result.stdout
    assert "the job needs" not in result.stdout
    own = create_job(tmp_path / "own", replace(job_of(), fingerprint=model.fingerprint))
    result = run("doctor", own.place, "--model", model.path)
    assert "✗ job" not in result.stdout
    assert "the job needs" in result.stdout


@contextmanager
def another_user():
    """The block has no more rights than a user who owns nothing; one who runs as root gets them back after it."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)  # `os.access` asks for the real user
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_wait_says_why_it_saw_nothing_when_its_time_is_over(tmp_path):
    """The look that ends it may be its first."""
    job = make_job(tmp_path / "out")
    result = run("wait", job.place, "--broker", "redis://localhost:1", "--timeout", 0)
    assert result.exit_code == 124
    assert "can't see the queue: broker redis://localhost:1 is away" in result.output


@pytest.mark.parametrize("hidden", [CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, ".", ".."])
def test_a_model_that_this_user_may_not_read(hidden):
    """It isn't called damaged or absent: a copy would replace what is good."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        directory = Path(place) / "of" / "model"
        make_model(directory)
        (directory / TOKENIZER_FILE).write_text("{}")
        path = Path(os.path.normpath(directory / hidden))
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            with another_user():
                shown = run("model", "show", directory)
                worked = run("worker", "--model", directory, "--broker", "redis://localhost:1")
        finally:
            path.chmod(mode)
    for result in (shown, worked):
        assert result.exit_code == 1
        assert re.search(rf"{path}\S* can't be read: Permission denied; let this user read it\n$", result.output)


def test_a_directory_that_this_user_may_not_enter():
    """It is named, by the commands that write and by those that read."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        locked = Path(place) / "locked"
        locked.mkdir()
        (locked / "rows.txt").write_text("a\n")
        rows = Path(place) / "rows.txt"
        rows.write_text("a\n")
        make_model(Path(place) / "model")
        locked.chmod(0)
        words = ("--model", f"{place}/model", "--out")
        try:
            with another_user():
                made = run("run", rows, *words, locked / "out")
                read = run("run", locked / "rows.txt", *words, f"{place}/out")
        finally:
            locked.chmod(0o755)
    assert (made.exit_code, read.exit_code) == (1, 1)
    assert f"{locked}/out" in made.output
    assert made.output.endswith(": Permission denied; let this user in there, or name another place\n")
    assert f"input '{locked}/rows.txt': Permission denied\n" in read.output


@pytest.mark.parametrize("hidden", [names.JOB, names.FOLDER, ".", ".."])
def test_a_job_that_this_user_may_not_read(hidden):
    """Commands say that it has to be readable; `doctor` does so beside its other checks."""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        out = finished_job(Path(place) / "out").place
        path = Path(os.path.normpath(Path(out) / hidden))
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            with another_user():
                doctor = run("doctor", out)
                others = [run(command, out) for command in ("status", "verify", "show")]
        finally:
            path.chmod(mode)
    assert isinstance(doctor.exception, SystemExit)
    assert doctor.exit_code == 1
    assert f"✗ job: cannot read {out}/{names.JOB}: Permission denied\n    → let this user read it" in doctor.output
    assert "output directory: " in doctor.output
    assert "broker: none is named" in doctor.output
    for result in others:
        assert result.exit_code == 1
        assert f"{names.JOB}: Permission denied; let this user read it" in result.output
