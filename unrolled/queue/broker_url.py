"""Redis URLs, in the two spellings that Celery and redis-py know, and without their secrets."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

from unrolled.errors import RequestError

#: URL schemes of a broker: TCP, TLS, Unix socket.
SCHEMES = ("redis", "rediss", "redis+socket")
_DATABASE = re.compile(r"/?[0-9]*")
#: What may follow the ? of a URL, so that Celery and redis-py make the same of it.
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
_OPTIONS = {"redis": (), "rediss": _TLS_OPTIONS, "redis+socket": ("virtual_host",)}
_CERT_REQS = ("required", "optional", "none")
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
    _check_options(url, parts.scheme, parts.query)
    return url


def celery_url(url: str) -> str:
    """The URL as Celery takes it: kombu would trust any certificate where nothing is said of it, redis-py none."""
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs=" not in parts.query:
        return f"{url}{'&' if parts.query else '?'}ssl_cert_reqs=required"
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


def _check_options(url: str, scheme: str, query: str) -> None:
    allowed = _OPTIONS[scheme]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            ways = ", ".join(allowed) if allowed else "no option; for TLS, write rediss://"
            # A password with an unescaped ? in it lands here: only what is no part of one is shown.
            shown = repr(name) if name.isidentifier() and "@" not in query else "(not shown)"
            raise RequestError(f"broker {without_secret(url)!r}: option {shown}; allowed with {scheme}://: {ways}")
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            raise RequestError(f"broker {without_secret(url)!r}: ssl_cert_reqs is {' or '.join(_CERT_REQS)}")
