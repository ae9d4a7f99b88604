"""`unrolled card`."""

from click.testing import CliRunner
from support.jobs import finished_job, make_job, publish_shard, waiting

import unrolled
from producer.cli.root import cli


def run(*arguments):
    return CliRunner().invoke(cli, ["card", *map(str, arguments)], prog_name="unrolled")


def test_what_python_gives(tmp_path):
    """On standard output, with a title; nothing is written into the job's directory."""
    finished_job(tmp_path / "out")
    before = sorted((tmp_path / "out").rglob("*"))
    done = run(tmp_path / "out", "--title", "States of my texts")
    assert done.exit_code == 0
    assert done.stdout == unrolled.open(tmp_path / "out").card("States of my texts")
    assert done.stderr == ""
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_a_job_that_is_not_complete_is_reported(tmp_path):
    """The card counts the rows that are published."""
    job = make_job(tmp_path / "out")
    publish_shard(job, waiting(job)[0])
    done = run(tmp_path / "out")
    assert done.exit_code == 0
    assert "the job is not complete" in done.stderr
    assert "for 4 rows" in done.stdout


def test_no_job(tmp_path):
    """One line says so."""
    done = run(tmp_path)
    assert done.exit_code == 1
    assert len(done.output.splitlines()) == 1


def test_a_damaged_part_names_the_command_that_knows_more(tmp_path):
    """It may be made again, which the part alone doesn't show."""
    finished_job(tmp_path / "out")
    part = min((tmp_path / "out").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    done = run(tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.endswith(f"; restore it from a copy, or see what `unrolled verify {tmp_path / 'out'}` says\n")
