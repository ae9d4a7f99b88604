"""Options and arguments that several subcommands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from unrolled.connection import check_broker_url
from unrolled.errors import JobError, RequestError
from unrolled.messages import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

#: Written by `unrolled run` while its own broker lives: the broker's URL, one line.
BROKER_FILE = "_broker"
_LONGEST_URL = 4096
_SOCKET = "redis+socket://"


def _check_broker(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return value and check_broker_url(value)
    except RequestError as error:
        raise click.BadParameter(str(error)) from error


def _check_namespace(_: click.Context, __: click.Parameter, value: str) -> str:
    if not NAMESPACE.fullmatch(value):
        raise click.BadParameter(f"{value!r}: up to 32 lower-case letters, digits, - and _ are allowed")
    return value


broker_option: Decorator = click.option(
    "--broker",
    metavar="URL",
    callback=_check_broker,
    help="Redis: redis://, rediss:// (TLS) or redis+socket://. Others can see a command line: a URL "
    "with a password belongs into the variable. While `unrolled run` is at work on OUT, "
    "its broker is found by itself.",
)
namespace_option: Decorator = click.option(
    "--namespace",
    metavar="NAME",
    default="unrolled",
    show_default=True,
    callback=_check_namespace,
    help="Prefix of every key in Redis; the same for producer and workers.",
)
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
out_argument: Decorator = click.argument("out", type=click.Path(path_type=Path))


def find_broker(given: str | None, out: Path) -> str | None:
    """The broker that was named, else the one that `unrolled run` recorded; None where there is neither.

    Raises:
        JobError: what is recorded is no URL.
    """
    if given:
        return given
    path = out / BROKER_FILE
    try:
        with path.open("rb") as file:
            recorded = file.read(_LONGEST_URL).decode(errors="replace").strip()
    except OSError:
        return None
    try:
        url = check_broker_url(recorded)
    except (RequestError, ValueError):
        raise JobError(f"{path}: holds no broker's URL; remove it, or name the broker with --broker") from None
    # A run that was killed leaves its record, but its server takes the socket away.
    gone = url.startswith(_SOCKET) and not Path(unquote(url.removeprefix(_SOCKET))).exists()
    return None if gone else url


def need_broker(given: str | None, out: Path) -> str:
    """As `find_broker`, for commands that can't do without.

    Raises:
        JobError: there is none; the text says both ways to name one.
    """
    found = find_broker(given, out)
    if found is None:
        raise JobError(
            f"no broker: name it with --broker redis://HOST:6379/0 or in the variable UNROLLED_BROKER "
            f"(no `unrolled run` is at work on {out})"
        )
    return found
