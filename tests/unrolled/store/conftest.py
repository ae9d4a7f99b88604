"""A store of each kind, and a server for the buckets."""

import pytest
from support.bucket_server import BUCKET, bucket_server

from unrolled.store.bucket import BucketStore
from unrolled.store.memory import MemoryStore
from unrolled.store.posix import PosixStore

KINDS = ["posix", "bucket", "memory", "memory disk"]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One server for all tests, since each of them has a prefix of its own."""
    with bucket_server(tmp_path_factory.mktemp("buckets")) as server:
        yield server


@pytest.fixture
def server(shared_server, monkeypatch):
    """The server, with nothing to go wrong yet, and an environment in which its bucket is found."""
    for name, value in shared_server.environment().items():
        monkeypatch.setenv(name, value)
    shared_server.faults = {}
    shared_server.requests.clear()
    return shared_server


@pytest.fixture
def bucket(server, tmp_path):
    """An empty store in the server's bucket."""
    assert server.url
    return BucketStore(f"s3://{BUCKET}/{tmp_path.name}")


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "posix":
        return PosixStore(tmp_path)
    if request.param == "bucket":
        return request.getfixturevalue("bucket")
    return MemoryStore(is_disk=request.param == "memory disk")
