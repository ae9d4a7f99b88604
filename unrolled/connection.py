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
#: What is no use to try again. By name, for this package doesn't import redis; scripts and kombu hide the types.
_REFUSAL_TYPES = {"AuthenticationError", "AuthorizationError", "NoPermissionError"}
_REFUSALS = (
    *("WRONGPASS", "NOAUTH", "NOPERM", "ACL failure", "DB index is out of range"),
    *("CERTIFICATE_VERIFY", "WRONG_VERSION_NUMBER"),
)
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
    """Whether trying again wouldn't help: the broker turned this user away, or is not whom its certificate must name.

    Args:
        error: of redis-py or kombu; what caused it is looked at too.
    """
    cause: BaseException | None = error
    while cause is not None:
        names = {kind.__name__ for kind in type(cause).__mro__}
        if names & _REFUSAL_TYPES or any(text in str(cause) for text in _REFUSALS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def explain(url: str, error: BaseException) -> str:
    """An error of a broker that was never reached, with what to look at where its text alone doesn't tell.

    Args:
        url: of the broker.
        error: of redis-py or kombu.
    """
    text = str(error).rstrip(".")
    if "CERTIFICATE_VERIFY" in text:
        return f"{text}; see to ssl_ca_certs in --broker, or to the server's certificate"
    if any(sign in text for sign in _UNHEARD):
        other = "no TLS, write redis://" if url.startswith("rediss://") else "TLS, write rediss://"
        return f"{text}; if that port speaks {other}"
    return text


def _check_options(url: str, scheme: str, query: str) -> None:
    allowed = _OPTIONS[scheme]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            ways = ", ".join(allowed) if allowed else "no option; for TLS, write rediss://"
            raise RequestError(f"broker {without_secret(url)!r}: option {name!r}; allowed with {scheme}://: {ways}")
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            raise RequestError(f"broker {without_secret(url)!r}: ssl_cert_reqs is {' or '.join(_CERT_REQS)}")
