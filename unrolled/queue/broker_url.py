"""URLs of a Redis server: checked, in the spelling of Celery and of redis-py, and without their secrets."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from unrolled.errors import RequestError

#: URL schemes of a broker: TCP, TLS, Unix socket.
SCHEMES = ("redis", "rediss", "redis+socket")
_DATABASE = re.compile(r"/?[0-9]*")
#: Query options that Celery and redis-py interpret alike.
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
_OPTIONS = {"redis": (), "rediss": _TLS_OPTIONS, "redis+socket": ("virtual_host",)}
_CERT_REQS = ("required", "optional", "none")
#: Query options that name a file.
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Query options with a secret for redis-py.
_SECRET_OPTION = re.compile(r"((?:^|[?&])[^=&]*(?:password|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


def check_broker_url(url: str) -> str:
    """The URL, if it names a Redis server.

    Raises:
        RequestError: the URL names something else. The text doesn't repeat a password in the URL.
    """
    parts, wrong = _parts_of(url)
    if parts is None or wrong:
        raise RequestError(
            f"broker {without_secret(url)!r}: {wrong}; allowed: {' or '.join(f'{s}://' for s in SCHEMES)}, "
            "such as redis://localhost:6379/0; in a password, write @ as %40, / as %2F and : as %3A"
        )
    _check_options(url, parts.scheme, parts.query)
    return url


def celery_url(url: str) -> str:
    """The URL for Celery, with ssl_cert_reqs=required: without it kombu accepts any certificate."""
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs=" not in parts.query:
        return f"{url}{'&' if parts.query else '?'}ssl_cert_reqs=required"
    return url


def client_url(url: str) -> str:
    """The URL for redis-py: Celery's `redis+socket://` is its `unix://`, and `virtual_host` is its `db`."""
    if url.startswith("redis+socket://"):
        return "unix://" + url.removeprefix("redis+socket://").replace("virtual_host=", "db=")
    return url


def without_secret(url: str) -> str:
    """The URL as shown to people: everything before the last @ is left out, except the user's name."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    login, at, place = _SECRET_OPTION.sub(r"\1***", rest).rpartition("@")
    user, colon, _ = login.partition(":")
    return scheme + mark + (f"{user if colon else ''}:***@" if at else "") + place


def _parts_of(url: str) -> tuple[SplitResult | None, str]:
    """The parts of a URL, and what is wrong with them, without a word of the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None, "it isn't a URL"
    if parts.scheme not in SCHEMES:
        return parts, "it doesn't begin with the scheme of a Redis server"
    if parts.scheme == "redis+socket":
        return parts, "" if parts.path else "it lacks the path of the socket"
    try:
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if not has_port:
        return parts, "its port isn't a number from 1 to 65535"
    return parts, "" if _DATABASE.fullmatch(parts.path) else "it doesn't end with the number of a database"


def _check_options(url: str, scheme: str, query: str) -> None:
    allowed = _OPTIONS[scheme]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            ways = ", ".join(allowed) if allowed else "no option; for TLS, write rediss://"
            # The name may be a part of a password with an unescaped ? in it, so it is shown only if it can't be.
            shown = repr(name) if name.isidentifier() and "@" not in query else "(not shown)"
            raise RequestError(f"broker {without_secret(url)!r}: option {shown}; allowed with {scheme}://: {ways}")
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            raise RequestError(f"broker {without_secret(url)!r}: ssl_cert_reqs is {' or '.join(_CERT_REQS)}")
        if name in _FILES and (why := _why_unreadable(value)):
            # The rest of the query may be a part of a password with an unescaped ? in it.
            shown = f" {value}" if "@" not in query else ""
            raise RequestError(f"broker {without_secret(url)!r}: the file{shown} of {name} can't be read: {why}")


def _why_unreadable(path: str) -> str | None:
    """The reason why a file can't be read; None if it can."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        return error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return None
