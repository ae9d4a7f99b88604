"""Slips that click takes without a word: an option that is given twice, or whose value is the next option."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def refuse_slips(parent: click.Context, name: str, command: click.Command, words: Sequence[str]) -> None:
    """Refuse a command line that gives an option with one value several times, or without its value.

    Args:
        parent: the context of the group that the command is in.
        name: of the command.
        command: the command, or a group with the command.
        words: after its name.

    Raises:
        click.UsageError: it does, and doesn't ask for help. Any other fault is left to the command itself.
    """
    settings = {**command.context_settings, "resilient_parsing": True}
    context = command.context_class(command, info_name=name, parent=parent, **settings)
    values, rest, given = command.make_parser(context).parse_args(list(words))
    if any(each.is_eager for each in given):
        return
    for option, times in Counter(given).items():
        if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.is_flag or option.count):
            raise click.UsageError(f"{max(option.opts, key=len)} is given {times} times; give it once", context)
    _refuse_swallowed(context, values, words)
    if isinstance(command, click.Group) and rest and (found := command.get_command(context, rest[0])):
        refuse_slips(context, rest[0], found, rest[1:])


def _refuse_swallowed(context: click.Context, values: Mapping[str, object], words: Sequence[str]) -> None:
    """Refuse a value that is an option of the same command, unless it is given as --option=value."""
    options = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    names = {name for one in options for name in (*one.opts, *one.secondary_opts)}
    for option in options:
        given = values.get(option.name or "")
        for value in given if isinstance(given, list) else [given]:
            if not isinstance(value, str) or value.partition("=")[0] not in names:
                continue
            called = max(option.opts, key=len)
            if not any(f"{name}={value}" in words for name in option.opts):
                raise click.UsageError(
                    f"{called} has no value: the next word, {value}, is an option; if it is meant as the value, write "
                    f"{called}={value}",
                    context,
                )
