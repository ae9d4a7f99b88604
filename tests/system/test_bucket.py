"""A whole job in a bucket, by the commands that a person types, on a server that now and then goes wrong."""

import json

import pytest
from support.bucket_server import Answer, bucket_server
from support.shell import ENGINE, make_model, unrolled, write_rows

import unrolled as reader

#: A refused shard is tried again a lease later, so that a busy machine may take minutes: none of it is what is tested.
PATIENCE_SECONDS = 400
pytestmark = pytest.mark.timeout(3 * PATIENCE_SECONDS)
ROWS = {f"row-{number}": [1 + number % 50, 0, 2, 3][: number % 5] for number in range(1000)}
OUT = "s3://bucket/jobs/out"


@pytest.fixture
def server(tmp_path, monkeypatch):
    with bucket_server(tmp_path / "buckets") as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def place(tmp_path):
    """A directory with a model and rows."""
    make_model(tmp_path / "model")
    write_rows(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


def run(place, *more):
    options = ("--model", "model", "--out", OUT, "--shard-tokens", "200", "--engine", ENGINE)
    return unrolled("run", "rows.jsonl", *options, *more, cwd=place, timeout=PATIENCE_SECONDS)


def test_a_whole_job_in_a_bucket(place, server):
    """`run`, `status`, `verify`, `show` and the reader, with nothing but a URL; run again, it creates nothing."""
    done = run(place)
    assert done.returncode == 0, done.stderr
    assert f"{OUT}: verified; 1,000 rows in, 1,000 out" in done.stdout
    assert [row.id for row in reader.open(OUT)] == list(ROWS)
    status = json.loads(unrolled("status", OUT, "--json").stdout)
    assert (status["complete"], status["rows_published"]) == (True, len(ROWS))
    assert "row-1 " in unrolled("show", OUT, "--rows", "3").stdout
    kept = {path.name for path in (server.directory / "bucket" / "jobs" / "out").glob("*.parquet")}
    server.requests.clear()
    assert run(place).returncode == 0
    assert {path.name for path in (server.directory / "bucket" / "jobs" / "out").glob("*.parquet")} == kept
    assert not [request.path for request in server.requests if request.method == "PUT" and ".parquet" in request.path]


def test_a_server_that_goes_wrong_costs_time_only(place, server):
    """Conflicts, overload, lost answers and refusals that aren't true, while a job runs."""
    faults = (Answer.SLOW_DOWN, Answer.LOST_ANSWER, Answer.CONFLICT, Answer.EXISTS_AFTER, Answer.LOST_REQUEST, None)
    server.faults = {
        "PUT": [None] * 4 + list(faults) * 3,
        "GET": [None, *[None, Answer.BROKEN, None, Answer.HALF_ANSWER] * 3],
    }
    done = run(place)
    assert done.returncode == 0, done.stderr
    assert not server.faults["PUT"]
    assert [row.id for row in reader.open(OUT)] == list(ROWS)
    verify = unrolled("verify", OUT, "--json")
    found = json.loads(verify.stdout)
    assert (found["rows_in"], found["rows_out"], found["problems"]) == (1000, 1000, [])


def test_a_discarded_job_leaves_no_part(place, server):
    """The log stays, so that a late worker knows; the same command is refused."""
    assert run(place).returncode == 0
    assert unrolled("discard", OUT, "--yes").returncode == 0
    assert not list((server.directory / "bucket" / "jobs" / "out").glob("*.parquet"))
    again = run(place)
    assert again.returncode == 1
    assert "discarded" in again.stderr


def test_a_server_that_replaces_objects_is_refused(place, server):
    """It ignores the condition of a put, as old servers do: found before a job rests on it, and nothing is made."""
    server.ignores_conditions = True
    done = run(place)
    assert done.returncode == 1
    assert "ignores `If-None-Match: *`" in done.stderr
    assert not list((server.directory / "bucket" / "jobs").rglob("job.json"))
