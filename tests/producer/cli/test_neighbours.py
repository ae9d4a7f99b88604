"""`unrolled neighbours`."""

import json

import pytest
from click.testing import CliRunner
from support import jobs
from support.jobs import finished_job, make_job, publish_shard, waiting

import unrolled
from producer.cli.root import cli
from producer.terminal import progress


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    finished_job(folder, options={"pooling": ["none", "last"]})
    return folder


def run(*arguments):
    return CliRunner().invoke(cli, ["neighbours", *map(str, arguments)], prog_name="unrolled", env={"COLUMNS": "100"})


def test_what_python_finds(out):
    """The rows that `Dataset.neighbours` finds, in the stored column or in the one that is named."""
    dataset = unrolled.open(out)
    named = next(row.id for row in dataset if row.length)
    for options, column, wanted in (
        ((), "last", dataset.neighbours(named)),
        (("--column", "mean", "-n", 2), "mean", dataset.neighbours(named, 2, column="mean")),
        (("--metric", "euclidean"), "last", dataset.neighbours(named, column="last", metric="euclidean")),
    ):
        done = run(out, "--id", named, "--json", *options)
        assert done.exit_code == 0, done.output
        assert [json.loads(line) for line in done.output.splitlines()] == [
            {**each._asdict(), "column": column} for each in wanted
        ]
    table = run(out, "--id", named, "-n", 1).output.splitlines()
    assert table[0].split() == ["id", "cosine", "of", "last"]
    assert table[-1].split()[0] == dataset.neighbours(named, 1, column="last")[0].id


def test_it_shows_how_many_rows_it_has_compared(out, monkeypatch):
    """On standard error, if that takes long."""
    monkeypatch.setattr(progress, "PLAIN_EVERY_SECONDS", 0)
    count = len(unrolled.open(out))
    done = run(out, "--id", "rows.txt#1", "--json")
    assert f"comparing: {count} of {count} rows (100 %)" in done.stderr.splitlines()[-1]
    assert len(done.stdout.splitlines()) == 10


@pytest.mark.parametrize(
    ("options", "choices", "all_choices"),
    [
        (
            {"layers": [0, 1], "pooling": ["none"]},
            "2 vectors; choose a column: mean_0, mean_1",
            "mean_0, max_0, last_0, first_0, mean_1, max_1, last_1, first_1",
        ),
        ({"layers": [0, 1], "pooling": ["last"]}, "2 vectors; choose a column: last_0, last_1", "last_0, last_1"),
    ],
)
def test_several_columns(options, choices, all_choices, tmp_path):
    """Neither the command nor Python chooses one of several; both name them."""
    finished_job(tmp_path / "out", options=options)
    dataset = unrolled.open(tmp_path / "out")
    named = next(row.id for row in dataset if row.length)
    with pytest.raises(ValueError, match=choices):
        dataset.neighbours(named)
    done = run(tmp_path / "out", "--id", named)
    assert done.exit_code == 1
    assert f"{choices} (--column)" in done.output
    for wrong in ("outputs_0", "max", "mean"):  # neither layer
        with pytest.raises((ValueError, KeyError), match=f"choose a column: {all_choices}['\"]?$"):
            dataset.neighbours(named, column=wrong)
    chosen = choices[-6:]
    found = run(tmp_path / "out", "--id", named, "--column", chosen, "-n", 1).output.split()
    assert found[:4] == ["id", "cosine", "of", chosen]
    assert dataset.neighbours(named, 1, column=chosen)[0].id in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--id", "nobody"), "no row has the id 'nobody'"),
        (("--id", "nobody", "--column", "outputs"), "column 'outputs' isn't one with a vector for each row"),
        (
            ("--id", "nobody", "--column", "mean_1"),
            "no column 'mean_1', and none to compute it from; choose a column: last",
        ),
    ],
)
def test_what_is_not_there(out, options, message):
    """One line that says so."""
    done = run(out, *options)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.splitlines()) == 1


def test_a_job_that_is_not_complete_is_reported(out, tmp_path):
    """Its other rows may be nearer; of a complete job nothing is said."""
    job = make_job(tmp_path / "out")
    publish_shard(job, waiting(job)[0])
    named = next(row.id for row in unrolled.open(tmp_path / "out") if row.length)
    done = run(tmp_path / "out", "--id", named)
    assert done.exit_code == 0, done.output
    assert "the job is not complete; the rows in its files are compared, and `unrolled verify` says" in done.stderr
    assert run(out, "--id", named).stderr == ""


def test_the_only_row_with_a_vector_has_no_neighbour(tmp_path, monkeypatch):
    """That is said, in place of a heading with nothing below it."""
    cut = jobs.cut
    monkeypatch.setattr(jobs, "cut", lambda index, **more: cut(index, **more)[:1])
    finished_job(tmp_path / "out", 1)
    for more in ((), ("--json",)):
        done = run(tmp_path / "out", "--id", "rows.txt#0", *more)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", "no other row has a vector\n")


def test_as_many_rows_as_are_asked_for_where_an_id_occurs_several_times(tmp_path, monkeypatch):
    """As in a stream that was read twice: only the first row with the id is left out."""
    cut = jobs.cut

    def same_ids(index, **more):
        return [row._replace(id=f"a{number}") for number, row in enumerate(cut(index, **more))]

    monkeypatch.setattr(jobs, "cut", same_ids)
    finished_job(tmp_path / "out", live=True)
    assert [row.id for row in unrolled.open(tmp_path / "out")] == ["a0", "a1", "a2", "a3"] * 3
    for count in (1, 2, 9, 11):
        done = run(tmp_path / "out", "--id", "a2", "-n", count, "--json")
        assert len(done.stdout.splitlines()) == count, done.output
    found = sorted(json.loads(line)["id"] for line in done.stdout.splitlines())
    assert found == sorted(["a2"] * 2 + ["a0", "a1", "a3"] * 3)
