"""Options and arguments that several subcommands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from producer.local.broker_record import find_broker
from unrolled.errors import JobError, RequestError
from unrolled.queue.broker_url import check_broker_url
from unrolled.queue.messages import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


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
