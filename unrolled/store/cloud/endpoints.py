"""Addresses of servers in the environment, checked before obstore gets them: it panics at some, and then hides why."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from unrolled.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from unrolled.store.bucket_url import Scheme

#: Variables from which obstore, or `options`, takes the address of a cloud's server.
_VARIABLES: dict[Scheme, tuple[str, ...]] = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("STORAGE_EMULATOR_HOST", "GOOGLE_BASE_URL"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
#: Variables that name a proxy for requests without TLS.
_PROXIES = "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"
#: The one whose value may be without a scheme, as for Google's own libraries.
_BARE = "STORAGE_EMULATOR_HOST"


def check_endpoints(scheme: Scheme, environment: MutableMapping[str, str]) -> None:
    """See that the variables with a server's address have one, and remove those that are empty, which count as not set.

    Args:
        scheme: of the cloud.
        environment: of this process: obstore reads it too, and takes an empty address for an address.

    Raises:
        RequestError: an address can't be used. The text has the variable's name, and not its value, which may have a
            password.
    """
    for name in _VARIABLES[scheme]:
        value = environment.get(name)
        if value is not None and not value.strip():
            del environment[name]
        elif value:
            check_endpoint(name, f"http://{value}" if name == _BARE and "://" not in value else value)


def check_endpoint(name: str, value: str) -> None:
    """See that a server's address is one.

    Args:
        name: where it is from, such as a variable.
        value: the address, `http://HOST:PORT` or `https://HOST:PORT`, perhaps with a path.

    Raises:
        RequestError: it isn't; the text has the name, and not the address.
    """
    try:
        parts = urlsplit(value)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or re.search(r"[\s?#\\]", value):
        raise RequestError(
            f"{name} is no address of a server; write http://HOST:PORT or https://HOST:PORT, or unset it"
        )


def is_private(address: str, environment: Mapping[str, str]) -> bool:
    """Whether no other machine can change what is sent to a server: TLS protects it, or the server is on this machine.

    Args:
        address: of the server; "" for the cloud's own servers, which have TLS.
        environment: may name a proxy, through which a request to this machine would be sent, too.
    """
    if not address or address.lower().startswith("https://"):
        return True
    try:
        host = urlsplit(address).hostname or ""
        is_here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return is_here and not any(map(environment.get, _PROXIES))
