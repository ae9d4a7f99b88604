"""The broker that a running `unrolled run` leaves a record of."""

import pytest
from support.jobs import make_job

from producer.local.broker_record import BROKER_FILE, find_broker, record_of
from unrolled.errors import JobError
from unrolled.job import names
from unrolled.patience import at_once
from unrolled.protocol.objects import Objects
from unrolled.protocol.opening import OpenJob
from unrolled.store.memory import MemoryStore

URL = "redis://localhost:1234/0"


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path / "out", shards=0)


def test_the_broker_that_is_named_counts(job):
    """Whatever is recorded."""
    record_of(job).write_text("nonsense")
    assert find_broker(URL, job) == URL


def test_the_record_is_beside_the_jobs_objects_and_none_of_them(job, tmp_path):
    """Readers and sweeps leave it alone."""
    record_of(job).write_text(f"{URL}\n")
    assert record_of(job) == tmp_path / "out" / BROKER_FILE
    assert find_broker(None, job) == URL
    assert list(names.parts_in(job.objects.list(names.PARTS))) == []


def test_no_record_is_no_broker(job):
    """No `unrolled run` is working on it."""
    assert find_broker(None, job) is None


def test_a_record_whose_server_is_gone_is_no_broker(job, tmp_path):
    """A run that was killed leaves its record; its server takes the socket away."""
    socket = tmp_path / "socket"
    record_of(job).write_text(f"redis+socket://{socket}")
    assert find_broker(None, job) is None
    socket.touch()
    assert find_broker(None, job) == f"redis+socket://{socket}"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"amqp://host/", b"\xff\xfe"])
def test_a_damaged_record_is_an_error(job, content):
    """The error names the file and both ways out."""
    record_of(job).write_bytes(content)
    with pytest.raises(JobError, match=r"_unrolled/broker: holds no broker's URL; remove it, or name the broker"):
        find_broker(None, job)


def test_a_job_in_a_bucket_has_no_record(job):
    """No `unrolled run` shares a socket through it."""
    elsewhere = OpenJob(job.job, job.key, Objects(MemoryStore(), at_once))
    assert record_of(elsewhere) is None
    assert find_broker(None, elsewhere) is None
    assert find_broker(URL, elsewhere) == URL
