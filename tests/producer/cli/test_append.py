"""`--append`: rows that an input has gained are added to its job; whatever else has changed is refused."""

import gzip
import json
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from support import skips
from support.jobs import decide, log_of
from support.processes import eventually
from support.shell import ENGINE, Crew, make_model, unrolled, write_rows

from producer.cli.root import cli
from producer.enqueue.submission import Submission, prepare
from producer.enqueue.summary import Summary
from producer.jobs.verify import verify_job
from producer.sources.options import SourceOptions
from unrolled.job import names, payload
from unrolled.job.segment import Segment
from unrolled.protocol.opening import open_job
from unrolled.reading.dataset import open_dataset
from worker.encoder.encoder import load

pytestmark = pytest.mark.usefixtures("place")
NAMESPACE = "append"
ROWS = {f"row-{number}": [1 + number % 50, 0, 2, 3][: 1 + number % 4] for number in range(60)}
NOTHING = "nothing was appended: the input has no new rows"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with a model and the first 40 rows."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    write(40)
    return tmp_path


def write(count, file="rows.jsonl", first=0):
    with Path(file).open("a" if first else "w") as opened:
        opened.writelines(json.dumps({"id": name, "tokens": ROWS[name]}) + "\n" for name in [*ROWS][first:count])


def words(broker, *inputs, out="out"):
    options = ("--model", "model", "--out", out, "--shard-tokens", "20")
    return ("enqueue", *(inputs or ("rows.jsonl",)), *options, "--broker", broker.url, "--namespace", NAMESPACE)


def enqueue(broker, *arguments, out="out", stdin=None):
    """What a person sees; arguments that begin with "-" are options."""
    inputs = [each for each in arguments if not each.startswith("--") or each == "-"]
    options = [each for each in arguments if each not in inputs]
    result = CliRunner().invoke(cli, [*words(broker, *inputs, out=out), *options], input=stdin, prog_name="unrolled")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def appended(broker, *arguments, **more):
    result = enqueue(broker, *arguments, "--append", **more)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()[1]


def refused(broker, *arguments, status=1, **more):
    """The text of an error, after which the store is as it was."""
    before = objects()
    result = enqueue(broker, *arguments, **more)
    assert (result.exit_code, result.stdout) == (status, "")
    assert objects() == before
    return result.stderr


def objects():
    job = open_job("out")
    folders = (names.PARTS, names.LOG, names.ROWS, names.QUARANTINE, names.DEAD)
    return sorted(name for folder in folders for name in job.objects.list(folder))


def content(out):
    """The ids and tokens of a job's rows, in order."""
    job, found = open_job(out), []
    for shard in log_of(job).inputs:
        read = payload.decode(job.objects.read(names.rows_object(shard)))
        found += zip(read.ids.to_pylist(), np.split(read.tokens.values, read.tokens.offsets[1:-1]), strict=True)
    return [(name, tokens.tolist()) for name, tokens in found]


def test_bad_rows_that_were_appended_are_counted():
    """They are in quarantine, and not in the files."""
    summary = Summary(added=0)
    summary.add(SimpleNamespace(rows=1_000, quarantined=1, tokens=5), new=True, appended=True)
    assert summary.growth_lines() == ["1,001 rows were appended, 1 of them to quarantine"]
    assert Summary(added=1, added_quarantined=1).growth_lines() == ["1 row was appended, to quarantine"]


def test_rows_at_the_end(broker):
    """They are cut into shards of their own; the same again adds nothing and says so."""
    enqueue(broker)
    before = [*log_of(open_job("out")).inputs]
    assert appended(broker) == NOTHING
    assert [*log_of(open_job("out")).inputs] == before
    write(60, first=40)
    assert "Use --append to add the new rows to this job" in refused(broker)
    assert appended(broker) == "20 rows were appended"
    log = log_of(open_job("out"))
    assert log.inputs[: len(before)] == before
    assert log.ended
    assert appended(broker) == NOTHING
    assert enqueue(broker).exit_code == 0
    assert log_of(open_job("out")).length == log.length
    enqueue(broker, out="other")
    assert content("out") == content("other")


def test_rows_of_an_append_that_was_interrupted_are_counted(broker):
    """Whichever run queued them: the one that ends the append tells what it brought."""
    enqueue(broker)
    write(60, first=40)
    assert appended(broker) == "20 rows were appended"
    log = Path("out") / "_unrolled" / "log"
    max(log.iterdir()).unlink()  # the end, before which another Ctrl-C comes
    assert not log_of(open_job("out")).ended
    assert appended(broker) == "20 rows were appended"
    assert appended(broker) == NOTHING


def test_rows_of_two_appends_without_an_end_between_them_are_counted_together(broker):
    """However often the last run is interrupted."""
    enqueue(broker)
    log = Path("out") / "_unrolled" / "log"
    write(50, file="b.jsonl", first=40)
    write(60, file="c.jsonl", first=50)
    assert appended(broker, "rows.jsonl", "b.jsonl") == "10 rows were appended"
    for _ in range(2):
        max(log.iterdir()).unlink()
        assert appended(broker, "rows.jsonl", "b.jsonl", "c.jsonl") == "20 rows were appended"
    assert appended(broker, "rows.jsonl", "b.jsonl", "c.jsonl") == NOTHING


def test_a_grown_job_whose_log_is_lost(broker):
    """Cut without its ends, its rows would be in other shards, beside the parts: the advice brings it back."""
    grown = [("rows.jsonl",), ("rows.jsonl", "b.jsonl"), ("rows.jsonl", "b.jsonl", "c.jsonl")]
    write(45, file="b.jsonl", first=40)
    write(50, file="c.jsonl", first=45)
    for inputs in grown:
        enqueue(broker, *inputs, *(["--append"] * (len(inputs) > 1)))
    job = open_job("out")
    shards = [*log_of(job).inputs]
    for shard in shards:
        (Path("out") / names.part_object(shard)).touch()
    shutil.rmtree("out/_unrolled/log")
    for options in ((), ("--append",)):
        result = enqueue(broker, *grown[-1], *options)
        assert result.exit_code == 1
        assert "the files of its log (_unrolled/log) are lost" in result.stderr
        assert "of rows.jsonl alone and without --append, and after it each that added to the job" in result.stderr
    assert "other inputs" in enqueue(broker, "b.jsonl").stderr
    for inputs in grown:
        assert enqueue(broker, *inputs, *(["--append"] * (len(inputs) > 1))).exit_code == 0
    assert [*log_of(open_job("out")).inputs] == shards


def test_the_number_of_rows_as_json(broker):
    """Null without --append."""
    assert json.loads(enqueue(broker, "--json").stdout)["added"] is None
    write(41, first=40)
    assert json.loads(enqueue(broker, "--json", "--append").stdout)["added"] == 1


def test_the_first_run_may_append_too(broker):
    """The same line may stand in a crontab from the first day on."""
    assert appended(broker) == "40 rows were appended"


def test_a_discarded_job_that_has_grown_is_called_discarded(place, broker):
    """No inputs resume it."""
    enqueue(broker)
    write_rows(place / "more.jsonl", {"new": [1]})
    assert appended(broker, "rows.jsonl", "more.jsonl") == "1 row was appended"
    decide(open_job("out"), Segment("discard"))
    for inputs in (["rows.jsonl"], ["rows.jsonl", "more.jsonl"], ["more.jsonl"]):
        assert "the job in it was discarded; use another --out" in refused(broker, *inputs)


def test_new_inputs(place, broker):
    """They follow those of the job, in its order; a directory is read in the order of its names."""
    Path("corpus").mkdir()
    write(20, "corpus/b.jsonl")
    enqueue(broker, "corpus")
    write_rows(place / "corpus" / "c.jsonl", {"new": [1]})
    said = refused(broker, "corpus")
    assert (
        "holds a job with other inputs (corpus/b.jsonl; this command asks for corpus/b.jsonl, corpus/c.jsonl; " in said
    )
    assert "Use --append" in said
    assert appended(broker, "corpus") == "1 row was appended"
    assert appended(broker, "corpus") == NOTHING
    assert "other inputs" in refused(broker, "corpus/b.jsonl")
    write_rows(place / "corpus" / "a.jsonl", {"newer": [1]})
    said = refused(broker, "corpus", "--append")
    assert "--append adds to the end: name that job's inputs first, in its order, and new ones after them" in said
    assert appended(broker, "corpus/b.jsonl", "corpus/c.jsonl", "corpus/a.jsonl") == "1 row was appended"


def test_rows_and_a_new_input_at_once(place, broker):
    """The last input grows, and another one follows it."""
    enqueue(broker)
    write(50, first=40)
    write_rows(place / "more.jsonl", {"more": [1], "row-3": [2]})
    result = enqueue(broker, "rows.jsonl", "more.jsonl", "--append")
    assert result.exit_code == 3
    assert "12 rows were appended" in result.stdout
    quarantine = CliRunner().invoke(cli, ["quarantine", "out"]).stdout
    assert quarantine == "more.jsonl row 1 (row-3): duplicate id; rows.jsonl row 3 has it\n"


def test_an_earlier_row_that_differs(place, broker):
    """The first shard that differs is named, and what to do; the input before it may be compressed in another way."""
    enqueue(broker)
    lines = (place / "rows.jsonl").read_text().splitlines()
    write_rows(place / "rows.jsonl", {"other": [1, 2]})
    with Path("rows.jsonl").open("a") as file:
        file.write("\n".join([*lines[1:], *lines[:1]]) + "\n")
    said = refused(broker, "--append")
    assert "the input has changed since this job began: in shard 0 (" in said
    assert "rows from rows.jsonl row 0 on), at least one row differs" in said
    assert "Restore the input, or use another --out" in said
    (place / "rows.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    said = refused(broker, "--append")
    assert re.search(r"since this job began: the last shard, from rows\.jsonl row \d+ on, had \d+ rows?, now \d+", said)
    assert "line end" not in said
    (place / "rows.jsonl").write_text("\n".join(lines[:8]) + "\n")
    assert re.search(r"ends \d+ shards earlier, before rows\.jsonl row 8\.", refused(broker, "--append"))


def test_an_input_that_is_shorter_before_an_added_one(place, broker):
    """Its rows and the other's, which are in one shard then, aren't counted together."""
    enqueue(broker)
    write_rows(place / "more.jsonl", {"more": [1]})
    assert appended(broker, "rows.jsonl", "more.jsonl", "--append") == "1 row was appended"
    lines = (place / "rows.jsonl").read_text().splitlines()
    (place / "rows.jsonl").write_text("\n".join(lines[:-3]) + "\n")
    said = refused(broker, "rows.jsonl", "more.jsonl")
    assert re.search(r"in shard \d+ \(\d+ rows from rows\.jsonl row \d+ on\), at least one row differs or is mis", said)
    assert ("line end" in said, ", now " in said) == (False, False)


def test_a_row_between_two_inputs(place, broker):
    """An input that isn't the last one has grown: its row would change the order."""
    write_rows(place / "more.jsonl", {"more": [1]})
    enqueue(broker, "rows.jsonl", "more.jsonl")
    write(41, first=40)
    assert "now at rows.jsonl row 40" in refused(broker, "rows.jsonl", "more.jsonl", "--append")


def test_a_compressed_file_that_was_written_again(place, broker):
    """Its bytes differ, its rows don't."""
    text = (place / "rows.jsonl").read_bytes()
    (place / "rows.jsonl.gz").write_bytes(gzip.compress(text, 1))
    enqueue(broker, "rows.jsonl.gz")
    (place / "rows.jsonl.gz").write_bytes(gzip.compress(text + b'{"id": "new", "tokens": [1]}\n', 9))
    assert appended(broker, "rows.jsonl.gz") == "1 row was appended"


@pytest.mark.parametrize("more", ["4,the list\n", '4,a "quoted" word\n5,the list\n', "4,the\n" * 9])
def test_a_row_with_a_quote_that_is_never_closed(place, broker, more):
    """What is appended changes nothing about it, and neither the rows between nor the reason."""
    (place / "a.csv").write_text('id,tokens\n1,3 4\n2,"5 6\n3,7\n')
    assert enqueue(broker, "a.csv", out="quoted").exit_code == 3
    with (place / "a.csv").open("a") as file:
        file.write(more.replace("the list", "8 9").replace("the", "8"))
    grown = enqueue(broker, "a.csv", "--append", out="quoted")
    assert "appended" in grown.stdout, grown.output


def test_a_last_line_that_was_lengthened(place, broker):
    """It had no line end, so the row has changed; the text says so."""
    (place / "rows.jsonl").write_text('{"id": "a", "tokens": [1]}\n{"id": "b", "tokens": [1]}')
    enqueue(broker)
    with Path("rows.jsonl").open("a") as file:
        file.write('{"id": "c", "tokens": [1]}\n')
    said = refused(broker, "--append")
    assert "If text was added: it lengthens a last line without a line end, and a last record of FASTA" in said
    assert "another name" not in said


def test_an_id_that_a_new_input_takes(place, broker):
    """An earlier row's own id is that of a row in the new input, whose name is to blame and not the earlier input."""
    write_rows(place / "rows.jsonl", {"a": [1], "more.jsonl#0": [2]})
    (place / "more.jsonl").write_text('{"tokens": [3]}\n')
    enqueue(broker)
    said = refused(broker, "rows.jsonl", "more.jsonl", "--append")
    assert "If a row's own id is one that a row of an added input gets, such as new.txt#0, give that input an" in said
    (place / "more.jsonl").rename("other.jsonl")
    assert appended(broker, "rows.jsonl", "other.jsonl") == "1 row was appended"


def test_other_options(broker):
    """They are refused as ever, and named."""
    enqueue(broker)
    write(50, first=40)
    assert "other options (with_tokens is false; this command asks for true)" in refused(
        broker, "--append", "--with-tokens"
    )


def test_streams(place, broker):
    """A stream is added to by reading on; either way the text says so."""
    said = enqueue(broker, "-", "--follow", "--append", stdin="")
    assert said.exit_code == 2
    assert "--append adds to files, and --follow reads a stream" in said.stderr
    assert not (place / "out").exists()
    prepare(Submission(("-",), "out", Path("model"), SourceOptions(kind="tokens", follow=True)))
    said = enqueue(broker, "-", "--kind=tokens", "--append", stdin='{"tokens": [1]}\n')
    assert said.exit_code == 1
    assert "holds a job that reads a stream, and --append adds to files" in said.stderr


def test_a_job_that_grows_is_not_complete(broker):
    """Until its new rows are published, status and verify say so."""
    enqueue(broker)
    job = open_job("out")
    decide(job, Segment("append", inputs=job.job.inputs))
    status = json.loads(CliRunner().invoke(cli, ["status", "out", "--json"]).stdout)
    assert (status["ended"], status["finished"]) == (False, False)
    assert "the input wasn't read to its end" in CliRunner().invoke(cli, ["verify", "out"]).stdout


def test_it_goes_on_after_kill_9(place, broker):
    """A producer is killed between its rows and their segment: the same command completes what it began."""
    enqueue(broker)
    write(60, first=40)
    with Crew() as crew:
        killed = crew.start(*words(broker), "--append", "--max-queued-tokens", "1", cwd=place)
        job = open_job("out")
        eventually(lambda: len(list(job.objects.list(names.ROWS))) > len(log_of(job).inputs), "a new shard's rows")
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    log = log_of(job)
    assert (log.ended, log.growths) == (False, [len(log.inputs)])
    result = enqueue(broker, "--append")
    assert result.exit_code == 0
    assert "20 rows were appended" in result.stdout
    enqueue(broker, out="other")
    assert content("out") == content("other")
    assert log_of(job).growths == log.growths


@skips.long("starts 20 producers")
def test_it_goes_on_after_kill_9_again_and_again(place, broker):
    """The input grows 20 times, and each time a producer is killed after another number of objects."""
    (place / "rows.jsonl").unlink()
    write(20)
    enqueue(broker)
    job = open_job("out")
    for number in range(20):
        write(22 + 2 * number, first=20 + 2 * number)
        known = len(objects())
        with Crew() as crew:
            killed = crew.start(*words(broker), "--append", cwd=place)
            enough = known + number % 5
            eventually(lambda k=killed, n=enough: len(objects()) >= n or k.poll() is not None, "some new objects")
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        assert enqueue(broker, "--append").exit_code == 0
        assert log_of(job).ended
    enqueue(broker, out="other")
    assert content("out") == content("other")


def test_a_job_that_grows_is_the_job_run_at_once(place):
    """Ids and vectors are those of all rows at once; the parts that were there are the same files; all is verified."""
    line = ("run", "rows.jsonl", "--model", "model", "--shard-tokens", "20", "--engine", ENGINE, "--no-report")
    assert unrolled(*line, "--out", "out", cwd=place).returncode == 0
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in (place / "out").glob("*.parquet")}
    half = open_dataset(place / "out")
    write(60, first=40)
    done = unrolled(*line, "--out", "out", "--append", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "20 rows were appended\n" in done.stdout
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in before} == before
    assert not half.complete
    grown, whole = open_dataset(place / "out"), load("model", engine=ENGINE).encode([*ROWS.values()])
    assert [row.id for row in grown] == list(ROWS)
    for row, vectors in zip(grown, whole, strict=True):
        np.testing.assert_array_equal(row.outputs, vectors)
    assert grown.complete
    assert verify_job(open_job(place / "out")).problems == ()
