"""`unrolled report`: what it writes, where, and what it refuses."""

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.report_jobs import report_job

from producer.cli.root import cli


@pytest.fixture
def out(tmp_path):
    report_job(tmp_path / "out", 120)
    return tmp_path / "out"


def run(*arguments):
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


def test_it_is_written_beside_the_job_or_where_it_is_named(out, tmp_path):
    """And again, in place of the old one."""
    assert run(out).output.splitlines()[-1].startswith(f"{out}/_unrolled/report.html (")
    first = (out / "_unrolled" / "report.html").read_bytes()
    assert run(out).exit_code == 0
    assert (out / "_unrolled" / "report.html").read_bytes() == first
    assert run(out, "--to", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").read_bytes() == first


def test_points_and_pictures(out, tmp_path):
    """The points as embedding-atlas wants them, and two PNG files."""
    pytest.importorskip("matplotlib")
    found = run(out, "--to", tmp_path / "page.html", "--coordinates", tmp_path / "map.parquet", "--png")
    assert found.exit_code == 0, found.output
    table = pq.read_table(tmp_path / "map.parquet")
    assert table.num_rows == 119
    assert {"id", "x", "y", "text", "length", "file", "neighbors"} == set(table.column_names)
    neighbours = table.column("neighbors").to_pylist()
    assert all(len(each["ids"]) == len(each["distances"]) == 5 for each in neighbours)
    assert all(each["distances"] == sorted(each["distances"]) for each in neighbours)
    for name in ("page-map.png", "page-throughput.png"):
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert name in found.output


def test_labels_of_a_table(out, tmp_path):
    """They are in the page and in the points."""
    table = tmp_path / "labels.csv"
    table.write_text(
        "id,topic\n" + "".join(f"corpus/file-{at * 3 // 120}.txt#{at},topic {at % 2}\n" for at in range(120))
    )
    found = run(out, "--table", table, "--label-field", "topic", "--coordinates", tmp_path / "map.parquet")
    assert found.exit_code == 0, found.output
    assert set(pq.read_table(tmp_path / "map.parquet").column("label").to_pylist()) == {"topic 0", "topic 1"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label-field", "topic"], "--table"),
        (["--to", "/nowhere/at/all.html"], "its directory doesn't exist"),
        (["--map", "none", "--coordinates", "x.parquet"], "--coordinates needs a map"),
        (["--live", "--png"], "--live writes no file"),
        (["--live", "--host", "256.1.1.1"], "can't be used"),
        (["--column", "first"], None),
        (["--column", "no"], "allowed for this map"),
    ],
)
def test_options_that_do_not_fit(out, arguments, said):
    """They are reported before anything is written, with exit status 2."""
    found = run(out, *arguments)
    assert found.exit_code == (2 if said else 0), found.output
    assert (said or "") in found.output
    assert (out / "_unrolled" / "report.html").exists() == (said is None)


def test_another_model_is_refused(out, tmp_path):
    """Its words would be other ones."""
    sizes = ["--vocab-size", "9", "--max-length", "9", "--lstm-units", "2", "--lstm-layers", "1"]
    assert CliRunner().invoke(cli, ["model", "new", str(tmp_path / "model"), *sizes]).exit_code == 0
    found = run(out, "--model", tmp_path / "model")
    assert found.exit_code == 2
    assert "name the model that the job was made with" in found.output


def test_what_is_no_job(tmp_path):
    """One line."""
    assert run(tmp_path).exit_code == 1
    assert "no job here" in run(tmp_path).output
