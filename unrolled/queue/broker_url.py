"""URLs of a Redis server: checked, in the spelling of Celery and of redis-py, and without their secrets."""

# Over 150 lines: what two libraries read in a URL, and what is taken of it, belong together.

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, unquote_plus, urlsplit

from unrolled.errors import RequestError

#: URL schemes of a broker: TCP, TLS, Unix socket.
SCHEMES = ("redis", "rediss", "redis+socket")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DATABASE = re.compile(r"/?[0-9]*")
#: Query options that Celery and redis-py interpret alike.
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
_OPTIONS = {"redis": (), "rediss": _TLS_OPTIONS, "redis+socket": ("virtual_host",)}
#: Query options with few values; of others, Celery and redis-py think differently.
_VALUES = {"ssl_cert_reqs": ("required", "optional", "none"), "ssl_check_hostname": ("true", "false")}
#: What a part of a URL must not have unescaped, since Celery, redis-py and `urlsplit` then don't all read the same
#: host, password or path: kombu takes `;` for the end of one URL of several, and `urlsplit` drops tabs and line ends.
_AMBIGUOUS = "#;"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOW = (
    "in a password or a path, write @ as %40, / as %2F, : as %3A, # as %23, ? as %3F, ; as %3B, [ as %5B and ] as %5D"
)
#: What a broker's URL begins with.
_BEGINNINGS = f"{' or '.join(f'{scheme}://' for scheme in SCHEMES)}, such as redis://localhost:6379/0"
#: Query options that name a file.
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Query options with a secret for redis-py.
_SECRET_OPTION = re.compile(r"((?:^|[?&])[^=&]*(?:password|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


def check_broker_url(url: str) -> str:
    """The URL, if it names a Redis server, with its scheme in lower case and without white space around it.

    Raises:
        RequestError: the URL names something else, or its parts could be read in two ways. The text doesn't repeat a
            password in the URL.
    """
    url = _tidy(url)
    if not _SCHEME.match(url) and "@" in url:
        raise RequestError(f"broker URL (not shown): it doesn't begin with a scheme; allowed: {_BEGINNINGS}")
    if why := _why_ambiguous(url):
        # Where a password ends isn't certain, so nothing of the URL is shown.
        raise RequestError(f"broker URL (not shown): it has {why}, so it isn't certain what is the password; {_HOW}")
    parts, wrong = _parts_of(url)
    if parts is None or wrong:
        # Without an @, what looks like a port may be a password whose end was cut off.
        known = without_secret(url)
        shown = known if "@" in url else re.sub(r"(?<=://)([^:]*:).*", r"\1***", known)
        how = f"; {_HOW}" if "@" in url else ""
        if shown != known:
            how = "; what follows its : isn't shown, as it may be part of a password"
        raise RequestError(f"broker {shown!r}: {wrong}; allowed: {_BEGINNINGS}{how}")
    _check_options(url, parts.scheme, parts.query)
    return url


def celery_url(url: str) -> str:
    """The URL for Celery, with ssl_cert_reqs=required: without it kombu accepts any certificate."""
    url = _tidy(url)
    parts = urlsplit(url)
    if parts.scheme == "rediss" and "ssl_cert_reqs" not in {name for name, _ in _options_in(parts.query)}:
        return f"{url}{'&' if parts.query else '?'}ssl_cert_reqs=required"
    return url


def client_url(url: str) -> str:
    """The URL for redis-py: Celery's `redis+socket://` is its `unix://`, and `virtual_host` is its `db`."""
    url = _tidy(url)
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


def _tidy(url: str) -> str:
    """The scheme in lower case, as redis-py wants it, and no line end of the file that the URL is from."""
    scheme, mark, rest = url.strip().partition("://")
    return scheme.lower() + mark + rest if mark else scheme


def _why_ambiguous(url: str) -> str:
    """What in a URL others may read differently; empty if there is nothing."""
    if sign := next((sign for sign in _AMBIGUOUS if sign in url), ""):
        return f"a {sign} that isn't escaped"
    if _CONTROL.search(url):
        return "a tab, a line end or another control character"
    authority = re.split("[/?]", url.partition("://")[2], maxsplit=1)[0]
    if url.count("@") > 1:
        return "more than one @ that isn't escaped"
    return "an @ that isn't escaped after its host" if url.count("@") > authority.count("@") else ""


def _options_in(query: str) -> list[tuple[str, str]]:
    """The options of a query, with their names as they are written."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(name, unquote_plus(value)) for name, _, value in pairs]


def _parts_of(url: str) -> tuple[SplitResult | None, str]:
    """The parts of a URL, and what is wrong with them, without a word of the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None, "it has a [ or ] that belongs to no IPv6 address" if {*"[]"} & {*url} else "it isn't a URL"
    if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
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
    seen: set[str] = set()
    for name, value in _options_in(query):
        if name not in allowed:
            ways = ", ".join(allowed) if allowed else "no option; for TLS, write rediss://"
            # The name may be a part of a password with an unescaped & in it, so it is shown only if it can't be.
            shown = repr(name) if name.isidentifier() and "ssl_password" not in seen else "(not shown)"
            whole = without_secret(url if "ssl_password" not in seen else url.partition("?")[0])
            raise RequestError(f"broker {whole!r}: option {shown}; allowed with {scheme}://: {ways}")
        if name in seen:
            # redis-py takes the first, and Celery the last.
            raise RequestError(f"broker {without_secret(url)!r}: {name} is given twice; give it once")
        seen.add(name)
        if name in _VALUES and value not in _VALUES[name]:
            raise RequestError(f"broker {without_secret(url)!r}: {name} is {' or '.join(_VALUES[name])}")
        if name == "virtual_host" and not re.fullmatch("[0-9]*", value):
            raise RequestError(f"broker {without_secret(url)!r}: virtual_host is the number of a database")
        if name in _FILES and (why := _why_unreadable(value)):
            raise RequestError(f"broker {without_secret(url)!r}: the file {value} of {name} can't be read: {why}")


def _why_unreadable(path: str) -> str | None:
    """The reason why a file can't be read; None if it can."""
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        return error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return None
