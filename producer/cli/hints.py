"""What somebody meant who named an option that doesn't exist, where the names alone don't show it."""

from __future__ import annotations

import click

from producer.cli.variables import KNOWN
from unrolled.settings.declaration import variable_of


def with_hint(error: click.NoSuchOption) -> click.NoSuchOption:
    """The error, with the option that was probably meant: one that is near, begins so, or belongs to a command."""
    context = error.ctx
    if context is None:
        return error
    name, command = error.option_name, context.command
    root = context.find_root()
    if context is not root and any(name in option.opts for option in root.command.params):
        words = context.command_path.partition(" ")[2]
        hint = f"{error.message} It comes before the command's name: {root.info_name} {name} {words} …"
        return click.NoSuchOption(name, hint, ctx=context)
    if isinstance(command, click.Group) and variable_of(name.removeprefix("--").replace("-", "_")) in KNOWN:
        hint = f"{error.message} A command's options come after its name: {context.command_path} COMMAND {name} …"
        return click.NoSuchOption(name, hint, ctx=context)
    if not name.startswith("--"):
        options = (option for each in command.params for option in (*each.opts, *each.secondary_opts))
        near = [option for option in options if option.startswith(f"-{name}")]
        if near:
            return click.NoSuchOption(name, f"{error.message} Did you mean {' or '.join(near)}?", ctx=context)
        if any(isinstance(each, click.Argument) for each in command.params) and not isinstance(command, click.Group):
            file = f"{error.message} A file of such a name is written as ./{name}…"
            return click.NoSuchOption(name, file, ctx=context)
    return error
