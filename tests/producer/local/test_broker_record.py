"""The broker that a running `unrolled run` leaves a record of."""

import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.jobs import make_job

from producer.local.broker_record import BROKER_FILE, find_broker, record_of, recorded
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


@pytest.fixture
def folder():
    """One whose name is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as found:
        yield Path(found)


@contextmanager
def listening(path):
    """The URL of a server, whose socket stays as it does when the server is killed."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield f"redis+socket://{path}"


@pytest.fixture
def url(folder):
    """The URL of a server that lives."""
    with listening(folder / "socket") as found:
        yield found


def test_the_broker_that_is_named_counts(job):
    """Whatever is recorded."""
    record_of(job.place).write_text("nonsense")
    assert find_broker(URL, job.place) == URL


def test_the_record_is_beside_the_jobs_objects_and_none_of_them(job, tmp_path, url):
    """Readers and sweeps leave it alone."""
    record_of(job.place).write_text(f"{url}\n")
    assert record_of(job.place) == tmp_path / "out" / BROKER_FILE
    assert find_broker(None, job.place) == url
    assert list(names.parts_in(job.objects.list(names.PARTS))) == []


def test_no_record_is_no_broker(job):
    """No `unrolled run` is working on it."""
    assert find_broker(None, job.place) is None


def test_a_record_whose_server_is_gone_is_no_broker(job, folder):
    """A run that was killed leaves its record; its server takes the socket away, unless it was killed, too."""
    path = folder / "socket"
    record_of(job.place).write_text(f"redis+socket://{path}")
    assert find_broker(None, job.place) is None
    with listening(path) as url:
        assert find_broker(None, job.place) == url
        for _ in range(3):  # looks that nobody has accepted
            assert find_broker(None, job.place) == url
    assert path.exists()
    assert find_broker(None, job.place) is None
    with recorded("redis+socket:///another", job):
        pass


def test_a_server_that_can_not_be_asked_may_be_alive(job, folder):
    """The path is too long for a socket, or belongs to somebody else."""
    url = f"redis+socket://{folder / ('x' * 200)}"
    record_of(job.place).write_text(url)
    assert find_broker(None, job.place) == url


@pytest.mark.parametrize("content", [b"", b"nonsense", b"amqp://host/", b"\xff\xfe", URL.encode(), b"rediss://evil/"])
def test_a_record_of_anything_else_is_an_error(job, content):
    """The error names the file and both ways out. A server elsewhere, which a stranger may have put, isn't called."""
    record_of(job.place).write_bytes(content)
    with pytest.raises(JobError, match=r"_unrolled/broker: names no broker of `unrolled run`; remove it, or name the"):
        find_broker(None, job.place)


def test_of_two_runs_one_has_the_record(job, url):
    """The second is refused while the first one's server lives, and takes nothing of it away; a copy has it, too."""
    said = rf"another `unrolled run` is working on it .* If this is a copy .*, remove {record_of(job.place)}$"
    with recorded(url, job):
        with pytest.raises(JobError, match=said), recorded("x", job):
            pass
        assert find_broker(None, job.place) == url
    assert find_broker(None, job.place) is None
    assert not record_of(job.place).exists()


def test_the_record_of_a_killed_run_is_replaced(job, folder, url):
    """Its server is gone; and one that was taken for dead takes nothing of its successor's away."""
    with recorded(f"redis+socket://{folder / 'gone'}", job), recorded(url, job):
        assert find_broker(None, job.place) == url
        record = record_of(job.place).read_bytes()
    assert record == url.encode()


def test_many_runs_at_once_have_one_record(job, folder):
    """However close in time they start, all but one are refused."""
    barrier, refused, held = threading.Barrier(8), [], []

    def run(number):
        with listening(folder / str(number)) as url:
            barrier.wait()
            try:
                with recorded(url, job):
                    held.append(number)
                    barrier.wait()
            except JobError:
                refused.append(number)
                barrier.wait()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(8)))
    assert (len(held), len(refused)) == (1, 7)


class Bucket(MemoryStore):
    """A store whose place is a URL."""

    def __str__(self):
        return "s3://bucket/out"


def test_a_job_in_a_bucket_has_no_record(job):
    """No `unrolled run` shares a socket through it."""
    elsewhere = OpenJob(job.job, job.key, Objects(Bucket(), at_once))
    assert record_of(elsewhere.place) is None
    assert find_broker(None, elsewhere.place) is None
    assert find_broker(URL, elsewhere.place) == URL
    with recorded("redis+socket:///x", elsewhere):
        assert find_broker(None, elsewhere.place) is None
