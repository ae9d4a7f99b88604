"""The files that `unrolled report` writes, and those that it leaves alone."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.report_jobs import report_job

from producer.cli.root import cli


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished job, which each test copies."""
    place = tmp_path_factory.mktemp("done") / "out"
    report_job(place, 30)
    return place


@pytest.fixture
def out(done, tmp_path):
    shutil.copytree(done, tmp_path / "out")
    return tmp_path / "out"


def report(out, *words):
    return CliRunner().invoke(cli, ["report", str(out), *map(str, words)], prog_name="unrolled")


def contents(folder):
    """All files of a directory with their bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("option", ["--to", "--coordinates"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out/{part}", "which no report has written"),
        ("out/_unrolled/job.json", "which no report has written"),
        ("out/new.parquet", "the directory of a job is for its parts alone"),
        ("out/_unrolled/log/new", "the directory of a job is for its parts alone"),
        ("model/model.safetensors", "which no report has written"),
        ("rows.csv", "which no report has written"),
        ("rows.parquet", "which no report has written"),
        ("other.html", "which no report has written"),
        ("loop", "loop: a symbolic link that leads round in a circle; name another file"),
        ("n" * 300, "n: File name too long; name another file"),
        ("pipe", "a pipe, a socket or a device, and no file; name a file"),
    ],
)
def test_what_no_report_has_written_stays(out, tmp_path, option, name, said):
    """Parts, a job's records, weights, data and pages of others; and nothing new comes between parts."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "rows.csv").write_text("id,text\n")
    (tmp_path / "other.html").write_text("<!DOCTYPE html>\n<title>other</title>\n")
    pq.write_table(pa.table({"id": ["a"], "x": [1.0]}), tmp_path / "rows.parquet")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = contents(tmp_path)
    part = min(path.name for path in out.glob("*.parquet"))
    found = report(out, option, tmp_path / name.format(part=part))
    assert (found.exit_code, said in found.output) == (2, True), found.output
    assert contents(tmp_path) == before
    assert (tmp_path / "pipe").is_fifo()


def test_one_file_for_two_things(out, tmp_path):
    """Two options that name one file, by another path or by a link, are refused, and nothing is written."""
    (tmp_path / "rows.csv").write_text("id,text\n")
    (tmp_path / "link").symlink_to("rows.csv")
    both = report(out, "--to", tmp_path / "x", "--coordinates", tmp_path / "out" / ".." / "x")
    assert (both.exit_code, "--to and --coordinates are both" in both.output) == (2, True), both.output
    table = report(out, "--table", tmp_path / "rows.csv", "--to", tmp_path / "link")
    assert (table.exit_code, "--table and --to are both" in table.output) == (2, True), table.output
    assert not (tmp_path / "x").exists()


def test_a_report_may_be_written_again(out, tmp_path):
    """Over itself, over an empty file, and beside the job's records under a name of its own."""
    (tmp_path / "page.html").touch()
    (tmp_path / "map.parquet").touch()
    for _ in range(2):
        found = report(out, "--to", tmp_path / "page.html", "--coordinates", tmp_path / "map.parquet")
        assert found.exit_code == 0, found.output
    assert report(out, "--to", out / "_unrolled" / "report-of-tokens.html").exit_code == 0
    assert report(out).exit_code == 0
