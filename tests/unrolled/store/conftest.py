"""A store of each kind, and a server for the buckets.

`UNROLLED_TEST_BUCKET=s3://BUCKET/PREFIX pytest tests/unrolled/store/test_store.py` also tests a bucket of any server or
cloud, with the credentials of the environment; what is created there stays.
"""

import itertools
import os

import pytest
from support.bucket_server import bucket_server

from unrolled.store.bucket import BucketStore
from unrolled.store.memory import MemoryStore
from unrolled.store.posix import PosixStore

NUMBERS = itertools.count()
OTHER_BUCKET = os.environ.get("UNROLLED_TEST_BUCKET")
KINDS = ["posix", "bucket", "memory", "memory disk", *(["other bucket"] if OTHER_BUCKET else [])]


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One server for all tests, each of which has a bucket of its own."""
    with bucket_server(tmp_path_factory.mktemp("buckets")) as server:
        yield server


@pytest.fixture
def server(shared_server, monkeypatch):
    """The server with an empty bucket, and an environment in which it is found."""
    for name, value in shared_server.environment().items():
        monkeypatch.setenv(name, value)
    shared_server.new_bucket(f"bucket-{next(NUMBERS)}")
    return shared_server


@pytest.fixture
def bucket(server):
    """An empty store in the server's bucket."""
    return BucketStore(f"s3://{server.bucket}/out")


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "posix":
        return PosixStore(tmp_path)
    if request.param == "bucket":
        return request.getfixturevalue("bucket")
    if request.param == "other bucket":
        return BucketStore(f"{OTHER_BUCKET}/{os.urandom(8).hex()}")
    return MemoryStore(is_disk=request.param == "memory disk")
