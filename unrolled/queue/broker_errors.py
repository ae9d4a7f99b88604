"""Errors from a broker: whether they are final, and what to do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Errors that mean "access denied", so that trying again is useless. Matched by the name of the class, and by the text,
#: because Lua scripts and kombu wrap the class, and redis-py drops the code.
_LOGIN_TYPES, _LOGINS = {"AuthenticationError", "AuthorizationError"}, ("WRONGPASS", "NOAUTH")
_FORBIDDEN_TYPES, _FORBIDDEN = {"NoPermissionError"}, ("NOPERM", "ACL failure", "DB index is out of range")
#: The certificate isn't trusted, or the server speaks no TLS.
_NO_TLS = ("CERTIFICATE_VERIFY", "WRONG_VERSION_NUMBER")
#: Answers that few people understand: a part of each, what it means, and what to do.
_IN_WORDS = (
    (
        ("HELLO must be called", "NOAUTH", "Authentication required"),
        "it wants a password, and the URL has none",
        "set UNROLLED_BROKER=redis://USER:PASSWORD@HOST:6379/0, or redis://:PASSWORD@HOST:6379/0 without a user's name",
    ),
    (
        ("without any password configured",),
        "it wants no password, and the URL has one",
        "leave the password out of the URL, or set one on the server",
    ),
    (
        ("DB index is out of range",),
        "it has no database with the number in the URL",
        "end the URL with /0, or with another number that the server has",
    ),
    (
        ("permissions to access a key", "permissions to access one of the keys"),
        "this user may not use the keys of this namespace",
        "check --namespace, and the user's keys, which docs/redis-acl.conf gives for each namespace",
    ),
    (
        ("permissions to access a channel", "permissions to access one of the channels"),
        "this user may not use the channels of this namespace and database",
        (
            "check --namespace, the number at the end of the URL, and the user's channels; docs/redis-acl.conf gives "
            "those of database 0"
        ),
    ),
)
_LOGIN = "check the user and password in --broker, and that user's permissions"
#: How a connection ends if one side expects TLS and the other doesn't speak it.
_UNHEARD = ("closed by server", "reset by peer", "Timeout connecting", "WRONG_VERSION_NUMBER", "RECORD_LAYER")


#: Answers of a server that is there and does nothing now: a part of each, what it means, and what to do.
_DECLINES = (
    ("NOREPLICAS", "takes no writes", "connect its replicas, or lower its min-replicas-to-write"),
    ("MISCONF", "takes no writes", "make its disk writable, with room; its log says more"),
    ("read only replica", "takes no writes", "name the primary server in --broker"),
    ("READONLY", "takes no writes", "name the primary server in --broker"),
    ("max number of clients", "takes no more connections", "raise its maxclients, or close connections of others"),
)


def declines(error: BaseException) -> tuple[str, str] | None:
    """What a server that is there doesn't do now, with its own words, and what to do; None for other errors.

    Args:
        error: an error from redis-py or kombu. The errors that caused it count too.
    """
    for cause in _causes(error):
        for sign, meaning, remedy in _DECLINES:
            if sign in str(cause):
                return f"{meaning} now ({str(cause).rstrip('.')})", remedy
    return None


def refuses(error: BaseException) -> bool:
    """Whether trying again is useless, because the broker rejects this user or its certificate isn't trusted.

    Args:
        error: an error from redis-py or kombu. The errors that caused it count too.
    """
    types, texts = _LOGIN_TYPES | _FORBIDDEN_TYPES, (*_LOGINS, *_FORBIDDEN, *_NO_TLS)
    return any(_is(cause, types, texts) for cause in _causes(error))


def is_forbidden(error: BaseException) -> bool:
    """Whether a broker that lets this user in doesn't let it do one thing.

    Args:
        error: of which `refuses` is true, or one that it caused.
    """
    return any(_is(cause, _FORBIDDEN_TYPES, _FORBIDDEN) for cause in _causes(error))


def refusal(url: str, error: BaseException) -> tuple[str, str]:
    """The meaning of a broker's refusal, and the remedy.

    Args:
        url: of the broker.
        error: of redis-py or kombu, of which `refuses` is true.
    """
    text = " ".join(map(str, _causes(error)))
    for signs, meaning, remedy in _IN_WORDS:
        if any(sign in text for sign in signs):
            return meaning, remedy
    return str(error).rstrip("."), advice(url, error) or _LOGIN


def advice(url: str, error: BaseException) -> str:
    """Advice if TLS on only one side may cause the error, which a socket in a directory has on none; otherwise empty.

    Args:
        url: of the broker.
        error: of redis-py or kombu, raised before the broker has answered.
    """
    text = str(error)
    if "CERTIFICATE_VERIFY" in text:
        return "check ssl_ca_certs in --broker, and the server's certificate"
    if any(sign in text for sign in _UNHEARD) and "+socket://" not in url:
        other = "no TLS, write redis://" if url.startswith("rediss://") else "TLS, write rediss://"
        return f"if that port speaks {other}; if something else than Redis listens there, correct the URL"
    return ""


def _is(error: BaseException, types: set[str], texts: Iterable[str]) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & types) or any(text in str(error) for text in texts)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
