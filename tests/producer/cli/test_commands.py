"""The commands that look at a job and mend it, as a person types them."""

import errno
import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.jobs import FINGERPRINT, bury, finished_job, make_job, publish_shard

from producer.cli.root import cli
from producer.jobs import wait
from producer.terminal.progress import Progress
from unrolled.errors import TransientError, UnrolledError
from unrolled.queue.broker import Broker
from unrolled.queue.member import Member
from unrolled.reading.dataset import open_dataset

NAMESPACE = "test"
REPOSITORY = Path(__file__).parents[3]


def run(*arguments, **kwargs):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(cli, words, prog_name="unrolled", env={"COLUMNS": "100"}, **kwargs)


def run_with(broker, *arguments):
    return run(*arguments, "--broker", broker.url, "--namespace", NAMESPACE)


@pytest.fixture
def ledger(broker):
    return Broker(broker.url).ledger(NAMESPACE, FINGERPRINT)


class Working(threading.Thread):
    """Does what a worker does with the shards in the ledger, until it is stopped."""

    def __init__(self, ledger, directory):
        super().__init__(daemon=True)
        self.ledger, self.directory = ledger, directory
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.02):
            for shard in sorted(self.ledger.members(self.directory.key)[0]):
                publish_shard(self.directory, shard)
                self.ledger.remove(Member(self.directory.key, shard))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


class Lines(Progress):
    """Keeps the lines that are said, and calls a function at the first line with a certain word."""

    def __init__(self, reactions=()):
        super().__init__("waiting")
        self.lines = []
        self._reactions = dict(reactions)

    def say(self, line):
        self.lines.append(line)
        for word in [word for word in self._reactions if word in line]:
            self._reactions.pop(word)()


# ---------------------------------------------------------------- status


def test_status_tells_how_far_a_job_is(tmp_path):
    """Without a terminal the status is printed once; without a broker it is what the directory shows."""
    directory = make_job(tmp_path, shards=4, bad=[3])
    publish_shard(directory, min(directory.waiting()))
    result = run("status", tmp_path)
    assert result.exit_code == 0
    assert result.output == (
        f"{tmp_path}: at work; model abababababab…\n"
        "rows    4 of 16; 1 in quarantine\n"
        "tokens  7 of 25\n"
        "shards  1 done, 3 waiting, 0 dead, of 4\n"
    )


def test_status_of_a_complete_job(tmp_path):
    """The report of a complete job has no speed, no time left and no hint."""
    finished_job(tmp_path, shards=2)
    assert run("status", tmp_path).output == (
        f"{tmp_path}: complete; model abababababab…\n"
        "rows    8 of 8; 0 in quarantine\n"
        "tokens  14 of 14\n"
        "shards  2 done, 0 waiting, 0 dead, of 2\n"
    )


def test_status_with_a_broker_shows_workers_and_a_diagnosis(tmp_path, broker, ledger):
    """The report shows running shards, workers, and what to do about dead shards."""
    directory = make_job(tmp_path, shards=3)
    first, second, third = sorted(directory.waiting())
    for shard in (first, second):
        ledger.enter(Member(directory.key, shard), 5, str(tmp_path))
    ledger.claim(Member(directory.key, first), "host-1")
    ledger.beat("host-1", {"engine": "fused", "tokens_per_second": 79_200, "busy_share": 0.97, "on_board": 1})
    seconds = {"read_seconds": 1.2, "plan_seconds": 0.7, "compute_seconds": 340, "write_seconds": 95}
    ledger.beat("host-2", {"engine": "fused", "computed_share": 0.924, **seconds})
    bury(directory, third)
    result = run_with(broker, "status", tmp_path)
    assert result.output.splitlines()[3:] == [
        "shards  0 done, 1 running, 1 queued, 1 dead, of 3",
        "",
        "worker  model  engine  tokens/s  busy  shards",
        "host-1  this   fused   79.2k     97 %       1",
        "host-2  this   fused   0         0 %        0",
        "",
        "worker  read  plan  compute     write       computed",
        "host-2  1 s   1 s   5 min 40 s  1 min 35 s  92 % of tokens",
        (
            f"→ 1 shard(s) were given up; the reasons are in {tmp_path}/_dead; when the cause is gone: "
            f"unrolled retry {tmp_path}"
        ),
    ]


def test_status_as_json_is_one_object(tmp_path, broker):
    """The object has every figure of the report, and the hints."""
    make_job(tmp_path)
    found = json.loads(run_with(broker, "status", tmp_path, "--json").output)
    assert (found["shards"], found["waiting"], found["complete"]) == (3, 3, False)
    assert found["queue"] == {"running": 0, "queued": 0, "missing": 3, "workers": []}
    assert len(found["diagnosis"]) == 2


def test_status_watches_until_the_job_is_complete(tmp_path):
    """--watch --json prints one line for each look at the job."""
    directory = make_job(tmp_path, shards=1)
    timer = threading.Timer(0.3, publish_shard, (directory, *directory.waiting()))
    timer.start()
    result = run("status", tmp_path, "--watch", "--json", "--every-seconds", "0.1")
    timer.join()
    looks = [json.loads(line)["complete"] for line in result.output.splitlines()]
    assert looks[0] is False
    assert looks[-1] is True
    assert looks.count(True) == 1


def test_status_on_a_terminal_is_live(tmp_path):
    """The report is redrawn until the job is complete."""
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
    assert b"shards  1 done, 0 waiting, 0 dead, of 1" in shown
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
    (tmp_path / "_broker").write_text(f"{broker.url}\n")
    assert json.loads(run("status", tmp_path, "--json").output)["queue"] is not None
    broker.stop()
    assert json.loads(run("status", tmp_path, "--json").output)["away"] is None
    (tmp_path / "_broker").write_text("nonsense")
    result = run("status", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {tmp_path}/_broker: holds no broker's URL; remove it, or name the broker with --broker\n"
    )


@pytest.mark.parametrize("command", ["status", "wait", "verify", "retry", "quarantine", "show"])
def test_a_directory_without_a_job_is_an_error(tmp_path, command):
    """The error names the command that makes a job."""
    result = run(command, tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (f"Error: {tmp_path}: no job here (job.json is missing); `unrolled enqueue` makes one\n")


# ---------------------------------------------------------------- wait


def test_wait_ends_with_0_where_every_row_is_published(tmp_path):
    """`wait` prints how many rows are published."""
    finished_job(tmp_path, shards=2)
    result = run("wait", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}: complete\n8 rows are published, in 2 files\n"
    assert result.stderr == "waiting: 14 of 14 tokens (100 %), 8 rows\n"


@pytest.mark.parametrize(("bad", "failed"), [([0], {}), ([], {0: "ValueError: no"})])
def test_wait_ends_with_3_where_rows_are_in_quarantine(tmp_path, bad, failed):
    """The status is 3 for rows that the producer refused and for rows that the engine failed on."""
    directory = make_job(tmp_path, shards=2, bad=bad)
    first, second = sorted(directory.waiting())
    publish_shard(directory, first)
    publish_shard(directory, second, failed=failed)
    result = run("wait", tmp_path)
    assert result.exit_code == 3
    assert result.stdout == (
        f"{tmp_path}: complete\n7 rows are published, in 2 files\n"
        f"1 row(s) are in quarantine, with reasons: unrolled quarantine {tmp_path}\n"
        + (
            f"the engine failed on 1 of them; when the cause is gone: unrolled retry {tmp_path} --failed-rows\n"
            if failed
            else ""
        )
    )


def test_wait_ends_with_1_where_shards_are_dead(tmp_path):
    """Dead shards count more than rows in quarantine."""
    directory = make_job(tmp_path, shards=1, bad=[0])
    bury(directory, *directory.waiting())
    result = run("wait", tmp_path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["dead"] == 1
    assert run("wait", tmp_path).stdout.splitlines()[-1] == (
        f"1 shard(s) are dead; when the cause is gone: unrolled retry {tmp_path}"
    )


def test_wait_ends_with_124_when_time_is_up(tmp_path):
    """The status is that of `timeout`; an input that isn't at its end is mentioned."""
    make_job(tmp_path, shards=2, ended=False)
    began = time.monotonic()
    result = run("wait", tmp_path, "--timeout", "0.3")
    assert result.exit_code == 124
    assert 0.3 <= time.monotonic() - began < 3
    assert result.stdout == (
        f"{tmp_path}: not complete yet\n0 of 2 shards are published, and the input isn't at its end\n"
    )


def test_wait_enters_again_what_redis_lost(tmp_path, broker, ledger):
    """The job completes without another command, and a line says why shards were entered."""
    directory = make_job(tmp_path, shards=5)
    with Working(ledger, directory):
        result = run_with(broker, "wait", tmp_path, "--timeout", "60")
    assert result.exit_code == 0
    assert "Redis lost 5 waiting shard(s); they are entered again\n" in result.stderr
    assert (len(directory.published()), directory.waiting()) == (5, set())


def test_wait_removes_what_dead_workers_left(tmp_path):
    """When the job is complete, hidden files of killed workers are removed; those of a running worker stay."""
    directory = finished_job(tmp_path)
    left = directory.path / ".part-000000-0123456789ab.parquet.host-1-00.tmp"
    left.write_bytes(b"half")
    alive = directory.path / ".part-000001-0123456789ab.parquet.host-2-00.tmp"
    with alive.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert run("wait", tmp_path).exit_code == 0
        assert (left.exists(), alive.exists()) == (False, True)


def test_wait_lets_redis_forget_a_finished_job(tmp_path, broker, ledger):
    """Redis forgets the job, but not before its last shard has left the ledger."""
    directory = finished_job(tmp_path)
    (shard, *_) = directory.published()
    member = Member(directory.key, shard)
    ledger.enter(member, 5, str(tmp_path))
    assert run_with(broker, "wait", tmp_path).exit_code == 0
    assert ledger.job_directory(directory.key) == str(tmp_path)
    ledger.remove(member)
    assert run_with(broker, "wait", tmp_path).exit_code == 0
    assert ledger.job_directory(directory.key) is None


def test_wait_enters_the_part_that_a_crash_of_redis_took(tmp_path, broker, ledger):
    """Redis still knows the job, but has lost its last second."""
    directory = make_job(tmp_path, shards=3)
    first = min(directory.waiting())
    ledger.enter(Member(directory.key, first), 5, str(tmp_path))
    with Working(ledger, directory):
        result = run_with(broker, "wait", tmp_path, "--timeout", "60")
    assert result.exit_code == 0
    assert directory.waiting() == set()


def test_wait_rides_over_a_broker_that_is_away(tmp_path, broker, ledger):
    """`wait` says once that the broker is away, and continues when it is back, empty."""
    directory = make_job(tmp_path, shards=3)
    broker.kill()
    working = Working(ledger, directory)

    def come_back():
        broker.restart(keep_data=False)
        working.start()

    lines = Lines({"is away": come_back})
    until = time.monotonic() + 60
    status = wait.wait_for_job(directory, broker.url, NAMESPACE, lines, until=until, every_seconds=0.05)
    working.stopped.set()
    working.join()
    assert status.complete
    assert lines.lines[0].startswith(f"can't see the queue: broker {broker.url} is away (")
    assert lines.lines[1].startswith("can see the queue again, after ")
    assert lines.lines[2:] == ["Redis lost 3 waiting shard(s); they are entered again"]


def failing(monkeypatch, name, times):
    """Have a call of the operating system fail this many times, as a network file system does that is away."""
    works, left = getattr(os, name), [OSError(errno.ESTALE, "Stale file handle")] * times

    def call(*arguments):
        if left:
            raise left.pop()
        return works(*arguments)

    monkeypatch.setattr(os, name, call)


def test_wait_rides_over_a_directory_that_is_away(tmp_path, monkeypatch):
    """`wait` says it once and looks again; files that can't be swept at the end do no harm."""
    directory = finished_job(tmp_path)
    failing(monkeypatch, "scandir", 2)
    failing(monkeypatch, "listdir", 1)
    lines = Lines()
    assert wait.wait_for_job(directory, None, NAMESPACE, lines).complete
    first, second = lines.lines
    assert re.fullmatch(rf"can't look at {tmp_path}: .*Stale file handle; trying again until it works", first)
    assert second.startswith(f"can look at {tmp_path} again, after ")


def test_wait_gives_up_on_a_directory_that_stays_away(tmp_path, monkeypatch):
    """Where it never could be read, with the reason; else with its last status."""
    directory = make_job(tmp_path)

    class AwayAfterALook(Lines):
        def update(self, **_):
            failing(monkeypatch, "scandir", 10_000)

    until = time.monotonic() + 0.3
    status = wait.wait_for_job(directory, None, NAMESPACE, AwayAfterALook(), until=until, every_seconds=0.05)
    assert (status.complete, status.shards) == (False, 3)
    with pytest.raises(TransientError, match="can't be listed now: Stale file handle"):
        wait.wait_for_job(directory, None, NAMESPACE, Lines(), until=time.monotonic())


def test_wait_says_what_stands_in_the_way_once(tmp_path, broker, monkeypatch):
    """A worker for the model is missing; the line comes after a while, and once only."""
    monkeypatch.setattr(wait, "PATIENCE_SECONDS", 0.1)
    directory = make_job(tmp_path, shards=1)
    (shard,) = directory.waiting()

    class PublishedAfterThreeMoreLooks(Lines):
        looks = 0

        def update(self, **_):
            self.looks += any("no worker" in line for line in self.lines)
            if self.looks == 3:
                publish_shard(directory, shard)

    lines = PublishedAfterThreeMoreLooks()
    assert wait.wait_for_job(directory, broker.url, NAMESPACE, lines, every_seconds=0.05).complete
    assert lines.lines == [
        "Redis lost 1 waiting shard(s); they are entered again",
        "no worker serves this job's model abababababab… (none is running); start one: unrolled worker --model DIR",
    ]


def test_wait_says_when_rows_are_not_spooled_any_more(tmp_path, broker):
    """Shards whose rows are lost can't be entered; what to do is said once."""
    directory = make_job(tmp_path, shards=2)
    for shard in directory.waiting():
        directory.pending(shard).unlink()
    lines = Lines()
    until = time.monotonic() + 0.4
    wait.wait_for_job(directory, broker.url, NAMESPACE, lines, until=until, every_seconds=0.05)
    assert lines.lines == [
        (
            "the rows of 2 waiting shard(s) are not in _pending any more; "
            "run the same `unrolled enqueue` command again, which cuts them again"
        )
    ]


@pytest.mark.parametrize("login", ["weak:pw", "nobody:wrong"])
def test_wait_does_not_wait_for_a_broker_that_refuses(tmp_path, broker, ledger, login):
    """A refused login stays refused; the error doesn't show the password."""
    ledger.client.execute_command("ACL", "SETUSER", "weak", "on", ">pw", "~*", "+ping")
    directory = make_job(tmp_path, shards=1)
    url = broker.url.replace("redis+socket://", f"redis+socket://{login}@")
    with pytest.raises(UnrolledError, match=r"\*\*\*@.* refuses: .*; check the user and password in --broker"):
        wait.wait_for_job(directory, url, NAMESPACE, Lines())


# ---------------------------------------------------------------- verify


def test_verify_passes_on_a_sound_job(tmp_path):
    """A sound job is one line and exit status 0."""
    finished_job(tmp_path, shards=2, bad=[0])
    result = run("verify", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == (f"{tmp_path}: verified; 8 rows in, 7 out in 2 whole files (11 tokens), 1 in quarantine\n")


def test_verify_lists_what_is_wrong(tmp_path):
    """Each problem is a line, and the exit status is 1."""
    directory = finished_job(tmp_path, shards=2)
    shard = sorted(directory.published())[1]
    directory.part(shard).unlink()
    (tmp_path / "more.parquet").touch()
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert result.stdout == (
        f"✗ {shard}: isn't published: unrolled wait {tmp_path}, or the same `unrolled enqueue` command again\n"
        "✗ more.parquet: stray file: no shard of this job is in it; move it away\n"
        f"{tmp_path}: 2 problem(s); 8 rows in, 4 out in 1 whole files (7 tokens), 0 in quarantine\n"
    )


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


def test_retry_brings_dead_shards_back(tmp_path, broker, ledger):
    """The shards are in the ledger and no longer dead, and their messages are in the queue."""
    directory = make_job(tmp_path, shards=3)
    first, second, _ = sorted(directory.waiting())
    bury(directory, first)
    bury(directory, second)
    result = run_with(broker, "retry", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}: 2 dead shard(s) are in the queue again\n")
    assert directory.given_up() == set()
    assert ledger.members(directory.key)[0] == {first, second}
    messages = ledger.client.lrange(f"{NAMESPACE}:shards.{FINGERPRINT[:12]}", 0, -1)
    assert len(messages) == 2


def test_retry_with_nothing_dead_does_nothing(tmp_path, broker):
    """`retry` says that it did nothing."""
    finished_job(tmp_path)
    assert run_with(broker, "retry", tmp_path).stdout == f"{tmp_path}: 0 dead shard(s) are in the queue again\n"


def test_retry_removes_the_record_of_a_shard_that_was_published_after_all(tmp_path, broker, ledger):
    """A crash came between the file and the removal of the record."""
    directory = finished_job(tmp_path, shards=1)
    bury(directory, *directory.published())
    assert json.loads(run_with(broker, "retry", tmp_path, "--json").stdout)["retried"] == 0
    assert directory.given_up() == set()
    assert ledger.members(directory.key)[0] == set()


def test_retry_sends_shards_without_sound_rows_back_to_the_producer(tmp_path, broker):
    """Rows that are damaged or lost would fail again, so the shards are cut again."""
    directory = make_job(tmp_path, shards=2)
    first, second = sorted(directory.waiting())
    bury(directory, first)
    bury(directory, second)
    directory.pending(first).write_bytes(directory.pending(first).read_bytes()[:-1])
    directory.pending(second).unlink()
    result = run_with(broker, "retry", tmp_path)
    assert result.stdout == (
        f"{tmp_path}: 0 dead shard(s) are in the queue again\n"
        "2 more have no rows any more, or damaged ones: "
        "run the same `unrolled enqueue` command again, which cuts them again\n"
    )
    assert directory.given_up() == directory.waiting() == set()


def test_retry_without_a_broker_leaves_the_queueing_to_the_next_command(tmp_path, broker, ledger):
    """After `unrolled run`, its broker has ended; the shards wait in the directory."""
    directory = make_job(tmp_path, shards=2)
    first, second = sorted(directory.waiting())
    bury(directory, first)
    publish_shard(directory, second, failed={0: "MemoryError: no"})
    result = run("retry", tmp_path, "--failed-rows")
    assert result.exit_code == 0
    assert result.stdout == (
        f"{tmp_path}: 1 dead shard(s) wait again\n"
        "1 shard(s) with rows that the engine failed on wait to be computed again\n"
        "no broker is named, so nothing is queued: run the same `unrolled run` command again, or "
        f"`unrolled wait {tmp_path} --broker redis://HOST:6379/0` where workers are running\n"
    )
    assert (directory.waiting(), directory.published()) == ({first, second}, set())
    with Working(ledger, directory):
        assert run_with(broker, "wait", tmp_path, "--timeout", "60").exit_code == 0
    assert directory.published() == {first, second}


# ---------------------------------------------------------------- quarantine and show


def test_quarantine_lists_rows_with_reasons(tmp_path):
    """The producer's rows are named by file and position, the engine's by shard and row."""
    directory = make_job(tmp_path, shards=2, bad=[0])
    first, second = sorted(directory.waiting())
    publish_shard(directory, first)
    publish_shard(directory, second, failed={2: "ValueError: \x1b[31mno"})
    result = run("quarantine", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == (
        f"rows.txt row 3: token id -3 is negative\nshard {second} row 2 (rows.txt#6): ValueError: \\x1b[31mno\n"
    )
    assert result.stderr == "2 row(s) in quarantine\n"
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


def test_quarantine_names_a_list_that_is_damaged(tmp_path):
    """The error has the file and the line."""
    directory = make_job(tmp_path, shards=1, bad=[0])
    path = directory.quarantine(*directory.waiting())
    path.write_text(path.read_text() + "half a li")
    result = run("quarantine", tmp_path)
    assert result.exit_code == 1
    assert f"{path}, line 2: " in result.stderr


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


def test_show_as_json_has_the_numbers_of_the_files(tmp_path):
    """JSON has one row on a line."""
    directory = finished_job(tmp_path, shards=1)
    rows = list(open_dataset(directory.path))
    found = [json.loads(line) for line in run("show", tmp_path, "-n", "9", "--json").stdout.splitlines()]
    assert [row["id"] for row in found] == [row.id for row in rows]
    assert found[3]["mask"] == [1, 0, 1, 1]
    assert found[3]["first"] == rows[3].outputs[0].tolist()
    assert found[3]["last"] == rows[3].outputs[2].tolist()
    assert found[3]["norm"] == pytest.approx(float((rows[3].outputs[2] ** 2).sum() ** 0.5))


def test_show_has_whatever_is_stored(tmp_path):
    """Each column is under its name: pooled vectors, and the first and last vectors of layers."""
    directory = finished_job(tmp_path, shards=1, options={"layers": [0, 1], "pooling": ["none", "mean"]})
    rows = list(open_dataset(directory.path))
    found = [json.loads(line) for line in run("show", tmp_path, "--json").stdout.splitlines()]
    assert found[0].keys() == {"id", "length", "mask", "outputs_0", "mean_0", "outputs_1", "mean_1"}
    assert found[3]["outputs_0"]["last"] == rows[3]["outputs_0"][2].tolist()
    assert found[3]["mean_1"]["vector"] == rows[3]["mean_1"].tolist()
    assert found[3]["mean_1"]["norm"] == pytest.approx(float((rows[3]["mean_1"] ** 2).sum() ** 0.5))
    finished_job(tmp_path / "pooled", shards=1, options={"pooling": ["max"], "precision": "float16"})
    lines = run("show", tmp_path / "pooled", "--numbers", "2").stdout.splitlines()
    assert lines[0].split() == ["id", "length", "mask", "max", "norm"]
    assert len(lines[1].split()) == 7  # two numbers, and a sign that there are more


def test_show_before_the_first_file_says_so(tmp_path):
    """The error names the command that shows how far the job is."""
    make_job(tmp_path)
    result = run("show", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (f"Error: {tmp_path}: no file is published yet; see `unrolled status {tmp_path}`\n")


# ---------------------------------------------------------------- doctor


def test_doctor_passes_where_all_is_well(tmp_path, broker):
    """Each check is a line; a warning is not a failure."""
    result = run_with(broker, "doctor", "--out", tmp_path / "new")
    assert result.exit_code == 0
    assert "✓ eviction: noeviction\n" in result.stdout
    assert "! workers: none serves any model\n    → start one: unrolled worker --model DIR\n" in result.stdout


def test_doctor_fails_where_a_job_could_not_run(tmp_path):
    """The exit status is 1, and each failed check says what to do."""
    result = run("doctor", "--broker", "redis://localhost:1/0", "--model", tmp_path / "none")
    assert result.exit_code == 1
    assert "✗ broker: redis://localhost:1/0 is away (" in result.stdout
    assert f"✗ model: {tmp_path / 'none'}: does not exist" in result.stdout


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
    assert "✓ workers: 1 serve model abababababab…: host-1\n" in result.stdout
    assert "? worker pool: no worker answered Celery's remote control\n" in result.stdout
