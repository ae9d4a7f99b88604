"""Google Cloud Storage and Azure Blob Storage: their requests, where they differ from those of S3."""

import os

import pytest
from support.cloud_stub import cloud_stub

from unrolled.store.bucket import TAIL_BYTES
from unrolled.store.place import check_creates_once, open_store
from unrolled.store.store import Creation

CONDITIONS = {"gs": ("x-goog-if-generation-match", "0"), "az": ("if-none-match", "*")}


@pytest.fixture
def stub(monkeypatch):
    """A cloud's server, where each cloud's own tools would find an emulator."""
    with cloud_stub() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        text = f"AccountName=account;AccountKey=a2V5;BlobEndpoint={server.url}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        yield server


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_an_object_is_created_by_one_request_with_a_condition(stub, scheme):
    """Each cloud has its own header for it, and its own way to say that an object exists."""
    store = open_store(f"{scheme}://bucket/out")
    assert store.create("f/a", lambda file: file.write(bytes(12_000_000))) is Creation.CREATED
    assert store.create("f/a", b"second") is Creation.EXISTS
    header, value = CONDITIONS[scheme]
    assert [put[header] for put in stub.puts] == [value, value]
    assert stub.objects == {"out/f/a": bytes(12_000_000)}
    check_creates_once(store)
    assert stub.objects.keys() == {"out/f/a"}


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_it_reads_lists_and_deletes(stub, scheme):
    """Azure has no ranges that are counted from the end."""
    store = open_store(f"{scheme}://bucket/out")
    content = os.urandom(TAIL_BYTES + 10)
    for name in ("a", "f/b", "f/g/c"):
        store.create(name, content)
    store.create("empty", b"")
    assert (store.read("f/b"), store.read("f/b", 3, 7), store.read("absent")) == (content, content[3:7], None)
    assert store.read("empty") == b""
    assert list(store.list("f")) == ["f/b"]
    assert list(store.list()) == ["a", "empty"]
    stub.ranges.clear()
    with store.open("a") as file:
        assert file.read() == content
    with store.open("empty") as file:
        assert file.read() == b""
    assert any(wanted.startswith("bytes=-") for wanted in stub.ranges) == (scheme == "gs")
    store.delete("f/b")
    store.delete("f/b")
    assert stub.objects.keys() == {"out/a", "out/f/g/c", "out/empty"}
