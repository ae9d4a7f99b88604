"""Options that are given twice: of two values, click would take the last one without a word."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def refuse_repeated(parent: click.Context, name: str, command: click.Command, words: Sequence[str]) -> None:
    """Refuse a command line that gives an option with one value several times.

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
    _, rest, given = command.make_parser(context).parse_args(list(words))
    if any(each.is_eager for each in given):
        return
    for option, times in Counter(given).items():
        if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.is_flag or option.count):
            raise click.UsageError(f"{max(option.opts, key=len)} is given {times} times; give it once", context)
    if isinstance(command, click.Group) and rest and (found := command.get_command(context, rest[0])):
        refuse_repeated(context, rest[0], found, rest[1:])
