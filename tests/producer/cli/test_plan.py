"""`unrolled plan`, as a person types it."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.model_configs import STACKED
from support.tokenizers import words

from producer.cli.plan_report import report, size_text, with_error
from producer.cli.root import cli
from producer.enqueue.submission import Submission
from producer.plan.plan import Choice, Input, Plan, Rows, Times
from producer.plan.planning import make_plan
from producer.plan.sampling.estimate import Estimate
from producer.sources.options import SourceOptions
from producer.terminal import progress
from unrolled.model.directory import save_model
from unrolled.model.padding import Padding
from unrolled.model.weights import new_weights
from unrolled.settings.worker_options import WorkerOptions


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="unrolled")


@pytest.fixture
def model(tmp_path):
    return save_model(tmp_path / "model", STACKED, new_weights(STACKED, 1), words().to_str()).path


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("a b a\nb\n\n" + "a " * 40 + "\n")
    return path


def test_a_plan_is_read_by_people(text, model):
    """Rows, tokens, lengths, bytes of each choice; nothing is measured without being asked."""
    result = run("plan", text, "--model", model, "--no-measure", "--precision", "float16", "--out", "not used")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "input     1 input, 90 B; all of it was read"
    assert "rows      4" in lines
    assert "tokens    44" in lines
    assert "longer    1 row has more than 12 tokens (max_length of the model); they are computed whole" in lines
    assert "empty     1 row has no token, and so no state" in lines
    assert any("last" in line and "every token" in line and "*" in line for line in lines)
    assert lines[-1] == "time      not known: not measured"
    assert "made for such texts" not in result.output


def test_a_tokenizer_for_other_texts_is_suspected(tmp_path, model):
    """As `run` would, where it knows few of the words; blank lines say nothing about it."""
    (tmp_path / "other.txt").write_text("ACDEFGHIK\nLMNPQRSTV\na b\nMKVLAT\n")
    (tmp_path / "blank.txt").write_text("\n\n\na b\n")
    assert "made for such texts" not in run("plan", tmp_path / "blank.txt", "--model", model, "--no-measure").output
    result = run("plan", tmp_path / "other.txt", "--model", model, "--no-measure")
    assert result.exit_code == 0
    assert "that is most of them: is the model's tokenizer made for such texts?" in result.output


def test_an_arithmetic_of_another_machine_is_planned(text, model, monkeypatch):
    """Without the kernel here, a job in bfloat16 is still one of the fused engine."""
    monkeypatch.setattr("producer.local.engine._KERNEL", Path("missing"))
    result = run("plan", text, "--model", model, "--no-measure", "--arithmetic", "bfloat16")
    assert (result.exit_code, "exclude each other" in result.output) == (0, False)


def test_ids_that_are_padding_are_named(tmp_path, model):
    """As in rows whose ids should have been raised by one: they would have no vector, without a word."""
    rows = tmp_path / "ids.jsonl"
    rows.write_text('{"tokens": [1, 0, 2]}\n{"tokens": [3]}\n')
    result = run("plan", rows, "--model", model, "--no-measure")
    assert "padding   25.0 % of the ids are padding (0, or masked), and have no vector" in result.output.splitlines()
    rows.write_text('{"tokens": [1, 3, 2]}\n')
    assert "padding" not in run("plan", rows, "--model", model, "--no-measure").output


def test_rows_that_a_model_which_pads_cannot_compute(tmp_path, text):
    """They are named as what they will be: rows of the quarantine."""
    config = replace(STACKED, padding=Padding(STACKED.max_length))
    model = save_model(tmp_path / "padded", config, new_weights(config, 1), words().to_str()).path
    result = run("plan", text, "--model", model, "--no-measure")
    lines = result.output.splitlines()
    assert "rows      3" in lines
    assert "unusable  1 row goes to quarantine, for example:" in lines
    assert f"            {text}: the row has 40 tokens, and the model reads at most 12" in result.output
    assert "longer" not in result.output


def test_one_line_that_is_too_long_is_one_row(tmp_path, model):
    """Wherever its bytes are read."""
    rows = tmp_path / "rows.txt"
    rows.write_text("a\n" * 100 + "a b " * 2_700_000 + "\n" + "a\n" * 100)
    lines = run("plan", rows, "--model", model, "--no-measure", "--max-row-bytes", "1000").output.splitlines()
    assert "unusable  1 row goes to quarantine, for example:" in lines
    assert f"            {rows}: line of 10800000 bytes; allowed: 1000 (--max-row-bytes)" in lines


def test_a_plan_that_takes_long_says_what_it_does(text, model, monkeypatch):
    """On standard error, where other commands show how far they are."""
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0)
    result = run("plan", text, "--model", model, "--no-measure", "--json")
    assert result.stderr.splitlines() == ["plan: looking at the inputs", "plan: reading a sample"]
    assert json.loads(result.stdout)["times"] is None


def test_a_plan_says_where_fields_have_line_ends(tmp_path, model):
    """As the job would: most likely, they are right, but only this line can show that they aren't."""
    rows = tmp_path / "a.csv"
    rows.write_text('text\na\n"b\na\nb"\na\n')
    result = run("plan", rows, "--model", model, "--no-measure")
    assert "rows      3" in result.stdout.splitlines()
    assert f"{rows}: 1 row has a quoted field with line ends; it has 3 lines, from line 3 on" in result.stderr


def test_of_an_input_that_breaks_off_no_error_is_known(tmp_path, model, monkeypatch):
    """Neither for people nor for programs: what was read was counted, and what follows isn't known."""
    monkeypatch.setattr("producer.plan.planning.SAMPLE_SECONDS", 60.0)  # so that a busy machine reads to the end, too
    whole = gzip.compress("".join(f"{'ab'[i % 2]} {i}\n" for i in range(3000)).encode())
    (tmp_path / "a.txt.gz").write_bytes(whole[: len(whole) // 2])
    command = ("plan", tmp_path / "a.txt.gz", "--model", model, "--no-measure")
    result = run(*command)
    assert result.exit_code == 1
    rows, tokens, store, read = (
        next(line for line in result.stdout.splitlines() if line.startswith(name))
        for name in ("rows ", "tokens ", "store ", "input ")
    )
    assert all(line.partition(" in ")[0].endswith(" ± unknown") for line in (rows, tokens, store)), result.stdout
    assert read.endswith("(100 %) were read")
    found = json.loads(run(*command, "--json").stdout)
    assert [found["rows"][name]["error"] for name in ("rows", "tokens", "quarantined", "empty")] == [None] * 4
    assert {choice["size"]["error"] for choice in found["choices"]} == {None}
    (tmp_path / "a.txt.gz").write_bytes(whole)
    assert json.loads(run(*command, "--json").stdout)["rows"]["rows"] == {"value": 3000, "error": 0.0}


def test_a_plan_is_read_by_programs(text, model):
    """The whole plan on one line."""
    result = run("plan", text, "--model", model, "--no-measure", "--json", "--workers", "4")
    found = json.loads(result.output)
    assert (found["rows"]["rows"], found["rows"]["tokens"]["value"]) == ({"value": 4, "error": 0.0}, 44)
    assert [choice["chosen"] for choice in found["choices"]].count(True) == 1
    assert found["times"] is None
    assert found["format_version"] == 1


def test_the_share_of_unknown_words_is_that_of_the_job(tmp_path):
    """Where all of the input is read, it is exact; from a sample, its size is said."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("a b c\n" * 2990 + "a b \u00e9\n" * 10)
    fitted = run("tokenizer", "fit", corpus, "--vocab-size", "3", "--out", tmp_path / "t.json").output.splitlines()
    assert fitted[-1].split(maxsplit=1) == ["covered", "99.89 %"]
    assert fitted[1].split() == ["texts", "3,000"]
    model = save_model(tmp_path / "model", STACKED, new_weights(STACKED, 1), (tmp_path / "t.json").read_text()).path
    found = run("plan", corpus, "--model", model, "--no-measure").output.splitlines()
    assert "unknown   0.11 % of the words are not in the model's vocabulary" in found
    plan = make_plan(
        Submission((str(corpus),), "", model, SourceOptions(), engine="fused"), WorkerOptions(), 1, measured=False
    )
    sampled = replace(plan, input=replace(plan.input, exact=False))
    assert (
        "unknown   about 0.11 % of the words are not in the model's vocabulary; 9,000 were read"
        in report(sampled).splitlines()
    )


def test_inputs_without_rows_are_named(tmp_path, text, model):
    """As `unrolled enqueue` names them."""
    (tmp_path / "empty.jsonl").touch()
    result = run("plan", text, tmp_path / "empty.jsonl", "--model", model, "--no-measure")
    assert result.exit_code == 0
    assert f"→ 1 input has no rows: {tmp_path}/empty.jsonl" in result.output.splitlines()


def test_inputs_that_can_not_be_read_give_a_status(tmp_path, text, model):
    """Scripts may rely on it."""
    (tmp_path / "bad.txt").write_bytes(b"PK\x03\x04")
    result = run("plan", text, tmp_path / "bad.txt", "--model", model, "--no-measure")
    assert result.exit_code == 1
    assert "→ 1 input can't be read to the end, so no job of these inputs can be finished" in result.output


def test_a_first_input_whose_rows_the_model_cannot_compute(tmp_path, model):
    """A plan isn't better than the job: that refuses the input, unless one with usable rows is read before it."""
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    bad.write_text("".join(f'{{"id": "{row}", "tokens": [{10**6 + row}]}}\n' for row in range(3)))
    good.write_text('{"id": "a", "tokens": [1, 2]}\n')
    alone = run("plan", bad, "--model", model, "--no-measure")
    job = run("run", bad, "--model", model, "--out", tmp_path / "out")
    assert (alone.exit_code, alone.stderr) == (1, job.stderr)
    assert "none of its first 3 rows can be used; row 0: token 1000000" in alone.stderr
    first = run("plan", bad, good, "--model", model, "--no-measure")
    assert first.exit_code == 1
    assert (
        "→ 1 input can't be read to the end, so no job of these inputs can be finished: bad.jsonl"
        in first.output.replace(f"{tmp_path}/", "")
    )
    second = run("plan", good, bad, "--model", model, "--no-measure")
    assert second.exit_code == 0
    assert "unusable  3 rows go to quarantine" in second.output


def test_a_live_input_is_refused(model):
    """The plan would take its rows from the job."""
    result = run("plan", "-", "--model", model)
    assert result.exit_code == 1
    assert "a stream can be read once" in result.output


def plan_with(**changes):
    exactly = Estimate(10.0)
    facts = {
        "model": "ab" * 32,
        "max_length": 128,
        "input": Input(
            2, 5_000_000, 1_000_000, exact=False, from_the_start=4_000_000, unreadable={}, not_sampled=["x.parquet.gz"],
            unchecked=3, notices=["y is left out"],
        ),
        "rows": Rows(
            Estimate(1e6, 2e4), Estimate(2e7, 4e5), exactly, ["a.jsonl: bad \x1b[2J"], exactly, 0.0, exactly,
            Estimate(0.3), {"mean": 20.0, "median": 18, "p90": 30, "p99": 99, "longest": 400}, in_part=False,
            unknown_share=0.02, unknown_noun="words", words_read=1000, computed_share=0.75,
        ),
        "parts": 12,
        "shard_tokens": 32768,
        "choices": [Choice("last", "none", "float32", Estimate(4e10, 8e8), chosen=True)],
        "times": Times("fused engine", 8, 40_000.0, 2.0, 90.0, Estimate(500.0), Estimate(92.0, 2.0), "queueing"),
        "worker_bytes": 800_000_000,
    }  # fmt: skip
    return Plan(**(facts | changes))


def test_errors_limits_and_gaps_are_said():
    """What isn't known, and what would be in the way of more workers."""
    text = report(plan_with())
    assert "rows      1.00M ±2 % or more" in text
    assert "store     40 GB ±2 % or more in about 12 parts" in text
    assert "sharing   75.0 % of the tokens are computed" in text
    assert "time      about 1 min 32 s by 8 machines like this one" in text
    assert "more workers don't make it faster" in text
    assert "memory    800 MB for each worker" in text
    assert "→ 3 inputs were not looked at" in text
    assert "→ 1 compressed table of more than 64 MiB is left out of all figures, as x.parquet.gz" in text
    assert "→ 4 MB can be read from their start only" in text
    assert "→ 1 row has more than 256 KiB, of which the plan reads parts" in text
    assert "→ y is left out" in text
    assert "\x1b" not in text


def test_an_error_is_that_of_the_sample():
    """If only a beginning was read, it may be larger, and is never nothing."""
    begun = plan_with()
    assert "rows      1.00M ±2 %" in report(replace(begun, input=replace(begun.input, from_the_start=0))).splitlines()
    rows = replace(begun.rows, tokens=Estimate(2e7, None))
    assert "tokens    20.0M ± unknown" in report(replace(begun, rows=rows)).splitlines()


def test_an_error_of_the_time_is_shown_if_it_is_larger_than_that_of_the_speed():
    """The error of the sample alone would promise too much."""
    times = replace(plan_with().times, total=Estimate(92.0, 40.0))
    assert "time      1 min 32 s ±43 % by" in report(plan_with(times=times))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (999_600, "1 MB"),
        (1_234_567, "1.23 MB"),
        (5e15, "5 PB"),
        (2e19, "2e+04 PB"),
    ],
)
def test_sizes_have_three_digits(size, text):
    """In units of a thousand."""
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(100.0, 5.0), "x ±5 %"),
        (Estimate(100.0, 0.3), "x ±0.3 %"),
        (Estimate(100.0, 0.01), "x"),
        (Estimate(0.0, 0.0), "x"),
        (Estimate(5.0, None), "x ± unknown"),
    ],
)
def test_an_error_is_a_share(estimate, text):
    """None where it is too small to matter."""
    assert with_error(estimate, "x") == text
