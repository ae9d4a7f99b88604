"""What `unrolled doctor` finds in buckets, on a real S3 server."""

import json
import os
import time

import pytest
from click.testing import CliRunner
from support.bucket_server import Answer, bucket_server

from producer.cli.root import cli
from producer.doctor.bucket import check_bucket
from unrolled.store import bucket, settle


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server, on which nothing is tried again."""
    with bucket_server(tmp_path / "buckets") as found:
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(bucket, "_RETRIES", {"max_retries": 0})
        monkeypatch.setattr(settle, "PAUSES_SECONDS", (0.01,))
        yield found


def look(url):
    return {check.name: check for check in check_bucket(url)}


def test_a_bucket_as_it_should_be_passes(server):
    """One object is created in it, and it is gone at the end."""
    found = look("s3://bucket/jobs/new")
    assert {name: check.outcome for name, check in found.items()} == {
        "bucket": "ok", "created once": "ok", "bucket's clock": "ok"
    }  # fmt: skip
    assert "it is empty" in found["bucket"].found
    assert "is deleted again" in found["created once"].found
    assert not [path for path in (server.directory / "bucket").rglob("*") if path.is_file()]
    assert len({request.path for request in server.requests if request.method == "PUT"}) == 1


@pytest.mark.usefixtures("server")
def test_no_bucket():
    """One line, with what to do."""
    (check,) = check_bucket("s3://no-such-bucket/out")
    assert (check.name, check.outcome, check.advice) == ("bucket", "fail", "make the bucket, or correct its name")


@pytest.mark.usefixtures("server")
def test_no_server(monkeypatch):
    """Nothing more is asked."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    (check,) = check_bucket("s3://bucket/out")
    assert (check.outcome, check.advice) == ("fail", "check that the bucket can be reached")
    assert "no connection" in check.found


@pytest.mark.parametrize("answer", [Answer.FORBIDDEN, Answer.UNAUTHORIZED])
def test_credentials_that_may_not_list(server, answer):
    """No secret is shown."""
    server.faults["GET"] = [answer]
    (check,) = check_bucket("s3://bucket/out")
    assert (check.name, check.outcome) == ("bucket", "fail")
    assert check.advice == (
        "let these credentials list and read there (an output also needs write and delete), or use others"
    )
    assert "secret" not in check.found


def test_credentials_that_may_only_read(server):
    """The bucket can be listed, and no object can be created."""
    server.faults["PUT"] = [Answer.FORBIDDEN]
    found = look("s3://bucket/out")
    assert (found["bucket"].outcome, found["created once"].outcome) == ("ok", "fail")
    assert "403" in found["created once"].found


def test_a_server_that_replaces_objects(server):
    """It ignores the condition of a PUT."""
    server.ignores_conditions = True
    found = look("s3://bucket/out")
    assert found["created once"].outcome == "fail"
    assert "ignores `If-None-Match: *`" in found["created once"].found + found["created once"].advice


@pytest.mark.usefixtures("server")
def test_a_clock_that_is_wrong(monkeypatch):
    """The server's times are compared with this machine's."""
    now = time.time()
    monkeypatch.setattr("producer.doctor.bucket.time.time", lambda: now - 300)
    clock = look("s3://bucket/out")["bucket's clock"]
    assert clock.outcome == "warn"
    assert "ahead" in clock.found


@pytest.mark.usefixtures("server")
def test_the_command():
    """A URL in place of a directory, with or without --out; exit status 1 where a job couldn't run."""
    for words in (["s3://bucket/out"], ["--out", "s3://bucket/out"]):
        done = CliRunner().invoke(cli, ["doctor", *words])
        assert done.exit_code == 0, done.output
        assert "✓ bucket: s3://bucket/out: can be listed" in done.output
    done = CliRunner().invoke(cli, ["doctor", "s3://no-such-bucket/out", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["ok"] is False
    done = CliRunner().invoke(cli, ["doctor", "hdfs://host/out"])
    assert done.exit_code == 1
    assert "hdfs:// is not a place for objects" in done.output
    assert not os.path.exists("hdfs:")  # noqa: PTH110 - never a directory of that name
    assert CliRunner().invoke(cli, ["doctor", "out", "--out", "out"]).exit_code == 2
