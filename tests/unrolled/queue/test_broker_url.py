"""Broker URLs: which are taken, and that none is shown with its secret."""

import re

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from kombu.utils.url import url_to_parts

from unrolled.errors import RequestError
from unrolled.queue.broker_url import celery_url, check_broker_url, client_url, without_secret


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
        ("redis://[::1/0", r"a \[ or \] that belongs to no IPv6 address"),
        ("redis://host/zero", "doesn't end with the number of a database"),
        ("redis:6379", "doesn't begin with the scheme"),
        ("redis+socket://", "lacks the path of the socket"),
        ("unix:///tmp/x.sock", "doesn't begin with the scheme"),
    ],
)
def test_refused(url, reason):
    """Anything else is refused in one line that says what is wrong, and what is allowed."""
    with pytest.raises(RequestError, match=rf"{reason}.*; allowed: redis:// or rediss:// or redis\+socket://, such as"):
        check_broker_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:abc@TopSecretPart#xyz@localhost:7711/0",
        "redis://user:TopSecretPart#xyz@localhost:7711/0",
        "redis://user:1234#TopSecretPart@localhost:7711/0",
        "redis://user:1234#TopSecretPart",
        "redis://localhost:7711/0#TopSecretPart",
        "REDIS://user:abc@TopSecretPart@localhost:7711/0",
        "redis://user:1234/TopSecretPart@localhost:7711/0",
        "redis://user:1234?TopSecretPart@localhost:7711/0",
        "rediss://user:1234?ssl_check_hostname=TopSecretPart@localhost",
        "redis://user:abc;TopSecretPart@localhost:7711/0",
        "redis://user:abc\nTopSecretPart@localhost:7711/0",
        "redis+socket:///tmp/x;TopSecretPart.sock",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(url):
    """A part of the password would be taken for the host, looked up and printed; or kombu would connect elsewhere."""
    with pytest.raises(RequestError, match=r"not shown.*isn't certain.*write @ as %40.*# as %23.*; as %3B") as caught:
        check_broker_url(url)
    assert not re.search("TopSecretPart|1234|abc", str(caught.value), re.IGNORECASE)


@pytest.mark.parametrize(
    "url", ["user:TopSecretPart@localhost:7711/0", "//:TopSecretPart@localhost", "redis:a@b", "a:b://TopSecretPart@h"]
)
def test_a_login_without_a_scheme_is_not_shown(url):
    """What is missing is the scheme; the @ is in its place."""
    with pytest.raises(RequestError, match=r"not shown\): it doesn't begin with a scheme; allowed: redis://") as caught:
        check_broker_url(url)
    assert "TopSecretPart" not in str(caught.value)


@pytest.mark.parametrize("password", ["TopSecret[Part", "TopSecret]Part", "[TopSecret]Part"])
def test_a_bracket_in_a_password_is_named(password):
    """Only the address of an IPv6 host may have one."""
    with pytest.raises(RequestError, match=r"a \[ or \] that belongs to no IPv6 address.* \[ as %5B") as caught:
        check_broker_url(f"redis://:{password}@localhost:7711/0")
    assert "TopSecret" not in str(caught.value)


def test_what_is_hidden_is_said():
    """A port may be a part of a password; of an option, the text after the scheme is shown."""
    with pytest.raises(RequestError, match=r"port .*; what follows its : isn't shown"):
        check_broker_url("redis://localhost:99999/0")
    with pytest.raises(
        RequestError, match=r"'redis://h/x\?password=\*\*\*': .* number of a database; allowed: .*6379/0$"
    ):
        check_broker_url("redis://h/x?password=abc")


@pytest.mark.parametrize("url", ["redis://user:s3cr3t", "redis://user:s3cr3t/12", "redis://user:12/s3cr3t"])
def test_a_login_that_was_cut_off_is_not_shown(url):
    """As where the rest was taken for a comment."""
    with pytest.raises(RequestError, match=r"redis://user:\*\*\*.* what follows its : isn't shown") as caught:
        check_broker_url(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+socket:///tmp/x?virtual_host=1&virtual_host=2", "virtual_host is given twice"),
        ("redis+socket:///tmp/x?virtual_host=one", "virtual_host is the number of a database"),
        ("redis+socket:///tmp/x?virtual%5Fhost=1", "option"),
        ("rediss://h/0?ssl_check_hostname=0", "ssl_check_hostname is true or false"),
        ("rediss://h/0?ssl_password=a&s3cr3t=b", r"rediss://h/0': option \(not shown\)"),
    ],
)
def test_options_that_redis_py_and_kombu_read_differently(url, reason):
    """The one takes the first of two, the other the last; or one of them ends in an error of its own."""
    with pytest.raises(RequestError, match=reason) as caught:
        check_broker_url(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://us%40er:p%23a%3Bs%2Fs%3F%3A@Host:7711/3",
        "REDIS://user:Pa+ss@host:7711/3\n",
        "Rediss://:x=y&z@[::1]:7711",
        "Redis+Socket://u:p%40@/tmp/a%3B%40.sock?virtual_host=3",
    ],
)
def test_redis_py_and_kombu_read_the_same(url):
    """Host, port, login, path and database, of any scheme in any case."""
    kombus = url_to_parts(celery_url(check_broker_url(url)).removeprefix("redis+"))
    with redis.Redis.from_url(client_url(url)) as client:
        ours = client.connection_pool.connection_kwargs
    assert (kombus.username, kombus.password) == (ours.get("username"), ours.get("password"))
    if kombus.scheme == "socket":
        assert ("/" + kombus.path, int(kombus.query["virtual_host"])) == (ours["path"], ours["db"])
    else:
        assert (kombus.hostname, kombus.port, int(kombus.path or 0)) == (ours["host"], ours["port"], ours.get("db", 0))


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
