"""`unrolled report`: what it writes, where, and what it refuses."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support.report_jobs import record_time, report_job
from support.shell import ENGINE, make_model, unrolled, write_rows

from producer.cli.root import cli
from producer.jobs.decisions import cancel
from producer.report.writing import report_after_run
from unrolled.protocol.opening import open_job


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


def test_it_says_that_a_job_is_not_complete(out):
    """Also of one that was cancelled, which nothing will complete by itself."""
    assert run(out).stderr == ""
    cancel(open_job(out).objects, None)
    found = run(out)
    assert found.exit_code == 0
    assert found.stderr == f"{out}: the job is cancelled; the report shows what is published now\n"


def test_a_damaged_part_is_named_on_the_terminal(out):
    """The page lacks its rows, so a script or a person has to know; the line says how to get them."""
    path = max(out.glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-40])
    found = run(out)
    assert found.exit_code == 1
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"not in the report: {path}: damaged")
    assert line.endswith(
        "restore it from a copy, or remove it and run the same `unrolled run` or `unrolled enqueue`, which makes "
        "it again"
    )


def test_a_slow_map_is_announced(out, monkeypatch):
    """On standard error, with the number of its points, before it is computed."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr("producer.report.states.projection._SHORT_SECONDS", 0)
    found = run(out, "--map", "tsne")
    assert found.exit_code == 0, found.output
    assert found.stderr.startswith("report: t-SNE of 119 points takes about ")
    assert run(out).stderr == ""


def test_no_row_is_said_to_come_from_another_file(tmp_path):
    """The log names the first file of each shard alone, so that of a row in a later one may not be known."""
    make_model(tmp_path / "model")
    for name in ("a", "b", "c"):
        write_rows(tmp_path / f"{name}.jsonl", {f"{name}{number}": [1, 2, 3] for number in range(20)})
    inputs, options = [f"{name}.jsonl" for name in "abc"], ("--pooling", "mean", "--shard-tokens", "21", "--no-report")
    done = unrolled("run", *inputs, "--model", "model", "--out", "out", "--engine", ENGINE, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run(tmp_path / "out", "--coordinates", tmp_path / "map.parquet").exit_code == 0
    points = pq.read_table(tmp_path / "map.parquet", columns=["id", "file"]).to_pylist()
    known = [point for point in points if point["file"] is not None]
    assert len(points) == 60
    assert len(known) > 30
    assert all(point["file"] == f"{point['id'][0]}.jsonl" for point in known)


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


@pytest.mark.parametrize("kind", [int, str])
def test_coordinates_have_each_row_s_own_label(out, tmp_path, kind):
    """As the table has it, also where the page shows a scale, or one colour for all small groups."""
    labels = {f"corpus/file-{at * 3 // 120}.txt#{at}": kind(10 * at) + kind(0) for at in range(100)}
    table = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"id": list(labels), "topic": list(labels.values())}), table)
    found = run(out, "--table", table, "--label-field", "topic", "--coordinates", tmp_path / "map.parquet")
    assert found.exit_code == 0, found.output
    points = pq.read_table(tmp_path / "map.parquet")
    assert points.schema.field("label").type == (pa.int64() if kind is int else pa.string())
    assert points.column("label").null_count == 20
    assert points.column("label").to_pylist() == [labels.get(name) for name in points.column("id").to_pylist()]


def test_two_labels_for_one_id_are_refused(out, tmp_path):
    """Either could be wrong."""
    table = tmp_path / "labels.csv"
    table.write_text("id,topic\ncorpus/file-0.txt#1,a\ncorpus/file-0.txt#1,b\n")
    found = run(out, "--table", table, "--label-field", "topic")
    assert found.exit_code == 1, found.output
    assert "the id 'corpus/file-0.txt#1' has two labels, 'a' and 'b'" in found.output
    assert not (out / "_unrolled" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--label-field", "topic"], "--table"),
        (["--text-field", "body"], "--table"),
        (["--id-field", "id"], "--id-field changes nothing without --table"),
        (["--port", "8711"], "--port changes nothing without --live"),
        (["--host", "127.0.0.1"], "--host changes nothing without --live"),
        (["--to", "/nowhere/at/all.html"], "its directory doesn't exist"),
        (["--to", f"{__file__}/all.html"], "is a file; name another place"),
        (["--map", "none", "--coordinates", "x.parquet"], "--coordinates needs a map; leave out --map none"),
        (["--column", "no", "--coordinates", "/nowhere/x.parquet"], "its directory doesn't exist"),
        (["--live", "--png"], "--live writes no file"),
        (["--live", "--host", "256.1.1.1"], "can't be used (Name or service not known); give another --host"),
        (["--live", "--host", "a..b"], "'a..b' is no name of a host; give another --host"),
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


@pytest.mark.parametrize("option", ["--id-field", "--text-field", "--label-field"])
def test_a_column_that_the_table_lacks_is_refused(out, tmp_path, option):
    """Before the job is read."""
    (tmp_path / "rows.csv").write_text("id,text,topic\na,b,c\n")
    found = run(out, "--table", tmp_path / "rows.csv", option, "no")
    assert found.exit_code == 2, found.output
    assert "has no column 'no'; it has id, text, topic" in found.output
    assert option in found.output


def test_a_table_of_other_ids_is_warned_of(out, tmp_path):
    """In the page, too; one that has most of them is no warning, but the page says how many have no row."""
    ids = [f"corpus/file-{at * 3 // 120}.txt#{at}" for at in range(120)]
    table = tmp_path / "rows.csv"
    table.write_text("id,text\n" + "".join(f"row {at},b\n" for at in range(120)))
    found = run(out, "--table", table)
    assert found.exit_code == 0, found.output
    none = (
        "has none of the ids of 119 points on the map: its ids are like 'row 0', the job's like 'corpus/file-0.txt#1'"
    )
    assert f"warning: {table} {none}" in found.output
    assert "has none of the ids of 119 points" in (out / "_unrolled" / "report.html").read_text()
    table.write_text("id,text\n" + "".join(f"{name},b\n" for name in ids[:100]))
    found = run(out, "--table", table)
    assert "warning" not in found.output
    assert "has 99 of the ids of 119 points on the map" in (out / "_unrolled" / "report.html").read_text()


def test_the_report_of_a_run_is_written_once(out):
    """Again, once the job has something new; a page that `unrolled report` wrote of the same is kept."""
    job, page = open_job(str(out)), out / "_unrolled" / "report.html"
    first = report_after_run(job, "s3://bucket/model", verified=True)
    assert first == f"report: {page}"
    written = page.stat().st_mtime_ns, page.read_bytes()
    assert (
        report_after_run(job, "s3://bucket/model", verified=True)
        == f"report: {page} (nothing has changed since it was written)"
    )
    assert (page.stat().st_mtime_ns, page.read_bytes()) == written
    record_time(job, 10, 1, 1, later=1000)
    assert report_after_run(job, "s3://bucket/model", verified=True) == first
    assert page.read_bytes() != written[1]
    (out.parent / "rows.csv").write_text("id,text\na,b\n")
    for options in (["--map", "none"], ["--table", out.parent / "rows.csv"]):
        assert run(out, *options).exit_code == 0
        written = page.read_bytes()
        assert "nothing has changed" in report_after_run(job, "s3://bucket/model", verified=True)
        assert page.read_bytes() == written
    record_time(job, 10, 1, 2, later=2000)
    assert report_after_run(job, "s3://bucket/model", verified=True) == first


def test_the_report_of_a_run_tells_of_damage_and_of_its_end(out):
    """Damaged parts have the names of whole ones, before and after."""
    job, page = open_job(str(out)), out / "_unrolled" / "report.html"
    report_after_run(job, "s3://bucket/model", verified=True)
    whole = page.read_bytes()
    part = min(out.glob("*.parquet"))
    content = part.read_bytes()
    part.write_bytes(content[:100])
    assert report_after_run(job, "s3://bucket/model", verified=False) == f"report: {page}"
    text = page.read_text()
    assert "damaged part" in text
    assert "Every shard is published, but 1 part can&#x27;t be read." in text or "but 1 part can't be read." in text
    assert "more than are published" not in text, "their tokens are published"
    part.write_bytes(content)
    assert report_after_run(job, "s3://bucket/model", verified=True) == f"report: {page}"
    assert page.read_bytes() == whole


def test_a_report_that_fails_is_a_line_of_the_run(out):
    """Also for a reason that isn't foreseen: the job is done."""
    said = report_after_run(open_job(str(out)), None, verified=True)
    assert said.startswith("report: can't be written (TypeError: ")
    assert said.endswith(f"; `unrolled report {out}` tries again")


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
