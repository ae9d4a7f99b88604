"""What somebody meant who named an option that doesn't exist, where the names alone don't show it."""

from __future__ import annotations

import contextlib
from difflib import get_close_matches

import click

from producer.cli.catalogue import COMMANDS, CommandFailedError, load_command
from producer.cli.variables import KNOWN
from unrolled.settings.declaration import variable_of

#: How near an option of the command must be that is named beside a surer hint, from 0 to 1.
_NEAR = 0.85


def with_hint(error: click.NoSuchOption) -> click.NoSuchOption:
    """The error, with the option that was probably meant: one that is near, begins so, or belongs to a command."""
    hint = error.ctx and _hint(error.option_name, error.ctx)
    if not hint:
        return error
    name, options = error.option_name, error.possibilities or ()
    near = [option for option in options if option.startswith(name)] or get_close_matches(name, options, cutoff=_NEAR)
    return click.NoSuchOption(name, f"{error.message} {hint}", near, error.ctx)


def _hint(name: str, context: click.Context) -> str:
    root, command = context.find_root(), context.command
    if context is not root and any(name in option.opts for option in root.command.params):
        words = context.command_path.partition(" ")[2]
        return f"It comes before the command's name: {root.info_name} {name} {words} …"
    is_group = isinstance(command, click.Group)
    if is_group and variable_of(name.removeprefix("--").replace("-", "_")) in KNOWN:
        return f"A command's options come after its name: {context.command_path} COMMAND {name} …"
    if name.startswith("--"):
        return "" if is_group else _of_other_commands(name)
    options = (option for each in command.params for option in (*each.opts, *each.secondary_opts))
    near = [option for option in options if option.startswith(f"-{name}")]
    if near:
        return f"Did you mean {' or '.join(near)}?"
    has_files = not is_group and any(isinstance(each, click.Argument) for each in command.params)
    return f"A file of such a name is written as ./{name}…" if has_files else ""


def _of_other_commands(option: str) -> str:
    """Which of the commands that are installed have an option; "" for none."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        with contextlib.suppress(CommandFailedError):  # a package isn't installed
            command = load_command(name)
            members = command.commands if isinstance(command, click.Group) else {}
            found |= {f"{name} {member}": each for member, each in members.items()} or {name: command}
    names = [
        f"`unrolled {name}`"
        for name, command in found.items()
        if any(option in (*each.opts, *each.secondary_opts) for each in command.params)
    ]
    first, more = names[:2], names[2:]
    return f"It is an option of {' and '.join(first)}{', and of others' if more else ''}." if names else ""
