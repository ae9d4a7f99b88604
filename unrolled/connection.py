"""Redis URLs, in the two spellings that Celery and redis-py know, and without their secrets."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from unrolled.errors import RequestError

#: URL schemes of a broker: TCP, TLS, Unix socket.
SCHEMES = ("redis", "rediss", "redis+socket")


def check_broker_url(url: str) -> str:
    """The URL, if it names a Redis server.

    Raises:
        RequestError: it is of another kind; the text doesn't repeat a password in it.
    """
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise RequestError(
            f"broker {without_secret(url)!r}: {' or '.join(f'{s}://' for s in SCHEMES)} is expected, "
            "such as redis://localhost:6379/0"
        )
    return url


def client_url(url: str) -> str:
    """The URL as redis-py takes it: Celery's `redis+socket://` is its `unix://`, `virtual_host` its `db`."""
    if url.startswith("redis+socket://"):
        return "unix://" + url.removeprefix("redis+socket://").replace("virtual_host=", "db=")
    return url


def without_secret(url: str) -> str:
    """The URL as it may be shown: the password is left out."""
    parts = urlsplit(url)
    if parts.password is None and "@" not in parts.netloc:
        return url
    user = f"{parts.username}:***@" if parts.username else "***@"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=user + host))
