"""`unrolled neighbours`."""

import json

import pytest
from click.testing import CliRunner
from support.jobs import finished_job, make_job, publish_shard, waiting

import unrolled
from producer.cli.root import cli


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
    for options, wanted in (
        ((), dataset.neighbours(named, column="last")),
        (("--column", "mean", "-n", 2), dataset.neighbours(named, 2)),
        (("--metric", "euclidean"), dataset.neighbours(named, column="last", metric="euclidean")),
    ):
        done = run(out, "--id", named, "--json", *options)
        assert done.exit_code == 0, done.output
        assert [json.loads(line) for line in done.output.splitlines()] == [each._asdict() for each in wanted]
    table = run(out, "--id", named, "-n", 1).output.splitlines()
    assert table[0].split() == ["id", "cosine"]
    assert table[-1].split()[0] == dataset.neighbours(named, 1, column="last")[0].id


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--id", "nobody"), "no row has the id 'nobody'"),
        (("--id", "nobody", "--column", "outputs"), "column 'outputs' has no vector for each row"),
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
    assert "the job is not complete; only the rows that are published are compared" in done.stderr
    assert run(out, "--id", named).stderr == ""
