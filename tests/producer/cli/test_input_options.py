"""The options that `enqueue` and `run` share are what `Submission` and `SourceOptions` hold, no more and no less."""

from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support.shell import make_model

from producer.cli.commands.compute.enqueue import enqueue
from producer.cli.commands.compute.run import run
from producer.cli.commands.prepare.plan import plan
from producer.cli.input_options import input_options, submission_of
from producer.cli.root import cli
from producer.enqueue.submission import Submission
from producer.sources.options import SourceOptions
from unrolled.errors import OptionError
from worker.cli.worker import worker

NEEDED = ["-", "--model", "model", "--out", "out"]


def parsed(*words):
    """The submission that a command line makes, and what is left of its arguments."""
    found = []

    @click.command()
    @input_options
    def command(**arguments):
        found.extend([submission_of(arguments), arguments])

    result = CliRunner().invoke(command, [*NEEDED, *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found


def test_a_command_line_without_options_is_a_submission_without_options():
    """The defaults of the command line equal those of the library."""
    submission, left = parsed()
    assert submission == Submission(("-",), "out", Path("model"))
    assert left == {"max_queued_tokens": None, "priority": 10}


def test_every_option_arrives():
    """Each option arrives with a value that isn't its default."""
    submission, left = parsed(
        "--format", "csv", "--kind", "tokens", "--text-field", "a", "--tokens-field", "b", "--vectors-field", "d",
        "--initial-state-field", "e", "--id-field", "c",
        "--no-header", "--no-quotes", "--columns", "a,b,c",
        "--max-row-bytes", "7", "--follow", "--flush-seconds", "0.5", "--shard-tokens", "9", "--with-tokens",
        "--no-special-tokens", "--layers", "0,2", "--pooling", "mean,none", "--pooling", "max",
        "--precision", "float16", "--empty-rows", "zeros", "--max-queued-tokens", "11", "--priority", "30",
        "--engine", "tensorflow", "--arithmetic", "bfloat16", "--positions", "every:2",
    )  # fmt: skip
    source = SourceOptions(
        "csv",
        "tokens",
        "a",
        "b",
        "d",
        "e",
        "c",
        header=False,
        quotes=False,
        columns="a,b,c",
        max_row_bytes=7,
        follow=True,
    )
    chosen = {"layers": "0,2", "pooling": ("mean,none", "max"), "precision": "float16", "with_tokens": True}
    chosen |= {"engine": "tensorflow", "arithmetic": "bfloat16", "positions": "every:2", "empty_rows": "zeros"}
    chosen["named"] = ("id_field", "text_field", "tokens_field")
    assert submission == Submission(("-",), "out", Path("model"), source, 9, 0.5, special_tokens=False, **chosen)
    assert left == {"max_queued_tokens": 11, "priority": 30}
    assert parsed("--id-first-word")[0].source == SourceOptions(id_first_word=True)
    assert parsed("--append")[0] == Submission(("-",), "out", Path("model"), append=True)
    plain = Submission(("-",), "out", Path("model"))
    changed = [
        field.name for field in fields(Submission) if getattr(submission, field.name) != getattr(plain, field.name)
    ]
    assert set(changed) == {field.name for field in fields(Submission)} - {"inputs", "out", "model", "append"}


def test_what_can_not_be_is_refused():
    """A contradiction is the library's error, a value out of range click's; both are wrong usage."""
    with pytest.raises(OptionError, match="--text-field and --tokens-field are both x; give two different fields"):
        parsed("--text-field", "x", "--tokens-field", "x")
    for kind, other in (("tokens", "text"), ("text", "tokens")):  # the other field's name isn't used
        assert parsed("--kind", kind, f"--{kind}-field", other)[0].source.content_fields == (other,)
    with pytest.raises(OptionError, match="--append adds to files, and --follow reads a stream"):
        parsed("--append", "--follow")
    for words in (["--flush-seconds", "0"], ["--shard-tokens", "0"], ["--max-row-bytes", "0"], ["--format", "xml"]):
        result = CliRunner().invoke(enqueue, [*NEEDED, *words])
        assert result.exit_code == 2
        assert words[0] in result.stderr


def test_fields_are_named_only_by_a_command_line(monkeypatch):
    """Also if it gives the default; a variable may be meant for other inputs."""
    monkeypatch.setenv("UNROLLED_ID_FIELD", "key")
    submission, _ = parsed("--text-field", "text")
    assert submission.named == ("text_field",)


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--out", "out"),
        ("enqueue", "--out", "out", "--broker", "redis://127.0.0.1:1/0"),
        ("plan", "--no-measure"),
        ("tokenizer", "fit", "--out", "made.json", "--vocab-size", "9"),
        ("model", "fit", "--out", "made"),
    ],
)
def test_fields_of_a_fasta_are_refused_by_every_command(tmp_path, monkeypatch, words):
    """Nothing is made."""
    monkeypatch.chdir(tmp_path)
    Path("a.fa").write_text(">x\nMK\n")
    model = () if "fit" in words else ("--model", str(make_model(tmp_path / "model").path))
    before = sorted(tmp_path.iterdir())
    result = CliRunner().invoke(cli, [*words, "a.fa", *model, "--text-field", "sequence"], prog_name="unrolled")
    assert result.exit_code == 2
    assert "--text-field is for formats with fields, and the input is fasta" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", [run, enqueue, plan])
def test_the_help_says_that_auto_chooses_no_field_of_two(command):
    """An input with both is refused, or its rows are."""
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "auto takes the text or the token ids, whichever the row has" in text
    assert "Where rows have both, give text or tokens." in text


def test_run_takes_whatever_enqueue_and_worker_take():
    """A job can move from one machine to many and back; only a worker's log level isn't an option of `run`."""
    names = {option.name for option in [*enqueue.params, *worker.params]}
    assert names - {option.name for option in run.params} == {"log_level"}


def test_flush_seconds_without_a_stream_is_refused():
    """It would change nothing."""
    with pytest.raises(OptionError, match="--flush-seconds is for a stream, which --follow reads"):
        parsed("--flush-seconds", "5")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--columns", "id,text", "--header"], "--header and --columns exclude each other"),
        (["--metrics-address", "0.0.0.0"], "--metrics-address changes nothing without --metrics-port"),
        (["--emulate"], "--emulate changes nothing without --arithmetic bfloat16x3"),
        (
            ["--kind", "text", "--tokens-field", "ids"],
            "--tokens-field changes nothing, because --kind text reads only texts",
        ),
        (["--kind", "tokens", "--text-field", "body"], "--text-field changes nothing, because --kind tokens reads"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(tmp_path, words, said):
    """It is wrong usage, and no job is made."""
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    rows.write_text("id,text\n1,a\n")
    model = make_model(tmp_path / "model").path
    found = CliRunner().invoke(cli, ["run", str(rows), "--model", str(model), "--out", str(out), *words])
    assert found.exit_code == 2, found.output
    assert said in found.stderr
    assert not out.exists()


def test_a_variable_that_changes_nothing_is_no_mistake(monkeypatch):
    """It may be meant for other commands."""
    monkeypatch.setenv("UNROLLED_METRICS_ADDRESS", "127.0.0.2")
    found = CliRunner().invoke(
        cli, ["wait", "no-job", "--broker", "redis://127.0.0.1:1/0"], auto_envvar_prefix="UNROLLED"
    )
    assert "--metrics-address" not in found.output
    assert "no-job" in found.output
