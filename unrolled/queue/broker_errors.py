"""Errors of a broker: which are final, and what to do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What Redis answers at once, and always. By name, for this package doesn't import redis; scripts and kombu hide the
#: types, and redis-py the codes.
_DENIAL_TYPES = {"AuthenticationError", "AuthorizationError", "NoPermissionError"}
_DENIALS = ("WRONGPASS", "NOAUTH", "NOPERM", "ACL failure", "DB index is out of range")
#: A certificate that isn't trusted, and a server that speaks no TLS.
_NO_TLS = ("CERTIFICATE_VERIFY", "WRONG_VERSION_NUMBER")
#: What a connection comes to where one side waits for TLS and the other doesn't speak it.
_UNHEARD = ("closed by server", "reset by peer", "Timeout connecting", "WRONG_VERSION_NUMBER", "RECORD_LAYER")


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
