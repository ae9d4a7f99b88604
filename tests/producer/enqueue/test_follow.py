"""`unrolled enqueue --follow -`: a live pipe's rows are published while it stays open."""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import termios
import time
from types import SimpleNamespace

import psutil
import pytest
from support.broker import RestartableBroker
from support.jobs import log_of, make_job
from support.processes import NAMESPACE, eventually
from support.shell import ENGINE, Crew, end, environment, make_model, unrolled, words

from producer.enqueue import session
from producer.enqueue.sole_reader import sole_reader
from producer.enqueue.submission import Submission, prepare
from producer.jobs.decisions import cancel
from producer.jobs.verify import verify_job
from producer.sources.options import SourceOptions
from producer.tokenization.word_level import fit
from unrolled.errors import JobError
from unrolled.job import names
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker
from unrolled.reading.dataset import open_dataset

FLUSH_SECONDS = 0.5
#: For reading, computing and publishing a few rows, on a machine that has other things to do.
COMPUTE_SECONDS = 5.0
WORDS = "one two three four five six seven eight nine ten line"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tokenizer = fit([WORDS], 50).tokenizer.to_str()
    return make_model(tmp_path_factory.mktemp("model") / "model", tokenizer_json=tokenizer).path


@pytest.fixture
def crew():
    with Crew() as opened:
        yield opened


@pytest.fixture
def live(tmp_path, model, broker, crew):
    """What a producer needs to know; a worker is at work."""
    crew.worker(tmp_path / "worker.log", broker=broker.url, model=model, engine=ENGINE, lease_seconds=2)
    return {
        "broker": broker.url,
        "model": model,
        "engine": ENGINE,
        "out": tmp_path / "out",
        "flush_seconds": FLUSH_SECONDS,
    }


def ids(out):
    """What is published at this moment."""
    return [row.id for row in open_dataset(out)] if list(out.glob("*.parquet")) else []


def published(out, count):
    """Wait until this many rows are published; how long it took."""
    return eventually(lambda: len(ids(out)) >= count, f"{count} rows of {len(ids(out))}")


def check(out):
    """What is published is what was cut; `verify` has nothing to say once the stream has ended."""
    assert verify_job(open_job(out)).problems == ()


def read_rows(out):
    """How many rows the log says were read."""
    entries = log_of(open_job(out)).entries.values() if (out / names.JOB).exists() else []
    return sum(entry.rows for entry in entries)


def write(process, text):
    process.stdin.write(text)
    process.stdin.flush()


def numbered(rows, run=0):
    """The ids of a run's rows; a run is named by its place in the job's log."""
    return [f"-#{run}#{number}" for number in range(rows)]


def test_shares_are_those_of_the_run_that_says_them(live):
    """A stream's earlier rows can't be read again, so a later run knows nothing of their words."""
    first = unrolled("enqueue", "--follow", "-", stdin="one two\n\n", **live)
    assert "1 row has no token, and so no state" in first.stdout
    later = unrolled("enqueue", "--follow", "-", stdin="unheard one\n\n", **live)
    assert "50.0 % of the words that this run has read are not in the model's vocabulary" in later.stdout
    assert "1 row that this run has read has no token, and so no state" in later.stdout


def test_one_line_of_a_pipe_is_published(live):
    """`printf 'one line\\n' | unrolled enqueue --follow -`: its end is the end of the input, and the job completes."""
    done = unrolled("enqueue", "--follow", "-", stdin="one line\n", **live | {"flush_seconds": 60})
    assert done.returncode == 0, done.stderr
    assert "1 row with 2 tokens in 1 shard; 1 is queued" in done.stdout
    published(live["out"], 1)
    assert ids(live["out"]) == numbered(1)
    assert unrolled("wait", live["out"], "--timeout", "20").returncode == 0
    check(live["out"])


def test_an_open_pipe_is_published_as_it_comes(live, crew):
    """Each part within --flush-seconds and the compute time, while `tail -f` at the other end writes no end."""
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(producer, "one\n")
    published(live["out"], 1)  # what it takes to start isn't counted
    for part in range(1, 4):
        write(producer, "one two\nthree\n")
        assert published(live["out"], 1 + 2 * part) < FLUSH_SECONDS + COMPUTE_SECONDS
        assert producer.poll() is None
        assert not log_of(open_job(live["out"])).ended
    found = ("status", live["out"], "--json", "--broker", live["broker"])
    status = json.loads(unrolled(*found).stdout)
    assert (status["rows_published"], status["complete"]) == (7, False)
    assert (status["fed"], status["diagnosis"]) == (True, [])
    _, said = producer.communicate()
    assert producer.returncode == 0, said
    assert json.loads(unrolled(*found).stdout)["fed"] is False
    assert unrolled("wait", live["out"], "--timeout", "20").returncode == 0
    assert ids(live["out"]) == numbered(7)


def test_a_second_reader_is_refused_while_the_first_reads(live, crew):
    """Its end would be the end of the input, and rows of the first would be lost. A dead one is no bar."""
    first = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(first, "one\n")
    published(live["out"], 1)
    second = unrolled("enqueue", "--follow", "-", stdin="two\n", **live)
    assert second.returncode == 1
    said = "another `unrolled run` or `enqueue` with --follow reads for this job; nothing was read. Stop that one"
    assert said in second.stderr
    assert not log_of(open_job(live["out"])).ended
    first.kill()
    first.wait()
    third = unrolled("enqueue", "--follow", "-", stdin="two\n", **live)
    assert third.returncode == 0, third.stderr
    published(live["out"], 2)
    assert unrolled("wait", live["out"], "--timeout", "20").returncode == 0


@pytest.mark.parametrize("command", ["cancel", "discard"])
def test_a_quiet_stream_ends_when_its_job_does(live, crew, command):
    """No row has to arrive for that. After a cancel, the same command goes on; after a discard, nothing is left."""
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(producer, "one\n")
    published(live["out"], 1)
    done = unrolled(command, live["out"], *(["--yes"] if command == "discard" else []), broker=live["broker"])
    assert done.returncode == 0, done.stderr
    assert producer.wait(60) == 1
    what = "nothing more is queued" if command == "discard" else "the rows that were read are kept, and the same"
    assert f" while its input was read; {what}" in producer.stderr.read()
    again = unrolled("enqueue", "--follow", "-", stdin="two\n", **live)
    assert again.returncode == (command == "discard"), again.stderr
    if command == "discard":
        assert list((live["out"] / names.ROWS).glob("*")) == []
    else:
        published(live["out"], 2)


def test_a_row_that_comes_after_the_discard_is_not_kept(live, crew):
    """It may be on its way to the disk when the log says so."""
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(producer, "one\n")
    published(live["out"], 1)
    assert unrolled("discard", live["out"], "--yes", broker=live["broker"]).returncode == 0
    write(producer, "two\n")
    assert producer.wait(60) == 1
    assert list((live["out"] / names.ROWS).glob("*")) == []


def test_a_second_reader_of_a_job_without_a_lock_is_warned(tmp_path, broker):
    """In a bucket, or where the file system has none: the broker may know of the first."""
    said = []
    job = make_job(tmp_path)
    ledger = Broker(broker.url).ledger(NAMESPACE, job.job.offer)
    (tmp_path / names.JOB).rename(tmp_path / "moved")  # nothing to lock
    for expected in (0, 1):
        with sole_reader(job, ledger, said.append, "nothing was read"):
            assert len(said) == expected
        ledger.say_fed(job.key, 20)
    ledger.say_unfed(job.key)
    with sole_reader(job, ledger, said.append, "nothing was read"):
        assert len(said) == 1
    assert "the broker had a sign of another reader of this job within the last 20 seconds" in said[0]


def test_a_file_that_grows_is_followed(tmp_path, live, crew):
    """With `tail -F` itself, as the documentation shows it; half a line waits for its other half."""
    log = tmp_path / "app.log"
    log.write_text("one\n")
    shell = crew.shell(f"tail -n +1 -F {log} | {shlex.join(words('enqueue', '--follow', '-'))}", **live)
    published(live["out"], 1)
    with log.open("a") as file:
        file.write("two\nthr")
        file.flush()
        published(live["out"], 2)
        file.write("ee\n")
    published(live["out"], 3)
    os.killpg(shell.pid, signal.SIGINT)  # Ctrl-C
    shell.wait(30)
    assert [row.length for row in open_dataset(live["out"])] == [1, 1, 1]
    assert ids(live["out"]) == numbered(3)


def test_a_stream_goes_on(live):
    """Three runs of the same command: no id is given twice, and no row is missing in the end."""
    for part, more in enumerate(["one\ntwo\n", "three\n", "four\nfive\n"]):
        done = unrolled("enqueue", "--follow", "-", stdin=more, **live)
        assert done.returncode == 0, done.stderr
        assert len(log_of(open_job(live["out"])).entries) == part + 1
    published(live["out"], 5)
    assert ids(live["out"]) == numbered(2) + numbered(1, run=3) + numbered(2, run=6)
    check(live["out"])


def test_each_run_of_a_table_begins_with_the_names_of_its_columns(tmp_path, model, broker):
    """A later run can't know them. What it is advised to do can be done: the job's options can't be changed."""
    live = {"broker": broker.url, "model": model, "engine": ENGINE, "out": tmp_path / "out", "format": "csv"}
    first = unrolled("enqueue", "--follow", "-", stdin="id,text\na,one\n", **live)
    assert (first.returncode, "names of the columns" in first.stderr) == (0, False), first.stderr
    for line, message in (
        ("three,four", "columns found: 'three', 'four'"),
        ("three four", "columns found: 'three four'"),
        ("three\tfour", "Its columns seem to be separated by tabs; give --format tsv"),
    ):
        later = unrolled("enqueue", "--follow", "-", stdin=f"{line}\n", **live)
        assert later.returncode == 1
        assert message in later.stderr
        assert (
            "Each run of a stream begins with the line that names the columns: send it first, or use another --out "
            "with other options, such as --columns NAME,NAME; "
        ) in later.stderr
        assert "--no-header" not in later.stderr
    assert unrolled("enqueue", "--follow", "-", stdin="id,text\nb,two\n", **live).returncode == 0
    other = {**live, "out": tmp_path / "other", "columns": "id,text"}
    assert unrolled("enqueue", "--follow", "-", stdin="a,one\n", **other).returncode == 0
    for job in (live, other):
        assert unrolled("enqueue", "--follow", "-", stdin="", **job).returncode == 0, "it ends the job's input"
    again = unrolled("enqueue", "--follow", "-", stdin="b,two\n", **other)
    assert (again.returncode, "names of the columns" in again.stderr) == (0, False), again.stderr
    assert read_rows(other["out"]) == 2


def test_a_later_run_of_a_table_says_what_it_takes_for_the_names_of_the_columns(tmp_path, model, broker):
    """A row with a field `text` passes for the names of the columns, and isn't stored."""
    live = {"broker": broker.url, "model": model, "engine": ENGINE, "out": tmp_path / "out", "format": "tsv"}
    assert unrolled("enqueue", "--follow", "-", stdin="id\ttext\na\tone\n", **live).returncode == 0
    later = unrolled("enqueue", "--follow", "-", stdin="text\tone\ntwo\tthree\n", **live)
    assert later.returncode == 0
    said = "-: the first line of this run is read as the names of the columns, and not as a row, as in each run of this"
    assert said in later.stderr


def test_rows_of_a_killed_producer_that_were_cut_are_not_lost(live, crew):
    """`kill -9` after a flush, with no worker having seen the shard; the next run of the stream enters it."""
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(producer, "one\ntwo\n")
    eventually(lambda: read_rows(live["out"]) == 2, "a cut")
    producer.kill()
    producer.communicate()
    assert unrolled("enqueue", "--follow", "-", stdin="three\n", **live).returncode == 0
    published(live["out"], 3)
    assert ids(live["out"]) == numbered(2) + numbered(1, run=2)
    check(live["out"])


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_part_that_was_removed_is_missed(tmp_path, model, broker, crew, is_emptied):
    """Its rows can't be read again, whether or not Redis still knows the job: a copy helps."""
    live = {
        "broker": broker.url,
        "model": model,
        "engine": ENGINE,
        "out": tmp_path / "out",
        "flush_seconds": FLUSH_SECONDS,
    }
    worker = crew.worker(tmp_path / "worker.log", broker=broker.url, model=model, engine=ENGINE, lease_seconds=2)
    assert unrolled("enqueue", "--follow", "-", stdin="one\ntwo\n", **live).returncode == 0
    assert unrolled("wait", live["out"], "--timeout", "20").returncode == 0
    eventually(lambda: not list((live["out"] / names.ROWS).iterdir()), "the end of the rows")
    if is_emptied:
        end(worker)
        Broker(broker.url).client.flushall()
    (part,) = live["out"].glob("*.parquet")
    part.rename(tmp_path / "copy")
    done = unrolled("enqueue", "--follow", "-", stdin="", **live)
    assert done.returncode == 0
    assert done.stdout == (
        f"0 rows with 0 tokens in 0 shards; 0 are queued{', and 1 of earlier runs' if is_emptied else ''}\n"
        "neither the rows nor the part of 1 shard can be seen, so it can't be computed; to see what helps: unrolled "
        f"status {live['out']}\n"
    )
    assert "restore the part from a copy" in unrolled("status", live["out"]).stdout
    (tmp_path / "copy").rename(part)
    done = unrolled("enqueue", "--follow", "-", stdin="", **live)
    assert (done.returncode, done.stdout) == (0, "0 rows with 0 tokens in 0 shards; 0 are queued\n")
    check(live["out"])


def test_damaged_rows_of_a_stream_come_back_from_a_copy(tmp_path, model, broker, crew):
    """No command sends to one that can't help: the shard is dead until its rows are restored and it is retried."""
    live = {
        "broker": broker.url,
        "model": model,
        "engine": ENGINE,
        "out": tmp_path / "out",
        "flush_seconds": FLUSH_SECONDS,
    }
    assert unrolled("enqueue", "--follow", "-", stdin="one two\nthree\n", **live).returncode == 0
    (rows,) = (live["out"] / names.ROWS).iterdir()
    whole = rows.read_bytes()
    rows.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    crew.worker(tmp_path / "worker.log", broker=broker.url, model=model, engine=ENGINE, lease_seconds=2)
    assert unrolled("wait", live["out"], "--timeout", "20").returncode == 1
    way = f"restore them from a copy, then: unrolled retry {live['out']}"
    assert f"and rows of a stream can't be read again: {way}\n" in unrolled("verify", live["out"]).stdout
    done = unrolled("enqueue", "--follow", "-", stdin="", **live)
    assert (done.returncode, done.stdout.splitlines()[1:]) == (
        0, [f"1 shard is dead, and not queued; to see why, and what helps: unrolled status {live['out']}"],
    )  # fmt: skip
    assert f": {way})" in unrolled("status", live["out"]).stdout
    assert unrolled("retry", live["out"], broker=broker.url).returncode == 1
    rows.write_bytes(whole)
    assert unrolled("retry", live["out"], broker=broker.url).returncode == 0
    assert unrolled("wait", live["out"], "--timeout", "20").returncode == 0
    assert ids(live["out"]) == numbered(2)
    check(live["out"])


def test_rows_that_were_read_are_on_disk_while_the_queue_is_full(tmp_path, model, broker, crew):
    """One read of the pipe gives two full shards and a row more; the first fills the queue. `kill -9` loses none."""
    live = {
        "broker": broker.url,
        "model": model,
        "engine": ENGINE,
        "out": tmp_path / "out",
        "flush_seconds": FLUSH_SECONDS,
    }
    full = {"shard_tokens": 2, "max_queued_tokens": 1}
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live, **full)
    write(producer, "one two\nthree four\nfive\n")
    eventually(lambda: read_rows(live["out"]) == 3, "three rows on disk and in the log")
    write(producer, "six\n")
    assert "queue is full" in producer.stderr.readline()
    producer.kill()
    producer.communicate()
    crew.worker(tmp_path / "worker.log", broker=broker.url, model=model, engine=ENGINE, lease_seconds=2)
    assert unrolled("enqueue", "--follow", "-", stdin="", **live, **full).returncode == 0
    published(live["out"], 3)
    assert ids(live["out"]) == numbered(3)
    check(live["out"])


def test_a_signal_ends_a_run_whose_queue_is_full(tmp_path, model, broker, crew):
    """The rows that were read are in the log; no one needs to make room first."""
    live = {"broker": broker.url, "model": model, "engine": ENGINE, "out": tmp_path / "out", "flush_seconds": 600}
    producer = crew.start(
        "enqueue", "--follow", "-", stdin=subprocess.PIPE, shard_tokens=2, max_queued_tokens=1, **live
    )
    write(producer, "one two\nthree\n")
    assert "queue is full" in producer.stderr.readline()
    producer.send_signal(signal.SIGTERM)
    eventually(lambda: producer.poll() is not None, "its end")
    assert (producer.returncode, read_rows(live["out"])) == (0, 2), producer.stderr.read()


def test_what_is_in_the_pipe_of_a_full_queue_is_kept_at_the_end(tmp_path, model, broker, crew):
    """Its writer can't write it again; what it writes after that is its own matter."""
    live = {"broker": broker.url, "model": model, "engine": ENGINE, "out": tmp_path / "out", "flush_seconds": 600}
    reading, writing = os.pipe()
    with os.fdopen(reading) as rest, os.fdopen(writing, "w") as pipe:
        producer = crew.start("enqueue", "--follow", "-", stdin=rest, shard_tokens=2, max_queued_tokens=1, **live)
        pipe.write("one two\nthree\n")
        pipe.flush()
        assert "queue is full" in producer.stderr.readline()
        pipe.write("four\n" * 100 + "fi")
        pipe.flush()
        producer.send_signal(signal.SIGTERM)
        eventually(lambda: producer.poll() is not None, "its end")
        assert (producer.returncode, fcntl.ioctl(rest, termios.FIONREAD, b"0000")) == (3, bytes(4))
    assert read_rows(live["out"]) == 102
    assert [
        json.loads(line)["reason"] for line in unrolled("quarantine", live["out"], "--json").stdout.splitlines()
    ] == [UNFINISHED]


def let_in(admin):
    """Give a user all rights."""
    admin.execute_command("ACL", "SETUSER", "known", "on", ">secret", "~*", "&*", "+@all")


def test_a_missing_right_while_the_queue_is_full_loses_no_row(tmp_path, model, broker, crew):
    """A row that was read and not yet cut still reaches the disk; the next run queues it."""
    let_in(admin := Broker(broker.url).client)
    url = broker.url.replace("redis+socket://", "redis+socket://known:secret@")
    live = {
        "broker": url,
        "model": model,
        "engine": ENGINE,
        "out": tmp_path / "out",
        "flush_seconds": 4 * FLUSH_SECONDS,
    }
    full = {"shard_tokens": 2, "max_queued_tokens": 1}
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live, **full)
    write(producer, "one two\nthree\n")
    assert "queue is full" in producer.stderr.readline()
    admin.execute_command("ACL", "SETUSER", "known", "-@all")
    eventually(lambda: producer.poll() is not None, "its end")
    said = producer.stderr.read()
    assert producer.returncode == 1
    assert "refuses" in said
    assert "secret" not in said
    let_in(admin)
    crew.worker(tmp_path / "worker.log", broker=url, model=model, engine=ENGINE, lease_seconds=2)
    assert unrolled("enqueue", "--follow", "-", stdin="", **live, **full).returncode == 0
    published(live["out"], 2)
    assert ids(live["out"]) == numbered(2)
    check(live["out"])


def test_a_login_that_is_refused_for_a_while_costs_time_only(tmp_path, model, broker, crew):
    """As after a restart of the server with an old list of users: a stream that was let in before isn't ended."""
    let_in(admin := Broker(broker.url).client)
    url = broker.url.replace("redis+socket://", "redis+socket://known:secret@")
    live = {"broker": url, "model": model, "engine": ENGINE, "out": tmp_path / "out", "flush_seconds": FLUSH_SECONDS}
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(producer, "one\n")
    eventually(lambda: read_rows(live["out"]) == 1, "a row")
    admin.execute_command("ACL", "DELUSER", "known")
    write(producer, "two\n")
    line = next(line for line in producer.stderr if "refuses" in line)
    assert "can't reach the broker: " in line
    assert "secret" not in line
    write(producer, "three\n")
    let_in(admin)
    assert any("can reach the broker again" in line for line in producer.stderr)
    crew.worker(tmp_path / "worker.log", broker=url, model=model, engine=ENGINE, lease_seconds=2)
    producer.communicate()
    assert producer.returncode == 0
    published(live["out"], 3)
    assert ids(live["out"]) == numbered(3)
    check(live["out"])


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_input_in_order(live, number, crew):
    """What was read is queued and the job is complete, though the pipe stays open and its last shard wasn't full."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as rest, os.fdopen(writing, "w") as pipe:
        producer = crew.start("enqueue", "--follow", "-", stdin=rest, **live | {"flush_seconds": 600})
        lines = 60_000  # more than a pipe holds: when the last line is in, the first ones are off it
        pipe.write("one\n" * lines)
        pipe.flush()
        producer.send_signal(number)
        eventually(lambda: producer.poll() is not None, "its end")
        assert producer.returncode == 0, producer.stderr.read()
        pipe.close()
        left = len(rest.readlines())
    taken = read_rows(live["out"])
    assert (taken + left, taken > 0) == (lines, True)
    assert producer.stdout.read().startswith(f"{taken:,} rows with ")
    published(live["out"], taken)
    assert ids(live["out"]) == numbered(taken)
    check(live["out"])


UNFINISHED = "the stream was ended before the end of this row was read"


@pytest.mark.parametrize(
    ("form", "text", "rows", "unfinished"),
    [
        ("text", "one\ntwo\nthree fo", 2, [None]),
        ("text", "one\ntwo\n", 2, []),
        ("jsonl", '{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}', 1, ["b"]),
        ("jsonl", '{"id": "a", "text": "one"}\n{"id": "b", "te', 1, [None]),
        ("fasta", ">a\none\n>b\ntwo\n", 1, ["b"]),
        ("csv", 'id,text\na,one\nb,"two\nthree', 1, [None, None]),
        ("csv", "id,te", 0, []),
        ("text", "", 0, []),
    ],
)
def test_the_beginning_of_a_row_is_not_dropped_in_silence(form, text, rows, unfinished, live, crew):
    """Where a signal ends the input, nothing shows whether the row would have gone on."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as rest, os.fdopen(writing, "w") as pipe:
        pipe.write(text)
        pipe.flush()
        more = live | {"format": form, "flush_seconds": 600}
        producer = crew.start("enqueue", "--follow", "-", stdin=rest, **more)
        eventually(lambda: (live["out"] / names.JOB).exists() and log_of(open_job(live["out"])).run, "its beginning")
        eventually(lambda: fcntl.ioctl(rest, termios.FIONREAD, b"0000") == bytes(4), "an empty pipe")
        producer.send_signal(signal.SIGTERM)
        eventually(lambda: producer.poll() is not None, "its end")
    assert producer.returncode == (3 if unfinished else 0), producer.stderr.read()
    bad = [json.loads(line) for line in unrolled("quarantine", live["out"], "--json").stdout.splitlines()]
    assert [(one["id"], one["reason"]) for one in bad] == [(one, UNFINISHED) for one in unfinished]
    assert read_rows(live["out"]) == rows
    assert log_of(open_job(live["out"])).ended


def test_the_rest_of_a_line_that_is_in_the_pipe_is_read(live, crew):
    """A chunk of a busy stream seldom ends with a line."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as rest, os.fdopen(writing, "w") as pipe:
        producer = crew.start("enqueue", "--follow", "-", stdin=rest, **live | {"flush_seconds": 600})
        lines = 60_000
        pipe.write("eleven\n" * lines)
        pipe.flush()
        producer.send_signal(signal.SIGTERM)
        eventually(lambda: producer.poll() is not None, "its end")
        assert producer.returncode == 0, producer.stderr.read()
        pipe.close()
        left = rest.readlines()
    assert set(left) <= {"eleven\n"}
    assert read_rows(live["out"]) + len(left) == lines


@pytest.mark.usefixtures("hangups")
def test_a_closed_terminal_ends_the_input_in_order(live):
    """What was read is queued, though nothing can be written to the terminal any more."""
    controller, terminal = os.openpty()
    reading, writing = os.pipe()
    own = "fcntl.ioctl(1, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv)"
    command = [sys.executable, "-m", "producer", "enqueue", "--follow", "-"]
    producer = subprocess.Popen(
        [sys.executable, "-c", f"import fcntl, os, sys, termios; sys.argv[0] = sys.executable; {own}", *command[1:]],
        stdin=reading, stdout=terminal, stderr=terminal, env=environment(**live | {"flush_seconds": 600}),
        start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        lines = 60_000  # more than a pipe holds: when the last line is in, the first ones are off it
        pipe.write("one\n" * lines)
        pipe.flush()
        os.close(controller)
        try:
            assert producer.wait(30) == 0
        finally:
            producer.kill()
    taken = read_rows(live["out"])
    assert taken > 0
    published(live["out"], taken)
    assert ids(live["out"]) == numbered(taken)
    check(live["out"])


def test_a_broker_that_is_away_meanwhile_costs_time_only(tmp_path, model, crew):
    """The producer says so once, keeps what it read, and continues when the broker is back, with or without data."""
    out = tmp_path / "out"
    with RestartableBroker() as server:
        live = {"broker": server.url, "model": model, "engine": ENGINE, "out": out, "flush_seconds": FLUSH_SECONDS}
        worker = crew.worker(tmp_path / "worker.log", broker=server.url, model=model, engine=ENGINE, lease_seconds=2)
        producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
        write(producer, "one\n")
        published(out, 1)
        server.kill()
        write(producer, "two\n")
        eventually(lambda: len(list((out / names.ROWS).iterdir())) == 1, "the row on disk while the broker is away")
        said = ""
        while "is away" not in said:
            said += producer.stderr.readline()
        server.restart(keep_data=False)
        published(out, 2)
        write(producer, "three\n")
        published(out, 3)
        producer.stdin.close()
        said += producer.stderr.read()
        assert producer.wait(30) == 0, said
        assert end(worker) == 0
    assert said.count("is away") == 1
    assert said.count("can reach the broker again, after ") == 1
    assert "Traceback" not in said
    assert ids(out) == numbered(3)
    check(out)


class Interrupting:
    """A display that takes the broker away at the first shard, and then sends this process a row and signals."""

    def __init__(self, server, numbers, pipe):
        self.server, self.numbers, self.pipe, self.said = server, numbers, pipe, []

    def update(self, **_):
        if self.server is not None:
            self.server.kill()
            self.server = None
            self.pipe.write("eight\n")
            self.pipe.flush()
            for number in self.numbers:
                os.kill(os.getpid(), number)

    def say(self, line):
        self.said.append(line)

    warn = say


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(
    "numbers", [[signal.SIGTERM], 2 * [signal.SIGTERM], 3 * [signal.SIGHUP], [signal.SIGTERM, signal.SIGHUP]]
)
def test_a_signal_ends_a_run_whose_broker_is_away(tmp_path, model, crew, monkeypatch, numbers):
    """Rows that have arrived are on disk, one that isn't in a full shard too, and the next run queues all.

    `timeout` may send SIGTERM twice, the system and the shell of a closed terminal SIGHUP, and systemd both.
    """
    out = tmp_path / "out"
    with RestartableBroker() as server:
        reading, writing = os.pipe()
        with os.fdopen(reading) as stdin, os.fdopen(writing, "w") as pipe:
            pipe.write("one two\nthree four\nfive six\nseven\n")
            pipe.flush()
            monkeypatch.setattr(sys, "stdin", stdin)
            prepared = prepare(Submission(("-",), str(out), model, SourceOptions(follow=True), 2, 600.0, engine=ENGINE))
            display = Interrupting(server, numbers, pipe)
            with pytest.raises(
                JobError, match=f"^{out}: stopped .*; the 5 rows that were read are on disk, but not all"
            ):
                session.enqueue(prepared, server.url, "unrolled", None, display=display)
        assert not any("may not be on disk" in line for line in display.said)
        server.restart()
        crew.worker(tmp_path / "worker.log", broker=server.url, model=model, engine=ENGINE, lease_seconds=2)
        live = {"broker": server.url, "model": model, "engine": ENGINE, "out": out, "shard_tokens": 2}
        assert unrolled("enqueue", "--follow", "-", stdin="", **live).returncode == 0
        published(out, 5)
    assert sorted(ids(out)) == numbered(5)
    check(out)


def stopped_while_away(crew, number, text, late, **live):
    """What a producer says that a signal ends while its broker isn't there; some of its input comes after it knows."""
    away = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, broker="redis://127.0.0.1:1/0", **live)
    write(away, text)
    assert "is away" in away.stderr.readline()
    write(away, late)
    away.send_signal(number)
    eventually(lambda: away.poll() is not None, "its end")
    said = away.stderr.read()
    assert away.returncode == 1, said
    return said


@pytest.mark.parametrize("text", ["one\ntwo\n", ""])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_whose_broker_was_never_there(tmp_path, model, broker, crew, number, text):
    """What was taken from the pipe to look at it, and what has come since, is on disk, and the next run queues it."""
    live = {"model": model, "engine": ENGINE, "out": tmp_path / "out", "flush_seconds": 0.1}
    said = stopped_while_away(crew, number, text, "four\nfive\nsix\n", **live)
    rows = 3 + text.count("\n")
    assert f"the {rows} rows that were read are on disk, but not all of them" in said
    assert unrolled("enqueue", "--follow", "-", stdin="three\n", broker=broker.url, **live).returncode == 0
    assert read_rows(live["out"]) == rows + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_later_run_whose_broker_was_never_there(tmp_path, model, broker, crew, number):
    """What is in the pipe is kept then, too; where nothing is in it, that is said."""
    live = {"model": model, "engine": ENGINE, "out": tmp_path / "out"}
    assert unrolled("enqueue", "--follow", "-", stdin="one\n", broker=broker.url, **live).returncode == 0
    said = stopped_while_away(crew, number, "", "", **live)
    assert "no row was read. When it can, run the same command again" in said
    said = stopped_while_away(crew, number, "two\n", "", **live)
    assert "the 1 row that was read is on disk, but not all of them" in said
    assert unrolled("enqueue", "--follow", "-", stdin="", broker=broker.url, **live).returncode == 0
    assert read_rows(live["out"]) == 2


def test_what_was_taken_is_on_disk_if_the_broker_refuses(tmp_path, model, broker, crew):
    """The login is let in, and may not enter shards."""
    admin = Broker(broker.url).client
    admin.execute_command("ACL", "SETUSER", "weak", "on", ">secret", "~*", "&*", "+@all", "-zadd")
    url = broker.url.replace("redis+socket://", "redis+socket://weak:secret@")
    live = {"model": model, "engine": ENGINE, "out": tmp_path / "out", "flush_seconds": 600}
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, broker=url, **live)
    write(producer, "one\ntwo\n")
    eventually(lambda: producer.poll() is not None, "its end")
    said = producer.stderr.read()
    assert (producer.returncode, "refuses" in said, "may not be on disk" in said) == (1, True, False), said
    assert unrolled("enqueue", "--follow", "-", stdin="three\n", broker=broker.url, **live).returncode == 0
    assert read_rows(live["out"]) == 3


def test_the_beginning_of_a_stream_for_which_no_job_can_be_made(live):
    """It was taken to look at it, and the user is told that it is gone."""
    live["out"].mkdir()
    (live["out"] / "of-others.parquet").touch()
    done = unrolled("enqueue", "--follow", "-", stdin="one\ntwo\n", **live)
    assert done.returncode == 1
    assert "8 bytes of the stream were read, and can't be read again" in done.stderr
    assert "of-others.parquet" in done.stderr


def test_the_beginning_of_a_stream_that_is_not_what_its_format_says(live):
    """It was taken to look at it, and no job is made of it."""
    done = unrolled("enqueue", "--follow", "-", stdin="PK\x03\x04 and so on", **live)
    assert done.returncode == 1
    assert "is a zip archive" in done.stderr
    assert "14 bytes of the stream were read, and can't be read again" in done.stderr
    assert not live["out"].exists()


def test_two_processes_begin_one_stream_at_once(live, monkeypatch):
    """The one that comes second finds the job of the first, and says what it has taken until then."""
    read, write_end = os.pipe()
    os.write(write_end, b"one\n")
    with os.fdopen(read, "rb") as file:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file))
        model = {"model": live["model"], "source": SourceOptions(follow=True)}
        prepared = prepare(Submission(("-",), str(live["out"]), **model))
        ledger = Broker(live["broker"]).ledger(NAMESPACE, prepared.job.job.offer)
        with sole_reader(prepared.job, ledger, print, "nothing was read"), pytest.raises(JobError) as error:
            session.enqueue(prepared, live["broker"], NAMESPACE, None)
    assert "reads for this job; 4 bytes of the stream were read, and can't be read again. Stop" in str(error.value)
    os.close(write_end)


def test_standard_input_alone_is_followed(live, tmp_path):
    """A file can't be: it has an end."""
    (tmp_path / "rows.txt").write_text("one\n")
    done = unrolled("enqueue", "--follow", tmp_path / "rows.txt", **live)
    assert done.returncode == 2
    text = f"Error: --follow reads only standard input; found {tmp_path}/rows.txt, allowed: -\n"
    assert done.stderr.endswith(text)
    assert not live["out"].exists()


def test_a_silent_pipe_costs_next_to_nothing(live, crew):
    """While no input arrives, the producer sleeps, and takes little of a core."""
    producer = crew.start("enqueue", "--follow", "-", stdin=subprocess.PIPE, **live)
    write(producer, "one\n")
    published(live["out"], 1)
    before, began = cpu_seconds(producer.pid), time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.5, "a while")
    assert cpu_seconds(producer.pid) - before < 0.3
    producer.communicate()


def cpu_seconds(pid):
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@pytest.mark.parametrize("follow", [False, True], ids=["files", "a stream"])
def test_a_cancel_while_the_broker_is_away_before_the_first_row(tmp_path, model, crew, follow):
    """The command was given before the cancel, so it doesn't resume the job; given again, it does."""
    out, source = tmp_path / "out", tmp_path / "in.txt"
    source.write_text("one two\n")
    options = {"model": model, "engine": ENGINE, "out": out, **({"flush_seconds": FLUSH_SECONDS} if follow else {})}
    inputs = ("--follow", "-") if follow else (source,)
    with RestartableBroker() as server:
        server.kill()
        producer = crew.start("enqueue", *inputs, stdin=subprocess.PIPE, broker=server.url, **options)
        assert any("can't reach the broker" in line for line in producer.stderr)
        cancel(open_job(out).objects, None)
        server.restart()
        said = producer.communicate("three\n" if follow else None, timeout=60)[1]
        assert (producer.returncode, "was cancelled while" in said) == (1, True), said
        assert log_of(open_job(out)).cancelled
        again = unrolled("enqueue", *inputs, stdin="four\n", broker=server.url, **options)
        assert again.returncode == 0, again.stderr
        crew.worker(tmp_path / "worker.log", broker=server.url, model=model, engine=ENGINE, lease_seconds=2)
        published(out, 2 if follow else 1)
    check(out)
