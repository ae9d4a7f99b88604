"""Broker URLs: which are taken, and that none is shown with its secret."""

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import RequestError
from unrolled.queue.broker_url import check_broker_url, client_url, without_secret


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://localhost",
        "redis://:pa%40ss@host:6379/3",
        "redis://user:pass@[::1]:6379/0",
        f"rediss://host:6380/0?ssl_cert_reqs=required&ssl_ca_certs={__file__}",
        "redis+socket:///tmp/x.sock?virtual_host=1",
    ],
)
def test_taken(url):
    """TCP, TLS and Unix sockets are taken as they are, and redis-py takes them too."""
    assert check_broker_url(url) == url
    redis.Redis.from_url(client_url(url)).close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "doesn't begin with the scheme of a Redis server"),
        ("localhost:6379", "doesn't begin with the scheme"),
        ("amqp://guest:guest@localhost//", "doesn't begin with the scheme"),
        ("memory://", "doesn't begin with the scheme"),
        ("http://host/", "doesn't begin with the scheme"),
        ("redis://host:port/0", "port isn't a number from 1 to 65535"),
        ("redis://host:99999/0", "port isn't a number"),
        ("redis://host:0/0", "port isn't a number"),
        ("redis://[::1/0", "isn't a URL"),
        ("redis://host/zero", "doesn't end with the number of a database"),
        ("redis://:pa/ss@host/0", "port isn't a number"),
        ("redis+socket://", "lacks the path of the socket"),
        ("unix:///tmp/x.sock", "doesn't begin with the scheme"),
    ],
)
def test_refused(url, reason):
    """Anything else is refused in one line that says what is wrong, and what is allowed."""
    with pytest.raises(RequestError, match=rf"{reason}.*; allowed: redis:// or rediss:// or redis\+socket://, such as"):
        check_broker_url(url)


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, option):
    """The option and the file are named; else a connection would fail again and again, and the command would wait."""
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(RequestError, match=f"the file {path} of {option} can't be read: {why}"):
            check_broker_url(f"rediss://user:secret@host:6380/0?{option}={path}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("redis://user:hunter2@host/0?a=b", "redis://user:***@host/0?a=b"),
        ("redis://hunter2@host", "redis://:***@host"),
        ("redis://user:hun/ter2@host", "redis://user:***@host"),
        ("redis://user:hun@ter2@host", "redis://user:***@host"),
        ("user:hunter2@host:6379", "user:***@host:6379"),
        ("redis://host/0?password=hunter2&db=1", "redis://host/0?password=***&db=1"),
        ("redis://host/0?db=1&ssl_password=hun@ter2", "redis://host/0?db=1&ssl_password=***"),
        ("redis+socket://:hunter2@/tmp/x.sock", "redis+socket://:***@/tmp/x.sock"),
        ("redis://[::1:hunter2@x", "redis://[:***@x"),
    ],
)
def test_without_secret(url, shown):
    """Host and user stay to be recognised, the password goes, even out of a URL that can't be parsed."""
    assert without_secret(url) == shown


@settings(deadline=None)
@given(st.sampled_from(["redis", "rediss", "redis+socket", "amqp"]), st.text(max_size=9), st.text(max_size=9))
def test_no_text_holds_the_secret(scheme, before, after):
    """Whatever a password is made of, neither the shown URL nor the error repeats it."""
    secret = f"{before}s3cr3t{after}"
    url = f"{scheme}://user:{secret}@host:6379/0"
    assert "s3cr3t" not in without_secret(url)
    try:
        check_broker_url(url)
    except RequestError as error:
        assert "s3cr3t" not in str(error)  # noqa: PT017 - most examples are no error


def test_socket_url():
    """Celery's spelling of a socket and its database becomes redis-py's."""
    assert client_url("redis+socket:///tmp/a%20b.sock?virtual_host=2") == "unix:///tmp/a%20b.sock?db=2"
    assert client_url("redis://h/0") == "redis://h/0"
