"""click's flags of a dataclass of options; the only module of this package that needs click, for the command lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from unrolled.errors import OptionError, RequestError
from unrolled.settings.declaration import Option, declared, flag_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What click's decorators are.
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Text(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no type argument
    """A value that the option itself reads."""

    def __init__(self, option: Option) -> None:
        self.name = (option.metavar or "text").lower()
        self._option = option

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """The value of a text."""
        if not isinstance(value, str) or self._option.read is None:
            return value
        try:
            return self._option.read(value)
        except (ValueError, RequestError) as error:
            self.fail(str(error), param, ctx)


def flags(options: type, names: Iterable[str] | None = None, *, required: bool | None = None) -> Decorator:
    """Add a flag for each field of a dataclass, or for some of them; a command gets the values under their names.

    Args:
        options: declares them with `unrolled.settings.declaration.option`.
        names: which, in the order of the help; None for all.
        required: whether a value must be given; None: where the field has no default.
    """
    wanted = list(declared(options) if names is None else names)
    made = [_flag(options, name, required) for name in wanted]
    return lambda command: reduce(lambda function, option: option(function), reversed(made), command)


def check_companion(name: str, companion: str, *, given: bool) -> None:
    """Refuse an option without the one that it belongs to, for it would change nothing.

    Only an option on the command line is refused: a variable of the environment may be meant for other commands.

    Args:
        name: of the command's parameter.
        companion: what it belongs to, as people give it.
        given: whether that is given.

    Raises:
        OptionError: it isn't, and the option is.
    """
    context = click.get_current_context(silent=True)
    if context and not given and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        raise OptionError(f"{flag_of(name)} changes nothing without {companion}; give that, too, or leave it out")


def _flag(options: type, name: str, required: bool | None) -> Decorator:
    field, option = declared(options)[name]
    if required or (required is None and field.default is MISSING):
        value: dict[str, Any] = {"required": True}
    elif field.default is None:
        value = {"show_default": option.unset or False}
    else:
        # The text, so that the help shows 1G and not 1073741824.
        value = {"show_default": True, "default": option.write(field.default) if option.read else field.default}
    if kind_of(field) is bool:
        return click.option(flag_of(name), is_flag=True, default=field.default, help=option.help)
    kind = _type(kind_of(field), option)
    return click.option(flag_of(name), metavar=option.metavar, type=kind, help=option.help, **value)


def _type(kind: type, option: Option) -> Any:
    if option.choices:
        return click.Choice(option.choices)
    if option.read is not None:
        return _Text(option)
    if kind is Path:
        return click.Path(readable=False, path_type=Path)  # who reads it says so better
    least = option.above if option.least is None else option.least
    most = option.below if option.most is None else option.most
    if kind not in (int, float) or (least is None and most is None):
        return kind
    bounds: dict[str, Any] = {"min": least, "max": most}
    if kind is int:
        return click.IntRange(**bounds)
    return click.FloatRange(**bounds, min_open=option.above is not None, max_open=option.below is not None)
