"""Redis URLs, in the two spellings that Celery and redis-py know, and without their secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: URL schemes of a broker: TCP, TLS, Unix socket.
SCHEMES = ("redis", "rediss", "redis+socket")
_DATABASE = re.compile(r"/?[0-9]*")
#: What may follow the ? of a URL, so that Celery and redis-py make the same of it.
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
_OPTIONS = {"redis": (), "rediss": _TLS_OPTIONS, "redis+socket": ("virtual_host",)}
_CERT_REQS = ("required", "optional", "none")
#: What Redis answers at once, and always. By name, for this package doesn't import redis; scripts and kombu hide the
#: types, and redis-py the codes.
_DENIAL_TYPES = {"AuthenticationError", "AuthorizationError", "NoPermissionError"}
_DENIALS = ("WRONGPASS", "NOAUTH", "NOPERM", "ACL failure", "DB index is out of range")
#: A certificate that isn't trusted, and a server that speaks no TLS.
_NO_TLS = ("CERTIFICATE_VERIFY", "WRONG_VERSION_NUMBER")
#: What a connection comes to where one side waits for TLS and the other doesn't speak it.
_UNHEARD = ("closed by server", "reset by peer", "Timeout connecting", "WRONG_VERSION_NUMBER", "RECORD_LAYER")
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


def refuses(error: BaseException) -> bool:
    """Whether trying again is no use: the broker turns this user away, or its certificate isn't trusted.

    Args:
        error: of redis-py or kombu; what caused it is looked at too.
    """
    return any(_denies(cause) or any(text in str(cause) for text in _NO_TLS) for cause in _causes(error))


def advice(url: str, error: BaseException) -> str:
    """What to look at where a broker can't be reached over TLS, or may be expected to speak it; else empty.

    Args:
        url: of the broker.
        error: of redis-py or kombu, while the broker hasn't answered yet.
    """
    text = str(error)
    if "CERTIFICATE_VERIFY" in text:
        return "see to ssl_ca_certs in --broker, or to the server's certificate"
    if any(sign in text for sign in _UNHEARD):
        other = "no TLS, write redis://" if url.startswith("rediss://") else "TLS, write rediss://"
        return f"if that port speaks {other}"
    return ""


def _denies(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _DENIAL_TYPES) or any(text in str(error) for text in _DENIALS)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


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
