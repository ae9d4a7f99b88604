"""`unrolled enqueue`: its errors and answers for input, models, directories and brokers that can't be used."""

import gzip
import io
import json
import os
import random
import re
import shutil
import socket
import tempfile
import threading
import zlib
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
import zstandard
from click.testing import CliRunner
from support.broker import RestartableBroker
from support.jobs import decide, log_of, publish_shard, record_death, waiting
from support.shell import Crew, make_model, write_rows
from tokenizers import Tokenizer

from producer.cli.commands.compute.enqueue import as_text
from producer.cli.root import cli
from producer.enqueue.summary import Summary
from producer.local import engine
from producer.local.broker_record import BROKER_FILE
from producer.tokenization.word_level import fit
from unrolled.job.names import Life, failed_object, part_object, rows_object, segment_name
from unrolled.job.offer import Offer
from unrolled.job.segment import Segment
from unrolled.model.directory import open_model
from unrolled.protocol.opening import open_job
from unrolled.queue.broker import Broker
from unrolled.queue.broker_url import client_url
from unrolled.queue.member import Member
from unrolled.queue.messages import queue_name
from unrolled.tokenization.characters import build

NAMESPACE = "test"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models, with and without a tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "text", tokenizer_json=fit(["one two three four"], 50).tokenizer.to_str())
    make_model(folder / "ids", units=4)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, models):
    """A directory to be in, as a person is; `model` is one with a tokenizer."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(models / "text")
    return tmp_path


def run(*arguments, stdin=None):
    """What a person sees; never a traceback."""
    result = CliRunner().invoke(cli, list(map(str, arguments)), input=stdin, prog_name="unrolled")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def enqueue(broker, *inputs, out="out", model="model", stdin=None):
    return run("enqueue", *inputs, "--model", model, "--out", out, "--broker", broker.url,
               "--namespace", NAMESPACE, "--shard-tokens", "1000", stdin=stdin)  # fmt: skip


def test_a_tokenizers_settings_that_are_not_followed_are_said_once(place, broker, models, caplog):
    """Truncation would lose tokens of a row, and padding would add some."""
    made = Tokenizer.from_file(str(models / "text" / "tokenizer.json"))
    made.enable_truncation(2)
    make_model(place / "cut", tokenizer_json=made.to_str())
    (place / "a.txt").write_text("one two three four\n")
    assert "1 row with 4 tokens in 1 shard" in enqueue(broker, "a.txt", model="cut").output
    said = [line for line in caplog.messages if "truncation" in line]
    assert len(said) == 1
    kept = "a text always has the same tokens, all of them and no others"
    assert said[0].endswith(f"asks for truncation to 2 tokens. This is not done: {kept}")


@pytest.mark.parametrize(
    ("kernel", "options", "is_said"),
    [("missing", (), True), ("missing", ("--engine", "fused"), False), ("__init__.py", (), False)],
)
def test_a_job_for_an_engine_that_is_not_here_is_told(place, broker, monkeypatch, kernel, options, is_said):
    """The job is made for the fused engine wherever it is queued; here, workers would compute by TensorFlow."""
    monkeypatch.setattr(engine, "_KERNEL", Path(kernel))
    (place / "a.txt").write_text("one two\n")
    words = ("a.txt", "--model", "model", "--out", "out", "--broker", broker.url, "--namespace", NAMESPACE)
    assert (engine.FOR_OTHERS in run("enqueue", *words, *options).stderr) == is_said


@pytest.mark.parametrize("decision", [["cancel"], ["discard", "--yes"]])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_copy_goes_on_once_its_original_has_stopped(place, broker, decision, is_lost):
    """Also where the broker had lost the job's mark, and still knew its place."""
    write_rows(place / "in.jsonl", {str(number): [1, 2, 3] for number in range(9)})
    assert enqueue(broker, "in.jsonl", out="one").exit_code == 0
    shutil.copytree("one", "two")
    job = open_job(str(place / "two"))
    ledger = Broker(broker.url).ledger(NAMESPACE, job.job.offer)
    if is_lost:
        ledger.client.delete(ledger.keys.ledger)
    assert "seems to be a copy" in enqueue(broker, "in.jsonl", out="two").stderr
    queue = ("--broker", broker.url, "--namespace", NAMESPACE)
    assert run(decision[0], "one", *decision[1:], *queue).exit_code == 0
    assert ledger.place_of(job.key) is None
    found = enqueue(broker, "in.jsonl", out="two")
    assert (found.exit_code, ledger.place_of(job.key)) == (0, job.address), found.output


def test_a_copy_of_a_discarded_job_is_no_copy(place, broker):
    """It was discarded while its broker was away: nothing is left there that could be used."""
    write_rows(place / "in.jsonl", {str(number): [1, 2, 3] for number in range(9)})
    assert enqueue(broker, "in.jsonl", out="one").exit_code == 0
    shutil.copytree("one", "two")
    decide(open_job(str(place / "one")), Segment("discard"))
    found = enqueue(broker, "in.jsonl", out="two")
    assert found.exit_code == 0, found.output
    job = open_job(str(place / "two"))
    assert Broker(broker.url).ledger(NAMESPACE, job.job.offer).place_of(job.key) == job.address


def test_a_copy_of_a_job_that_waits_is_refused_and_a_moved_job_is_not(place, broker):
    """Workers compute the job in one place. `status` and `wait` of the copy say which, and what to do."""
    write_rows(place / "in.jsonl", {str(number): [1, 2, 3] for number in range(500)})
    assert enqueue(broker, "in.jsonl", out="k1").exit_code == 0
    shutil.copytree("k1", "k2")
    (place / "link").symlink_to("k1")
    said = f"Redis has this job at {place}/k1, and this seems to be a copy"
    result = enqueue(broker, "in.jsonl", out="k2")
    assert (result.exit_code, said in result.output) == (1, True)
    assert f"unrolled cancel {place}/k1" in result.output
    queue = ("--broker", broker.url, "--namespace", NAMESPACE)
    assert said in run("status", "k2", *queue).output
    assert said in run("wait", "k2", "--timeout", "0.2", "--every-seconds", "0.1", *queue).output
    shutil.copytree("k1", "k3")
    decide(open_job(str(place / "k3")), Segment("cancel"))  # as the job was when it was copied
    for words in (["status"], ["wait", "--timeout", "1"]):
        text = run(words[0], "k3", *words[1:], *queue).output
        assert said in text
        assert "resumes it" not in text
        assert "running" not in text
    for same in ("k1", "link"):
        assert enqueue(broker, "in.jsonl", out=same).exit_code == 0
        assert "a copy" not in run("status", same, *queue).output
    job = open_job(str(place / "k2"))
    ledger = Broker(broker.url).ledger(NAMESPACE, job.job.offer)
    before = ledger.mark(job.key), ledger.counts()
    assert ledger.place_of(job.key) == str(place / "k1")
    shutil.rmtree("k1")
    assert enqueue(broker, "in.jsonl", out="k2").exit_code == 0
    assert "a copy" not in run("status", "k2", *queue).output
    assert ledger.place_of(job.key) == str(place / "k2")
    assert (ledger.mark(job.key), ledger.counts()) == before


LETTERS = build({letter: number for number, letter in enumerate("ACDEFGHIKLMNPQRSTVWY", 1)}, None).to_str()


def test_sequences_from_a_file_to_the_queue(place, broker):
    """A plan, a job, its quarantine and an append have the rows of a FASTA file, however it is given."""
    make_model(place / "letters", tokenizer_json=LETTERS)
    records = [f">sp|P{number}|X described\n{'ACDEFGHIK' * 9}\n{'LMNPQ' * (number % 9)}*\n" for number in range(200)]
    content = "".join([*records, ">sp|P7|X again\nAC\n", ">long\n", "ACDEFGHIK\n" * 100, ">last\n"])
    (place / "in.fasta").write_text(content)
    (place / "in.faa.gz").write_bytes(gzip.compress(content.encode()))
    limit = ("--max-row-bytes", "500")
    tokens = 200 * 81 + sum(5 * (number % 9) for number in range(200))
    planned = json.loads(run("plan", "in.fasta", *limit, "--model", "letters", "--no-measure", "--json").stdout)["rows"]
    assert planned["tokens"] == {"value": tokens + 2, "error": 0.0}
    assert planned["quarantined"] == {"value": 1, "error": 0.0}
    for out, given, more in (("a", "in.fasta", ()), ("b", "in.faa.gz", ()), ("c", "-", ("--format", "fasta"))):
        result = enqueue(broker, given, *limit, *more, out=out, model="letters", stdin=content)
        assert f"203 rows with {tokens:,} tokens" in result.output, result.output
        found = run("quarantine", out).output
        assert f"{given} row 200 (sp|P7|X): duplicate id; {given} row 7 has it" in found
        assert f"{given} row 201 (long): sequence of 900 bytes; allowed: 500 (--max-row-bytes)" in found
    with (place / "in.fasta").open("a") as file:
        file.write(">new\nAC\n")
    assert "204 rows" in enqueue(broker, "in.fasta", *limit, "--append", out="a", model="letters").output
    with (place / "in.fasta").open("a") as file:
        file.write("AC\n")  # of the last record, whose row is in the job
    result = enqueue(broker, "in.fasta", *limit, "--append", out="a", model="letters")
    assert (result.exit_code, "in.fasta" in result.output) == (1, True)


def queued(broker, models, model="text"):
    """Shards in the ledger, and messages."""
    offer = Offer(open_model(models / model).fingerprint, "fused", "float32")
    with closing(Broker(broker.url)) as server:
        count = server.ledger(NAMESPACE, offer).counts().shards
        assert server.client.llen(f"{NAMESPACE}:{queue_name(offer)}") == count
    return count


def entries(out):
    """What a job was cut into, by its log."""
    return list(log_of(open_job(out)).entries.values())


def rows_in(out):
    """Rows in all shards of a job, the bad ones left out."""
    return sum(entry.rows for entry in entries(out))


def refused(result, said, status=1):
    """An exit status and this one line."""
    assert result.exit_code == status
    assert result.stderr == f"Error: {said}\n"
    assert result.stdout == ""


def reasons(out):
    """The rows in quarantine and their reasons, as `unrolled quarantine` prints them."""
    return run("quarantine", out).stdout.splitlines()


# ---------------------------------------------------------------- refused before anything is queued


def test_a_missing_input(place, broker, models):
    """No directory is made for it either."""
    refused(enqueue(broker, "none.txt"), "input 'none.txt': no such file or directory")
    refused(enqueue(broker, "none/*.txt"), "input none/*.txt: no file matches this pattern")
    assert not (place / "out").exists()
    assert queued(broker, models) == 0


def test_a_corrupt_parquet_file(place, broker, models):
    """Seen at its head or its foot, together with good files: nothing is queued, none of them either."""
    (place / "good.txt").write_text("one\n")
    (place / "bad.parquet").write_bytes(b"PAR1 and then nothing of the kind")
    (place / "other.parquet").write_bytes(b"one line of text\n")
    result = enqueue(broker, "good.txt", "bad.parquet")
    assert result.exit_code == 1
    assert re.fullmatch(
        r"Error: input bad\.parquet: can't be opened as parquet: Parquet magic bytes .*\n", result.stderr
    )
    refused(enqueue(broker, "other.parquet"), "input other.parquet: is not a parquet file: it begins with 6f 6e 65 20")
    assert not (place / "out").exists()
    assert queued(broker, models) == 0


def test_a_missing_field(place, broker, models):
    """The error names the columns that the file has."""
    pq.write_table(pa.table({"body": ["one"], "key": ["a"]}), "rows.parquet")
    refused(
        enqueue(broker, "rows.parquet"),
        "input rows.parquet: has no column 'text' or 'tokens'; columns found: 'body', 'key'. Name it "
        "(--text-field, --tokens-field)",
    )
    assert not (place / "out").exists()
    assert queued(broker, models) == 0


def test_a_model_that_is_missing_or_damaged(place, broker, models):
    """Each text says which file, and what to do."""
    (place / "rows.txt").write_text("one\n")
    refused(
        enqueue(broker, "rows.txt", model="none"),
        "none: does not exist; check the path, or make a model there with: unrolled model new none …",
    )
    refused(enqueue(broker, "rows.txt", model="rows.txt"), "rows.txt: is a file; name the directory of a model")
    (place / "link").symlink_to("nowhere")
    said = f"link: is a symbolic link to {place / 'nowhere'}, which doesn't exist; name a model's directory"
    refused(enqueue(broker, "rows.txt", model="link"), said)
    for name in ("config.json", "model.safetensors"):
        shutil.rmtree(place / "broken", ignore_errors=True)
        shutil.copytree(models / "text", place / "broken")
        (place / "broken" / name).unlink()
        result = enqueue(broker, "rows.txt", model="broken")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: broken")
        assert name in result.stderr
    assert not (place / "out").exists()
    assert queued(broker, models) == 0


def test_text_for_a_model_without_a_tokenizer(place, broker, models):
    """Both ways out are named."""
    (place / "rows.txt").write_text("one\n")
    ids = models / "ids"
    refused(
        enqueue(broker, "rows.txt", model=ids),
        f"rows.txt holds text, but {ids} has no tokenizer.json; a trained model needs the one that it was trained with "
        "(`unrolled model import --tokenizer`). For one that isn't trained, `unrolled tokenizer fit INPUTS --out "
        f"{ids}` makes one. For token ids, give --kind tokens",
    )
    assert not (place / "out").exists()
    assert queued(broker, models) == 0


def test_a_directory_of_another_job(place, broker, models):
    """Another model, other inputs, other options: each is named, and the existing job stays as it is."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    write_rows(place / "more.jsonl", {"b": [1]})
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    before = {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()}
    what = "Error: out: holds a job with "
    end = ". Use another --out, or the options of that job to resume it\n"
    result = enqueue(broker, "rows.jsonl", model=models / "ids")
    assert result.stderr.startswith(what + "another model (fingerprint ")
    assert result.stderr.endswith(end)
    result = enqueue(broker, "more.jsonl")
    assert (
        result.stderr
        == what
        + "other inputs (rows.jsonl; this command asks for more.jsonl; names are relative to the working directory)"
        + end
    )
    for flags, differs in (
        (["--with-tokens"], "with_tokens is false; this command asks for true"),
        (["--arithmetic", "bfloat16"], 'arithmetic is "float32"; this command asks for "bfloat16"'),
        (["--engine", "tensorflow"], 'engine is "fused"; this command asks for "tensorflow"'),
    ):
        result = run("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url, *flags,
                     "--shard-tokens", "1000", "--namespace", NAMESPACE)  # fmt: skip
        assert result.stderr == what + f"other options ({differs})" + end
    assert result.exit_code == 1
    assert {path: path.read_bytes() for path in (place / "out").rglob("*") if path.is_file()} == before
    assert queued(broker, models) == 1


def test_a_directory_that_can_not_be_one(place, broker, models):
    """A file is where the directory, or one of those above it, should be made."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    (place / "file").write_text("in the way")
    for out in ("file", "file/out", "file/far/out"):
        refused(
            enqueue(broker, "rows.jsonl", out=out),
            f"--out {out}: {place / 'file'} is a file; name a directory, or a path at which one can be made",
            2,
        )
    (place / "old").mkdir()
    (place / "old" / "part-000000-000000000000.parquet").write_bytes(b"")
    refused(
        enqueue(broker, "rows.jsonl", out="old"),
        "old: holds part-000000-000000000000.parquet and no job; use an empty directory for --out",
    )
    (place / "half").mkdir()
    (place / "half" / "_unrolled").write_text("in the way")
    refused(
        enqueue(broker, "rows.jsonl", out="half"),
        "cannot read half/_unrolled/job.json: Not a directory; each folder in it must be a directory and no symbolic "
        "link",
    )
    assert queued(broker, models) == 0


def test_a_run_with_a_broker_of_its_own_is_told_of(place, broker):
    """What is queued elsewhere may wait there for nobody."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    said = "out: an `unrolled run` with a broker and workers of its own is at work on this job"
    assert said not in enqueue(broker, "rows.jsonl").stderr
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/socket")
        server.listen()
        (place / "out" / BROKER_FILE).write_text(f"redis+socket://{short}/socket")
        result = enqueue(broker, "rows.jsonl")
        assert (result.exit_code, result.stderr.count(said)) == (0, 1)
    assert said not in enqueue(broker, "rows.jsonl").stderr  # its server is gone


@pytest.mark.skipif(os.geteuid() == 0, reason="machine: root may write anywhere")
def test_a_directory_without_permission(place, broker, models):
    """What the operating system says, and what to do."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    (place / "locked").mkdir(mode=0o500)
    result = enqueue(broker, "rows.jsonl", out="locked/out")
    refused(result, "cannot make locked/out: Permission denied; let this user write there")
    assert queued(broker, models) == 0


def test_an_output_directory_that_can_not_be_made(place, broker):
    """Nothing was there that could come back."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    result = enqueue(broker, "rows.jsonl", out="/proc/out")
    refused(
        result,
        "cannot make /proc/out: No such file or directory; no directory can be made there, so name another place",
    )


def test_an_input_without_rows(place, broker):
    """It is named, and the others are queued."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    write_rows(place / "empty.jsonl", {})
    result = enqueue(broker, "rows.jsonl", "empty.jsonl")
    assert (result.exit_code, "1 input has no rows: empty.jsonl\n" in result.stderr) == (0, True)
    result = enqueue(broker, "/dev/null", "--format", "jsonl", out="device")
    assert (result.exit_code, "1 input has no rows: /dev/null\n" in result.stderr) == (0, True)
    for text, said in (("", True), ('{"tokens": [1]}\n', False)):
        result = enqueue(broker, "-", "--format", "jsonl", out=f"piped-{said}", stdin=text)
        assert (result.exit_code, "1 input has no rows: -\n" in result.stderr) == (0, said)
        result = enqueue(broker, "-", "rows.jsonl", "--format", "jsonl", out=f"both-{said}", stdin=text)
        assert (result.exit_code, "1 input has no rows: -\n" in result.stderr) == (0, said)


def test_a_named_pipe_is_told_of(place, broker):
    """Until somebody writes to it, nothing else happens."""
    os.mkfifo(place / "pipe")
    writer = threading.Thread(target=lambda: (place / "pipe").write_text('{"tokens": [1]}\n'))
    writer.start()
    result = enqueue(broker, "pipe", "--format", "jsonl")
    writer.join()
    assert result.exit_code == 0
    assert "pipe is a named pipe: it is read when another program opens it to write\n" in result.stderr


def test_a_password_that_is_wrong_costs_no_directory(place, models):
    """Nothing of the job is there, so that the next try may have another model."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    with RestartableBroker() as server:
        redis.Redis.from_url(client_url(server.url)).config_set("requirepass", "right")
        for url, said in (
            (server.url, "it wants a password"),
            (with_password(server, "wrong"), "invalid username-pas"),
        ):
            result = run("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", url)
            assert (result.exit_code, said in result.stderr, (place / "out").exists()) == (1, True, False), (
                result.output
            )
        right = with_password(server, "right")
        result = run("enqueue", "rows.jsonl", "--model", models / "ids", "--out", "out", "--broker", right)
        assert result.exit_code == 0, result.output


def with_password(server, password):
    return server.url.replace("socket://", f"socket://:{password}@")


def test_no_broker(place):
    """Both ways to name one."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    result = run("enqueue", "rows.jsonl", "--model", "model", "--out", "out")
    refused(
        result,
        "no broker: name it with --broker redis://HOST:6379/0 or in the variable UNROLLED_BROKER (no `unrolled run` is "
        "working on out)",
        status=2,
    )
    assert not (place / "out").exists()


def test_why_the_shards_will_wait(place, broker):
    """No worker offers what the job asks for: that is said when they are queued, not found out later."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    result = enqueue(broker, "rows.jsonl")
    assert result.exit_code == 0
    assert re.search(r"^→ no worker offers what this job asks for, .*: unrolled worker ", result.stderr, re.MULTILINE)


def test_the_broker_of_a_run_that_is_working_on_the_job(place, broker, models):
    """It is found as by the other commands; where no run is working, both ways to name one are said."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    command = ["enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--shard-tokens", "1000",
               "--namespace", NAMESPACE]  # fmt: skip
    result = run(*command)
    assert result.exit_code == 2
    assert result.stderr.endswith("UNROLLED_BROKER (no `unrolled run` is working on out)\n")
    (place / "out" / BROKER_FILE).write_text(broker.url)
    assert run(*command).stdout.endswith("; 1 is from another run, and this run queued 0\n")
    assert queued(broker, models) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--text-field", "x", "--tokens-field", "x"],
            "--text-field and --tokens-field are both x; give two different",
        ),
        (["--follow"], "--follow reads only standard input; found rows.jsonl, allowed: -"),
    ],
)
def test_options_that_contradict_each_other(place, broker, more, said):
    """Wrong usage, before anything is made."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    result = run("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url, *more)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {said}")
    assert not (place / "out").exists()


# ---------------------------------------------------------------- rows that can't be used


def test_rows_that_can_not_be_used_go_to_quarantine_with_reasons(place, broker, models):
    """All kinds at once: file, position, id and reason of each; the rest is queued; exit status 3 and the count."""
    lines = [
        b'{"id": "good", "tokens": [1, 0, 50]}',
        b'{"id": "negative", "tokens": [1, -3]}',
        b'{"id": "above", "tokens": [51]}',
        b'{"id": "float", "tokens": [1.5]}',
        b'{"id": "text", "text": "one two"}',
        b'{"id": "empty text", "text": ""}',
        b'{"id": "all padding", "tokens": [0, 0]}',
        b'{"id": "nothing", "tokens": []}',
        b'{"id": "good", "tokens": [2]}',
        b'{"id": "no field"}',
        b'{"id": "\xff", "tokens": [1]}',
        b"nonsense",
        b" ",
    ]
    (place / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    result = enqueue(broker, "rows.jsonl")
    assert result.exit_code == 3
    assert result.stdout == (
        "13 rows with 4 tokens in 1 shard; 1 is queued\n"
        "8 rows are in quarantine, with reasons: unrolled quarantine out\n"
        "3 rows have no token, and so no state (length is 0)\n"
        "1 row contains the padding id 0 between tokens; if 0 is a token of yours, see "
        "docs/token_ids.md\n"
    )
    found = reasons("out")
    assert found == [
        "rows.jsonl row 1 (negative): token -3 at position 1 (from 0); allowed: 0 (padding) and 1..50",
        "rows.jsonl row 2 (above): token 51 at position 0 (from 0); allowed: 0 (padding) and 1..50",
        "rows.jsonl row 3 (float): token 1.5 at position 0 (from 0); not an integer; allowed: 0 (padding) and 1..50",
        "rows.jsonl row 8 (good): duplicate id; rows.jsonl row 0 has it",
        "rows.jsonl row 9 (no field): has neither 'text' nor 'tokens'; fields found: 'id'",
        "rows.jsonl row 10: not UTF-8: byte 0xff at byte 8 of the row",
        "rows.jsonl row 11: not JSON: Expecting value at character 0",
        "rows.jsonl row 12: not JSON: the line is blank",
    ]
    (entry,) = entries(place / "out")
    assert (entry.rows, entry.quarantined, entry.tokens) == (5, 8, 4)
    assert queued(broker, models) == 1


def test_lines_of_text_that_can_not_be_decoded(place, broker):
    """The line alone is bad; empty lines are rows without a token."""
    (place / "rows.txt").write_bytes(b"one\n\nb\xffd\ntwo two\n")
    result = enqueue(broker, "rows.txt")
    assert result.exit_code == 3
    assert "4 rows with 3 tokens in 1 shard;" in result.stdout
    assert reasons("out") == ["rows.txt row 2: not UTF-8: byte 0xff at byte 1 of the row"]


def test_words_that_the_model_does_not_know_are_counted(place, broker):
    """The summary has their share, and the number of rows of which nothing is left."""
    (place / "rows.txt").write_text("one five\nfive\ntwo one\n")
    found = enqueue(broker, "rows.txt").stdout.splitlines()
    assert found[1:] == [
        "40.0 % of the words are not in the model's vocabulary",
        "1 row has no token, and so no state (length is 0)",
    ]


@pytest.mark.parametrize(
    ("of_rows", "share", "asked"),
    [(3, None, False), (1, 0.6, True), (0, 0.5, False), (4, 1.0, True)],
)
def test_a_tokenizer_for_other_texts_is_suspected(of_rows, share, asked):
    """Where the model knows few of the words; blank lines say nothing about it."""
    lines = Summary(rows=4, without_tokens=of_rows, unknown_share=share).coverage_lines()
    asks = ["is the model's tokenizer made for such texts?" in line for line in lines]
    assert asks == [False] * (share is not None) + [True] * asked + [False] * (of_rows > 0)


def test_words_of_rows_in_quarantine_are_told_of(place, broker):
    """A row whose id is there already is counted before it is refused; one whose id can't be one never is."""
    lines = '{"id": "a", "text": "one two"}', '{"id": "a", "text": "five five"}', '{"id": 0.5, "text": "five five"}'
    (place / "rows.jsonl").write_text("\n".join(lines))
    said = "50.0 % of the words in the rows that were tokenized are not in the model's vocabulary"
    assert said in enqueue(broker, "rows.jsonl").stdout


def test_shards_that_the_broker_has_lost_are_not_counted_twice():
    """Each is entered again, and is one shard."""
    text = as_text(Summary(rows=9, tokens=9, shards=3, sent=5), "out")
    assert text == "9 rows with 9 tokens in 3 shards; 3 are queued, 2 of them again, because the broker had lost them"
    text = as_text(Summary(rows=9, tokens=9, shards=3, sent=5, continued=True), "out")
    assert text == "9 rows with 9 tokens in 3 shards; 3 are queued, and 2 of earlier runs"


def test_two_at_once_account_for_every_shard(place, broker):
    """What one has queued, the other calls another process's."""
    write_rows(place / "rows.jsonl", {f"{number}": [1, 2, 3] for number in range(300)})
    with Crew() as crew:
        command = ["enqueue", "rows.jsonl", "--shard-tokens", "6", "--json"]
        options = {"broker": broker.url, "model": place / "model", "out": place / "out"}
        both = [crew.start(*command, cwd=place, **options) for _ in range(2)]
        found = [json.loads(one.communicate()[0]) for one in both]
    assert [one["shards"] for one in found] == [150, 150]
    assert [one["known"] + one["sent"] + one["elsewhere"] >= 150 for one in found] == [True, True]
    assert sum(one["sent"] for one in found) >= 150


def test_padding_between_tokens_is_named(place, broker):
    """Most likely, it is a token of the program that wrote the ids."""
    write_rows(place / "rows.jsonl", {"a": [1, 0, 2], "b": [0, 2, 0], "c": [1]})
    assert enqueue(broker, "rows.jsonl").stdout.splitlines()[1].startswith("1 row contains the padding id 0 between")
    (place / "texts.jsonl").write_text('{"id": "d", "text": "one two"}\n')
    mixed = enqueue(broker, "texts.jsonl", "rows.jsonl", out="mixed").stdout
    assert "\n1 row contains the padding id 0 between" in mixed


def test_the_summary_as_json(place, broker):
    """One object; the exit status is as without --json."""
    (place / "rows.jsonl").write_text('{"tokens": [1]}\n{"tokens": [99]}\n')
    result = run("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url, "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found.pop("in_the_way")[0].startswith("no worker offers what this job asks for")
    assert found == {
        "rows": 2, "tokens": 1, "quarantined": 1, "failed": 0, "shards": 1, "sent": 1, "known": 0, "elsewhere": 0,
        "without_tokens": 0,
        "unknown_share": None, "unknown_noun": "words", "continued": False, "added": None, "added_quarantined": 0,
        "gaps": 0, "dead": 0, "gone": 0, "restored": 0, "mended": 0,
    }  # fmt: skip


def test_a_directory_with_files_of_the_user(place, broker):
    """Nothing reads them as inputs any more, unless they are named; that is said before the job begins."""
    Path("mine").mkdir()
    write_rows(place / "mine" / "rows.jsonl", {"a": [1]})
    command = ("enqueue", "--model", "model", "--broker", broker.url)
    first = run(*command, "mine/rows.jsonl", "--out", "mine")
    said = "mine has other files, such as rows.jsonl: as a job's directory, it is left out of inputs from now on"
    assert said in first.stderr.splitlines()
    assert said not in run(*command, "mine/rows.jsonl", "--out", "mine").stderr
    again = run(*command, "mine", "--out", "other")
    assert again.exit_code == 1
    assert again.stderr == (
        "Error: input mine: is the output directory of a job; to read files in it, name them, such as 'mine/*.jsonl'\n"
    )


def test_rows_on_which_a_worker_has_failed_are_in_quarantine(place, broker):
    """A command that is run again says so, as `wait` does; a retry that brings them takes them out of the count."""
    write_rows(place / "rows.jsonl", {"a": [1], "b": [2], "c": [3]})
    command = ("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url)
    assert run(*command).exit_code == 0
    job = open_job("out")
    (shard,) = waiting(job)
    rows = job.objects.read(rows_object(shard))
    publish_shard(job, shard, failed={1: "MemoryError: no", 2: "MemoryError: no"})
    assert run("wait", "out", "--broker", broker.url).exit_code == 3
    again = run(*command)
    assert again.exit_code == 3
    assert again.stdout.splitlines()[1] == "2 rows are in quarantine, with reasons: unrolled quarantine out"
    assert json.loads(run(*command, "--json").stdout)["failed"] == 2
    job.objects.delete(failed_object(shard))  # as if a worker had died before it made this, and deleted the rows
    job.objects.create(rows_object(shard), rows)
    assert json.loads(run(*command, "--json").stdout)["failed"] == 2
    assert run("retry", "out", "--failed-rows", "--broker", broker.url).exit_code == 0
    assert json.loads(run(*command, "--json").stdout)["failed"] == 0


def test_dead_shards_are_not_queued_again_and_named(place, broker):
    """Nothing else would say that the job's rows aren't all on their way."""
    write_rows(place / "rows.jsonl", {"a": [1], "b": [2], "c": [3]})
    command = ("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url, "--shard-tokens", 1)
    assert run(*command).exit_code == 0
    job = open_job(str(place / "out"))
    first, second, _ = waiting(job)
    for shard in (first, second):
        record_death(job, shard)
    publish_shard(job, second)  # after all
    again = run(*command)
    assert again.exit_code == 1
    assert again.stdout.splitlines()[1] == (
        "1 shard is dead, and not queued; to see why, and what helps: unrolled status out"
    )


def test_shards_that_can_not_be_computed_are_named(place, broker):
    """Of the parts that somebody removed, those of the input are made again; that of an earlier retry can't be."""
    write_rows(place / "rows.jsonl", {"a": [1], "b": [2]})
    command = ("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url, "--shard-tokens", 1)
    assert run(*command).exit_code == 0
    job = open_job(str(place / "out"))
    first, second = waiting(job)
    publish_shard(job, first, failed={0: "MemoryError: no"})
    publish_shard(job, second)
    assert run("retry", "out", "--failed-rows", "--broker", broker.url).exit_code == 0
    (again,) = waiting(job)
    publish_shard(job, again)
    assert run(*command).exit_code == 0
    for shard in (second, again):
        (place / "out" / part_object(shard)).unlink()
    Broker(broker.url).client.flushall()
    found = run(*command)
    assert found.exit_code == 1
    assert found.stdout == (
        "2 rows with 2 tokens in 2 shards; 2 are from another run, and this run queued 2\n"
        "1 shard had neither rows nor a part; the rows were made again\n"
        "neither the rows nor the part of 1 shard can be seen, so it can't be computed; to see what helps: unrolled "
        "status out\n"
    )
    assert waiting(job) == [second]


def test_damaged_rows_that_are_made_again_are_told_of(place, broker):
    """Else nothing would say why a dead shard is queued again."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    job = open_job(str(place / "out"))
    (shard,) = waiting(job)
    record_death(job, shard)
    Broker(broker.url).ledger(NAMESPACE, job.job.offer).remove(Member(job.key, Life(shard, 0)))
    rows = place / "out" / rows_object(shard)
    rows.write_bytes(rows.read_bytes()[:-1] + b"\xff")
    found = enqueue(broker, "rows.jsonl")
    assert found.stdout == (
        "1 row with 1 token in 1 shard; 1 is from another run, and this run queued 1\n"
        "1 dead shard had damaged rows; the rows were made again, and are computed\n"
    )
    assert found.exit_code == 0


def test_rows_that_are_made_again_are_computed_at_once(place, broker):
    """A worker that looked before they were back has put the shard off for a lease."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    job = open_job(str(place / "out"))
    (shard,) = waiting(job)
    job.objects.delete(rows_object(shard))
    ledger, member = Broker(broker.url).ledger(NAMESPACE, job.job.offer), Member(job.key, Life(shard, 0))
    assert ledger.choose(member) == member
    assert ledger.claim(member, "worker").state == "taken"
    assert ledger.give_back(member, "worker", "first", at_once=False)
    ledger.client.delete(f"{NAMESPACE}:{queue_name(job.job.offer)}")
    found = enqueue(broker, "rows.jsonl")
    assert (
        found.stdout == "1 row with 1 token in 1 shard; 1 is from another run, and this run queued 0\n"
        "1 shard had neither rows nor a part; the rows were made again\n"
    )
    assert ledger.client.llen(f"{NAMESPACE}:{queue_name(job.job.offer)}") == 1
    other = Member(job.key, Life(replace(shard, index=7), 0))
    assert ledger.choose(other) == member  # any message serves any shard


# ---------------------------------------------------------------- the same command again


def test_an_output_directory_below_the_input_is_no_input(place, broker):
    """The job's own parts and rows aren't read, so the same command, given again, finds the same input."""
    (place / "corpus").mkdir()
    write_rows(place / "corpus" / "rows.jsonl", {"a": [1], "b": [2]})
    assert enqueue(broker, "corpus", out="corpus/out").exit_code == 0
    (entry,) = entries(place / "corpus" / "out")
    pq.write_table(pa.table({"tokens": [[1]]}), place / "corpus" / "out" / f"part-{entry.shard}.parquet")
    again = enqueue(broker, "corpus", out="corpus/out")
    assert (again.exit_code, again.stdout) == (
        0,
        "2 rows with 2 tokens in 1 shard; 1 is from another run, and this run queued 0\n",
    )
    assert enqueue(broker, "corpus", out="other").exit_code == 0
    assert rows_in("other") == 2


def test_a_command_line_of_many_long_names_resumes(place, broker):
    """A job keeps a digest of its inputs' names, not a megabyte of them."""
    (place / ("a" * 200)).mkdir()
    names = [f"{'a' * 200}/{'b' * 200}-{number}.txt" for number in range(3000)]
    for name in names:
        (place / name).write_text("one\n")
    assert len(" ".join(names)) > 2**20
    assert enqueue(broker, *names).exit_code == 0
    assert (place / "out" / "_unrolled" / "job.json").stat().st_size < 10_000
    assert enqueue(broker, *names).stdout.endswith(", and this run queued 0\n")
    assert enqueue(broker, *names[:-1]).stderr.startswith("Error: out: holds a job with other inputs (")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--engine", "tensorflow", "--arithmetic", "bfloat16"], "arithmetic bfloat16 with engine tensorflow"),
        (["--engine", "other"], "'other' is not one of 'fused', 'tensorflow'"),
    ],
)
def test_an_arithmetic_that_an_engine_does_not_have(place, broker, flags, said):
    """Wrong usage; nothing is made."""
    write_rows(place / "rows.jsonl", {"a": [1]})
    result = run("enqueue", "rows.jsonl", "--model", "model", "--out", "out", "--broker", broker.url, *flags)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (place / "out").exists()


# ---------------------------------------------------------------- damage that shows midway


def test_a_truncated_file_is_reported_midway_and_mended(place, broker, models):
    """What came before the cut is queued; the job says that its input isn't at its end; the whole file completes it."""
    chance = random.Random(1)
    rows = {f"row-{number}": [chance.randrange(1, 51) for _ in range(20)] for number in range(8000)}
    write_rows(place / "plain.jsonl", rows)
    whole = gzip.compress((place / "plain.jsonl").read_bytes())
    (place / "rows.jsonl.gz").write_bytes(whole[: len(whole) * 2 // 3])
    result = enqueue(broker, "rows.jsonl.gz")
    assert result.exit_code == 1
    before = entries(place / "out")
    read = rows_in(place / "out")
    assert 2000 < read < 8000
    assert not log_of(open_job(place / "out")).ended
    told = re.fullmatch(
        r"Error: rows\.jsonl\.gz: the gzip data is truncated; (\d+) rows before that were read\. Repair the input and "
        r"run the same command again: a job keeps those that it has stored, if any",
        result.stderr.splitlines()[-1],
    )
    assert int(told[1]) >= read  # a shard that isn't full is cut when its other rows are known
    assert queued(broker, models) == len(before)
    assert "5,300 read so far" in run("status", "out").stdout
    assert run("verify", "out").exit_code == 1
    (place / "rows.jsonl.gz").write_bytes(whole)
    result = enqueue(broker, "rows.jsonl.gz")
    assert result.exit_code == 0, result.stderr
    after = entries(place / "out")
    assert log_of(open_job(place / "out")).ended
    assert (rows_in(place / "out"), sum(entry.tokens for entry in after)) == (8000, 160_000)
    assert after[: len(before)] == before
    assert queued(broker, models) == len(after)


def corrupt(whole, plain, decompressor):
    """Compressed data with a changed byte that shows only after other content than `plain`."""
    for at in range(len(whole) // 2, len(whole)):
        changed = bytes([*whole[:at], whole[at] ^ 0xFF, *whole[at + 1 :]])
        one, content = decompressor(), b""
        with suppress(zlib.error, zstandard.ZstdError):
            for begin in range(0, len(changed), 512):
                content += one.decompress(changed[begin : begin + 512])
        if not plain.startswith(content) and len(content) > 0.9 * len(plain):
            return changed
    raise AssertionError("any change shows at once")


@pytest.mark.parametrize(
    ("suffix", "compress", "decompressor"),
    [
        ("gz", gzip.compress, lambda: zlib.decompressobj(31)),
        ("zst", zstandard.ZstdCompressor(write_checksum=True).compress, zstandard.ZstdDecompressor().decompressobj),
    ],
    ids=["gz", "zst"],
)
def test_corrupt_data_that_shows_at_its_end(suffix, compress, decompressor, place, broker):
    """Wrong rows were read before the checksum: the error says so, and the repaired file isn't mixed with them."""
    chance = random.Random(1)
    rows = {f"row-{number}": [chance.randrange(1, 51) for _ in range(20)] for number in range(8000)}
    write_rows(place / "plain.jsonl", rows)
    plain = (place / "plain.jsonl").read_bytes()
    whole = compress(plain)
    (place / f"rows.jsonl.{suffix}").write_bytes(corrupt(whole, plain, decompressor))
    result = enqueue(broker, f"rows.jsonl.{suffix}")
    assert result.exit_code == 1
    assert re.search(r"data is corrupt.*; \d+ rows before that were read, some of which may be wrong\.", result.stderr)
    assert result.stderr.strip().endswith("the command says that the input has changed: then use another --out")
    assert not log_of(open_job(place / "out")).ended
    (place / f"rows.jsonl.{suffix}").write_bytes(whole)
    result = enqueue(broker, f"rows.jsonl.{suffix}")
    assert result.exit_code == 1
    assert "the input has changed since this job began: in shard" in result.stderr
    assert "If it is compressed and was corrupt then, the job may have wrong rows: use another --out." in result.stderr


def test_a_parquet_file_that_is_damaged_inside(place, broker):
    """The row groups before the damage are queued; the same command resumes with the mended file."""
    table = pa.table({"tokens": [[1 + at % 50] * 20 for at in range(4000)]})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=1000, compression="zstd", use_dictionary=False)
    damaged = bytearray(sink.getvalue())
    start = pq.ParquetFile(io.BytesIO(damaged)).metadata.row_group(2).column(0).data_page_offset
    damaged[start : start + 20] = b"\xff" * 20
    (place / "rows.parquet").write_bytes(damaged)
    result = enqueue(broker, "rows.parquet")
    assert result.exit_code == 1
    assert re.search(r"Error: rows\.parquet: is damaged \(parquet\).*", result.stderr)
    assert "run the same command again" in result.stderr
    assert 1000 <= rows_in(place / "out") <= 2000
    (place / "rows.parquet").write_bytes(sink.getvalue())
    assert enqueue(broker, "rows.parquet").exit_code == 0
    assert rows_in(place / "out") == 4000


def test_an_input_that_changed_is_not_mixed_with_what_it_was(place, broker):
    """The text says where it differs; restored, the same command goes on."""
    rows = {f"row-{number}": [1] * 100 for number in range(30)}
    write_rows(place / "rows.jsonl", rows)
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    write_rows(place / "rows.jsonl", rows | {"row-15": [2] * 100})
    result = enqueue(broker, "rows.jsonl")
    assert result.exit_code == 1
    assert "Error: out: the input has changed since this job began: in shard 1 (" in result.stderr
    write_rows(place / "rows.jsonl", rows)
    assert enqueue(broker, "rows.jsonl").exit_code == 0


@pytest.mark.parametrize("change", [{"row-29": [2]}, {"row-30": [1]}])
def test_a_cancelled_job_whose_input_changed_stays_cancelled(place, broker, change):
    """A command that is refused resumes nothing; restored, the same command does."""
    rows = {f"row-{number}": [1] * 100 for number in range(30)}
    write_rows(place / "rows.jsonl", rows)
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    assert run("cancel", "out", "--broker", broker.url).exit_code == 0
    write_rows(place / "rows.jsonl", rows | change)
    result = enqueue(broker, "rows.jsonl")
    assert result.exit_code == 1
    assert "Error: out: the input has " in result.stderr
    status = json.loads(run("status", "out", "--broker", broker.url, "--json").stdout)
    assert (status["cancelled"], status["queue"]["running"] + status["queue"]["queued"]) == (True, 0)
    write_rows(place / "rows.jsonl", rows)
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    assert not json.loads(run("status", "out", "--broker", broker.url, "--json").stdout)["cancelled"]


def test_a_log_with_a_gap_is_not_added_to(place, broker):
    """Whoever has lost a file of the log is told which."""
    write_rows(place / "rows.jsonl", {name: [1] * 600 for name in ("a", "b")})
    assert enqueue(broker, "rows.jsonl").exit_code == 0
    (place / "out" / segment_name(0)).unlink()
    result = enqueue(broker, "rows.jsonl")
    assert (result.exit_code, f"out/{segment_name(0)}: isn't there" in result.stderr) == (1, True)


def test_damaged_files_end_in_a_summary_or_in_one_line(place, broker):
    """50 mutated files of several formats, as one input each: every row is accounted for, whatever became of it."""
    contents = {
        "rows.jsonl": write_rows(place / "rows.jsonl", {f"r{at}": [at % 50, 1, 0] for at in range(200)}).read_bytes(),
        "rows.csv": b"id,tokens\n" + b"".join(b"r%d,%d 1 0\n" % (at, at % 50) for at in range(200)),
    }
    contents["rows.jsonl.gz"] = gzip.compress(contents["rows.jsonl"])
    sink = io.BytesIO()
    pq.write_table(pa.table({"tokens": [[at % 50, 1, 0] for at in range(200)]}), sink, row_group_size=50)
    contents["rows.parquet"] = sink.getvalue()
    snapshot = tree(place)
    outcomes = set()
    for seed in range(50):
        chance = random.Random(seed)
        name = chance.choice(sorted(contents))
        content = bytearray(contents[name])
        for _ in range(chance.choice((1, 3, 20))):
            content[chance.randrange(len(content))] = chance.randrange(256)
        folder = place / f"case-{seed}"
        folder.mkdir()
        (folder / name).write_bytes(content)
        result = enqueue(broker, f"case-{seed}/{name}", out=f"case-{seed}/out")
        outcomes.add(result.exit_code)
        assert result.exit_code in (0, 1, 3)
        if result.exit_code == 1:
            assert sum(line.startswith("Error: ") for line in result.stderr.splitlines()) == 1
            assert f"case-{seed}" in result.stderr
        else:
            cut = entries(folder / "out")
            rows = int(re.match(r"([\d,]+) rows", result.stdout)[1].replace(",", ""))
            assert log_of(open_job(folder / "out")).ended
            assert rows == sum(entry.rows + entry.quarantined for entry in cut)
            listed = run("quarantine", folder / "out").stdout.splitlines()
            assert len(listed) == sum(entry.quarantined for entry in cut)
            assert (result.exit_code == 3) == bool(listed)
        shutil.rmtree(folder)
    assert outcomes >= {1, 3}
    assert tree(place) == snapshot


def tree(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_a_port_that_is_taken_is_refused_before_the_job_is_made(tmp_path, broker):
    """Else it would refuse other options."""
    rows, model = write_rows(tmp_path / "rows.jsonl", {"a": [1]}), make_model(tmp_path / "model").path
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = CliRunner().invoke(
            cli,
            ["enqueue", str(rows), "--model", str(model), "--out", str(tmp_path / "out"), "--metrics-port", port],
            env={"UNROLLED_BROKER": broker.url},
            auto_envvar_prefix="UNROLLED",
        )
    assert (found.exit_code, f"--metrics-port {port}" in found.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
