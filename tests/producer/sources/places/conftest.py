"""A real S3 server, on which whatever is in a directory is in a bucket."""

import itertools

import pytest
from support.bucket_server import bucket_server

from unrolled.store.cloud import objects

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory):
    """One server for all tests, each of which has a bucket of its own."""
    with bucket_server(tmp_path_factory.mktemp("buckets")) as server:
        yield server


@pytest.fixture
def server(shared_server, monkeypatch):
    """The server with an empty bucket, an environment in which it is found, and no pauses between obstore's tries."""
    for name, value in shared_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(objects, "_RETRIES", {"max_retries": 0})
    shared_server.new_bucket(f"bucket-{next(NUMBERS)}")
    return shared_server


@pytest.fixture
def folder(server):
    """The directory in which the bucket's objects are."""
    return server.directory / server.bucket
