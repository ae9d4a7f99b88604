"""Redis URLs, in the two spellings that Celery and redis-py know, and without their secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from unrolled.errors import RequestError

#: URL schemes of a broker: TCP, TLS, Unix socket.
SCHEMES = ("redis", "rediss", "redis+socket")
_DATABASE = re.compile(r"/?[0-9]*")
#: Options of a URL that redis-py takes a secret from.
_SECRET_OPTION = re.compile(r"((?:^|[?&])[^=&]*(?:password|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


def check_broker_url(url: str) -> str:
    """The URL, if it names a Redis server.

    Raises:
        RequestError: it is of another kind; the text doesn't repeat a password in it.
    """
    try:
        parts = urlsplit(url)
        tcp = parts.scheme != "redis+socket"
        # Reading the port checks it.
        fits = parts.scheme in SCHEMES and (parts.port != 0 and _DATABASE.fullmatch(parts.path) if tcp else parts.path)
    except ValueError:
        fits = False
    if not fits:
        raise RequestError(
            f"broker {without_secret(url)!r}: {' or '.join(f'{s}://' for s in SCHEMES)} is expected, "
            "such as redis://localhost:6379/0; in a password, write @ as %40, / as %2F and : as %3A"
        )
    return url


def client_url(url: str) -> str:
    """The URL as redis-py takes it: Celery's `redis+socket://` is its `unix://`, `virtual_host` its `db`."""
    if url.startswith("redis+socket://"):
        return "unix://" + url.removeprefix("redis+socket://").replace("virtual_host=", "db=")
    return url


def without_secret(url: str) -> str:
    """The URL as it may be shown: what stands before its last @ is left out, but for the user's name."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    login, at, place = _SECRET_OPTION.sub(r"\1***", rest).rpartition("@")
    user, colon, _ = login.partition(":")
    return scheme + mark + (f"{user if colon else ''}:***@" if at else "") + place
