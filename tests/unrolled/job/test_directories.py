"""Models and jobs keep out of each other's directories."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner
from support.bucket_server import Answer, bucket_server
from support.jobs import finished_job, make_job
from support.shell import make_model, write_rows

from producer.cli.root import cli
from producer.jobs.decisions import discard
from unrolled.errors import JobError, ModelError, OptionError, TransientError
from unrolled.job.directories import refuse_job, refuse_place
from unrolled.model.files import CONFIG_FILE

NEW = ("--vocab-size", "9", "--max-length", "9", "--lstm-units", "2", "--lstm-layers", "1")


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="unrolled")


@pytest.mark.parametrize("command", ["run", "enqueue"])
def test_no_job_is_made_in_the_directory_of_a_model(tmp_path, command):
    """The model stays as it was."""
    make_model(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    before = sorted((tmp_path / "model").iterdir())
    more = ("--broker", "redis://localhost:1/0") if command == "enqueue" else ()
    result = run(command, rows, "--model", tmp_path / "model", "--out", tmp_path / "model", *more)
    assert result.exit_code == 1
    assert "contains a model (config.json), not a job; use another --out" in result.stderr
    assert sorted((tmp_path / "model").iterdir()) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("run", "rows.jsonl", "--model", "model", "--out", "OUT"),
            "unfinished training (_fit), not a job; use another",
        ),
        (("model", "new", "OUT", *NEW), "unfinished training (_fit), which the same `unrolled model fit` resumes; use"),
        (("model", "import", "model/model.safetensors", "OUT"), "unfinished training (_fit), which the same"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_nothing_else_is_made_in_the_directory_of_a_training(tmp_path, monkeypatch, command, said):
    """It would end with the files of two things, or not at all."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    (tmp_path / "OUT" / "_fit").mkdir(parents=True)
    (tmp_path / "OUT" / "_fit" / "lock").touch()
    result = run(*command)
    assert (result.exit_code, f"OUT: contains an {said}" in result.stderr) == (1, True), result.stderr
    assert [path.name for path in (tmp_path / "OUT").iterdir()] == ["_fit"]


def test_a_job_goes_on_where_a_training_has_begun(tmp_path, monkeypatch):
    """It was there before; a folder of that name that is no training's is none of our business."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    command = ("run", rows.name, "--model", "model", "--out", "out", "--no-report")
    (tmp_path / "out" / "_fit").mkdir(parents=True)
    assert run(*command).exit_code == 0
    (tmp_path / "out" / "_fit" / "plan.json").touch()
    again = run(*command)
    assert again.exit_code == 0, again.stderr


def test_no_job_is_mixed_with_other_jobs(tmp_path, monkeypatch):
    """Neither inside a job's directory nor around one; nor in the root directory, nor in a place without a name."""
    make_model(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    finished_job(tmp_path / "jobs" / "old")
    monkeypatch.chdir(tmp_path)
    more = ("--model", tmp_path / "model", "--broker", "redis://localhost:1/0")
    for out, status, message in (
        ("jobs/old/sub", 1, f"is inside the directory of another job ({tmp_path / 'jobs' / 'old'})"),
        ("jobs/old/sub/sub", 1, "is inside the directory of another job"),
        ("jobs", 1, "holds the directory of another job (old)"),
        (".", 1, "holds the directory of another job (jobs/old)"),
        ("/", 2, "is the root directory"),
        ("../" * len(tmp_path.parts), 2, "is the root directory"),
        ("", 2, "--out is empty"),
    ):
        result = run("enqueue", rows, "--out", out, *more)
        assert (result.exit_code, message in result.stderr) == (status, True), result.stderr
    assert sorted(path.name for path in (tmp_path / "jobs").iterdir()) == ["old"]
    assert not (tmp_path / "jobs" / "old" / "sub").exists()


def test_the_place_of_a_discarded_job_is_free_without_its_folder(tmp_path, monkeypatch):
    """The job may have been made where other files are, so each refusal says which folder has to go, and no more."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    advice = ". If that job was discarded, remove its folder _unrolled, once no worker runs that may have seen it\n"
    sizes = ("--vocab-size", 9, "--lstm-units", 2, "--lstm-layers", 1, "--embedding-dim", 1, "--max-length", 9)
    job, new = ("run", "rows.jsonl", "--model", "model", "--no-report", "--out"), ("model", "new", "work/new", *sizes)
    assert run(*job, "work").exit_code == 0
    assert run("discard", "work", "--yes").exit_code == 0
    for command in ((*job, "work/out"), (*job, "."), new):
        result = run(*command)
        assert result.exit_code == 1
        assert result.stderr.endswith(advice)
    shutil.rmtree("work/_unrolled")
    assert [run(*command).exit_code for command in (new, (*job, "work/out"))] == [0, 0]


def test_a_job_goes_on_whatever_was_put_around_it(tmp_path, monkeypatch):
    """Its rows are there already, and a directory beside it would begin again."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    command = ("run", rows.name, "--model", "model", "--out", "deep/er/out", "--no-report")
    assert run(*command).exit_code == 0
    finished_job(tmp_path / "around")
    (tmp_path / "around" / "_unrolled").rename(tmp_path / "deep" / "_unrolled")
    again = run(*command)
    assert again.exit_code == 0, again.stderr


def test_jobs_in_hidden_folders_are_no_reason(tmp_path):
    """Such as the snapshots of a file server, or a folder of removed files."""
    finished_job(tmp_path / "out" / ".snapshot" / "daily" / "job")
    refuse_place(str(tmp_path / "out"))
    finished_job(tmp_path / "out" / "a" / "b")
    with pytest.raises(JobError, match=r"out: holds the directory of another job \(a/b\)"):
        refuse_place(str(tmp_path / "out"))


def test_a_link_to_nothing(tmp_path):
    """The system says "File exists" of it; the link and what it names are told."""
    (tmp_path / "link").symlink_to("nowhere")
    for place in ("link", "link/deep"):
        with pytest.raises(
            OptionError, match=r"link is a symbolic link to .*/nowhere, which doesn't exist; make that, re"
        ):
            refuse_place(str(tmp_path / place))
    (tmp_path / "nowhere").mkdir()
    refuse_place(str(tmp_path / "link"))


def test_in_a_bucket_too(tmp_path, monkeypatch):
    """No model, no other job, and nothing below or above another job; a prefix that nobody else has is taken."""
    with bucket_server(tmp_path / "buckets") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        folder = server.directory / server.bucket
        make_model(folder / "models" / "names")
        finished_job(folder / "jobs" / "old")
        rows = write_rows(tmp_path / "rows.jsonl", {"a": [1]})
        more = ("--model", make_model(tmp_path / "model").path, "--broker", "redis://localhost:1/0")
        for out, message in (
            ("models/names", "contains a model (config.json), not a job"),
            ("jobs/old/sub/sub", f"is inside the place of another job (s3://{server.bucket}/jobs/old)"),
            ("jobs", "holds another job (jobs/old); use a prefix for this job alone"),
        ):
            result = run("enqueue", rows, "--out", f"s3://{server.bucket}/{out}", *more)
            assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
        refuse_place(f"s3://{server.bucket}/jobs/new")
        refuse_place(f"s3://{server.bucket}/jobs/old")
        server.faults["HEAD"] = [None, *[Answer.FORBIDDEN] * 9]
        refuse_place(f"s3://{server.bucket}/jobs/new/deep")  # with credentials for this prefix alone
        server.requests.clear()
        server.faults["HEAD"] = [Answer.FORBIDDEN] * 9
        with pytest.raises(TransientError, match="let these credentials list and read there"):
            refuse_place(f"s3://{server.bucket}/jobs/new/deep")  # nothing else is asked of a bucket that can't be read
        assert len(server.requests) == 1


def test_doctor_says_where_no_job_can_be(tmp_path):
    """As `run` refuses these places."""
    model = make_model(tmp_path / "model").path
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.parquet").touch()
    discarded = make_job(tmp_path / "discarded")
    discard(discarded.objects, None)
    for out, message in (
        (model, "contains a model (config.json)"),
        (tmp_path / "tables", "holds a.parquet and no job"),
        (tmp_path / "discarded", "the job in it was discarded"),
    ):
        result = run("doctor", "--model", model, "--out", out, "--json")
        (found,) = [check for check in json.loads(result.stdout)["checks"] if check["name"] == "output directory"]
        assert (result.exit_code, found["outcome"], message in found["found"]) == (1, "fail", True)


def test_a_discarded_job_can_not_be_resumed_with_any_options(tmp_path):
    """So none are asked for."""
    rows, model = write_rows(tmp_path / "rows.jsonl", {"a": [1]}), make_model(tmp_path / "model").path
    out = tmp_path / "out"
    common = ("enqueue", rows, "--model", model, "--out", out, "--broker", "redis://localhost:1/0")
    job = make_job(out)
    result = run(*common, "--pooling", "mean")
    assert "the options of that job" in result.stderr or "holds a job with" in result.stderr
    discard(job.objects, None)
    result = run(*common, "--pooling", "mean")
    assert result.exit_code == 1
    assert "the job in it was discarded; use another --out" in result.stderr


@pytest.mark.parametrize("command", ["run", "enqueue"])
def test_an_output_is_no_input(tmp_path, command):
    """The parts would be mixed with the input, and the second run would refuse what the first took."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_rows(corpus / "rows.jsonl", {"a": [1]})
    more = ("--broker", "redis://localhost:1/0") if command == "enqueue" else ()
    for out in (corpus, f"{corpus}/", corpus / ".." / "corpus"):
        result = run(command, corpus, "--model", make_model(tmp_path / "model").path, "--out", out, *more)
        assert (result.exit_code, "is an input, too; use another directory" in result.stderr) == (2, True), (
            result.stderr
        )
    assert sorted(path.name for path in corpus.iterdir()) == ["rows.jsonl"]


def test_an_input_that_leads_round_in_a_circle_is_named(tmp_path):
    """It is compared with the output before it is looked at."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for more in (("run", "--model", make_model(tmp_path / "model").path), ("model", "fit")):
        command = [*more, tmp_path / "a"] if more[0] == "model" else [more[0], tmp_path / "a", *more[1:]]
        result = run(*command, "--out", tmp_path / "out")
        assert (result.exit_code, f"input {tmp_path / 'a'}" in result.stderr) == (1, True), result.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("model", "new", "OUT", *NEW),
        ("model", "import", "model/model.safetensors", "OUT"),
        ("model", "fit", "corpus.txt", "--out", "OUT", "--epochs", "1"),
        ("tokenizer", "fit", "corpus.txt", "--vocab-size", "9", "--out", "OUT"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_model_is_made_in_the_directory_of_a_job(tmp_path, monkeypatch, command):
    """The job stays as it was."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    (tmp_path / "corpus.txt").write_text("a few words\n")
    finished_job(tmp_path / "OUT")
    before = sorted((tmp_path / "OUT").rglob("*"))
    result = run(*command)
    assert result.exit_code == 1
    assert "OUT: contains a job (_unrolled), not a model; use another directory" in result.stderr
    assert sorted((tmp_path / "OUT").rglob("*")) == before
    inside = "OUT/tokenizer.json" if command[0] == "tokenizer" else "OUT/inside"
    result = run(*(inside if word == "OUT" else word for word in command))
    assert result.exit_code == 1
    assert f"{inside}: is inside the directory of a job ({tmp_path}/OUT), which is for its parts alone" in result.stderr
    assert sorted((tmp_path / "OUT").rglob("*")) == before


COMMANDS = [
    ("run", "rows.jsonl", "--model", "model", "--out"),
    ("enqueue", "rows.jsonl", "--model", "model", "--broker", "redis://localhost:1/0", "--out"),
    ("status",),
    ("show",),
    ("neighbours", "--id", "a"),
    ("doctor", "--out"),
    ("model", "new", *NEW),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_path_that_no_directory_can_have(tmp_path, monkeypatch, command):
    """Too long, or in a circle: the error says what was found, what is allowed and what to do, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", {"a": [1]})
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    before = sorted(tmp_path.iterdir())
    allowed = os.pathconf(tmp_path, "PC_NAME_MAX")
    for out, message in (
        (
            "x" * 300,
            f"the name xxxxxxxxxxxxxxxxxxxx… has 300 bytes, and may have {allowed}; choose a shorter one",
        ),
        ("new/" + "é" * 150, f"the name éééééééééééééééééééé… has 300 bytes, and may have {allowed}; choose a"),
        ("/".join(["x" * 200] * 30), " bytes, and may have "),
        (
            "one",
            f"one: the symbolic link {tmp_path}/one leads round in a circle, or through too many others; remove it",
        ),
        ("two/sub", f"two/sub: the symbolic link {tmp_path}/two leads round in a circle"),
    ):
        result = run(*command, out)
        assert (result.exit_code, result.stderr.count("\n"), message in result.stderr) == (2, 1, True), result.output
        assert sorted(tmp_path.iterdir()) == before


def test_a_model_around_which_a_job_was_made_goes_on(tmp_path):
    """It may get a tokenizer, and its training is said to be done."""
    make_model(tmp_path / "model")
    finished_job(tmp_path)
    refuse_job(tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / CONFIG_FILE).write_text("{}")
    (tmp_path / "other" / "_fit").mkdir()
    (tmp_path / "other" / "_fit" / "lock").touch()
    with pytest.raises(ModelError, match=r"is inside the directory of a job"):
        refuse_job(tmp_path / "other")
