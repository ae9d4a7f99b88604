"""From what a person writes to a store."""

import subprocess
import sys
from pathlib import Path

import pytest

from unrolled.errors import RequestError, TransientError, install_command
from unrolled.store.bucket import BucketStore
from unrolled.store.bucket_url import BucketUrl
from unrolled.store.place import open_store
from unrolled.store.posix import PosixStore


@pytest.mark.parametrize("place", ["out", "/data/out", "./s3/x", "s3", "C:/out", "a:b", Path("out")])
def test_a_path_is_a_directory(place):
    """Nothing in it is taken for a URL."""
    store = open_store(place)
    assert isinstance(store, PosixStore)
    assert store.path == Path(place)


@pytest.mark.parametrize(("url", "shown"), [
    ("s3://bucket", "s3://bucket"), ("s3://bucket/", "s3://bucket"), ("S3://bucket/a/b/", "s3://bucket/a/b"),
    ("s3:/bucket/a", "s3://bucket/a"), (Path("s3://bucket/a"), "s3://bucket/a"),
])  # fmt: skip
@pytest.mark.usefixtures("server")
def test_a_url_is_a_bucket(url, shown):
    """Also where it went through a path, which drops one of its slashes."""
    store = open_store(url)
    assert isinstance(store, BucketStore)
    assert str(store) == shown


@pytest.mark.parametrize("url", ["gs://bucket_1/a", "az://container/a"])
def test_other_clouds_have_their_schemes(url, monkeypatch):
    """Nothing is asked of them yet."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "account")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    assert str(open_store(url)) == url


@pytest.mark.parametrize("url", ["file:///data", "http://host/x", "s3a://bucket/x", "hdfs://host/x", "gcs://bucket",
                                 "abfss://container@account/x", "foo+bar://x", "redis://:password@host/0"])  # fmt: skip
def test_another_scheme_is_refused(url):
    """It isn't taken for a directory of that name; what may be a password isn't repeated."""
    with pytest.raises(
        RequestError, match=r"^[a-z0-9+]+:// is not a place for objects; allowed: a path, s3://, gs://"
    ) as caught:
        open_store(url)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://key:password@bucket/out", "s3://bucket/out?password=x", "s3://bucket/out#password",
                                 "s3://bucket?password"])  # fmt: skip
def test_a_url_with_credentials_is_refused(url):
    """They would be in logs, in the process list and in shells' histories; the text doesn't repeat them."""
    with pytest.raises(RequestError, match="remove them from the URL") as caught:
        BucketUrl.parse(url)
    assert "password=" not in str(caught.value)
    assert ":password" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://", "s3:///out", "s3://UPPER/out", "s3://ab", "s3://b ucket/x", "s3://-bucket",
                                 "s3://" + "b" * 300])  # fmt: skip
def test_a_name_that_no_bucket_has_is_refused(url):
    """With an example of what is allowed."""
    with pytest.raises(RequestError, match="is not the name of a bucket; allowed:"):
        BucketUrl.parse(url)


@pytest.mark.parametrize("url", ["s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/a\nb"])
def test_a_prefix_is_checked_as_names_are(url):
    """It is a part of every object's name."""
    with pytest.raises(RequestError, match="can't be the name"):
        BucketUrl.parse(url)


def test_a_directory_is_made_only_where_that_is_asked_for(tmp_path):
    """One that is missing may be a disk that isn't mounted."""
    with pytest.raises(TransientError, match="bring the directory back"):
        open_store(tmp_path / "a/b").create("x", b"1")
    open_store(tmp_path / "a/b", make=True).create("x", b"1")
    open_store(tmp_path / "a/b", make=True).create("y", b"1")
    assert (tmp_path / "a/b/x").read_bytes() == b"1"
    with pytest.raises(TransientError, match=r"cannot make /proc/a: .*; no directory can be made there, so name"):
        open_store("/proc/a", make=True)
    with pytest.raises(TransientError, match=r"cannot make .*x/c: File exists; put a directory in place of"):
        open_store(tmp_path / "a/b/x/c", make=True)


def test_without_obstore_the_extra_is_named():
    """A directory needs none of it."""
    script = (
        "import sys; sys.modules['obstore'] = None\n"
        "from unrolled.store.place import open_store\n"
        "open_store('.')\n"
        "try:\n    open_store('s3://bucket/out')\n"
        "except Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    missing = "RequestError s3://bucket/out needs obstore, which is missing"
    assert done.stdout == f"{missing}: {install_command('cloud')}\n"
