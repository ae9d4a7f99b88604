"""The page docs/cli.md, made from the commands: `python -m producer.cli.reference > docs/cli.md`."""

from __future__ import annotations

import inspect
import re
import textwrap
from math import inf
from typing import TYPE_CHECKING, Any

import click

from producer.cli.catalogue import COMMANDS, load_command
from producer.cli.exit_status import OF_COMMANDS, ExitStatus
from producer.cli.root import cli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_WIDTH = 120
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_HEAD = """\
# Commands

<!-- Made from the code by `make reference`. Change the help texts there, not this page. -->

Every option can also be set by an environment variable, named after the flag: `--lease-seconds` by
`UNROLLED_LEASE_SECONDS`. Of two flags such as `--report / --no-report`, the first gives the name: `UNROLLED_REPORT=0`
is `--no-report`. An option on the command line overrides the variable. `--help` prints a command's part of the page.
`UNROLLED_ENGINE=auto` is for `worker` alone: a job names its engine, or leaves it out.

Two variables belong to no option: `UNROLLED_CACHE` names the directory for [copies of models](operations.md#buckets),
and `UNROLLED_ISA` [the kernel](engine.md#which-kernel-runs) of the fused engine."""


def page() -> str:
    """The whole page, as Markdown."""
    rows = [(f"[`{name}`](#unrolled-{name})", lazy.help) for name, lazy in COMMANDS.items()]
    parts = [
        _HEAD,
        _table(("command", "what it does"), rows),
        "## Exit statuses",
        _statuses({status: status.meaning for status in ExitStatus}),
        "## unrolled",
        "Options before the command:",
        *_options(cli),
    ]
    for name in COMMANDS:
        for path, command in _commands(load_command(name), ("unrolled", name)):
            parts += [f"{'#' * len(path)} {' '.join(path)}", *_description(path, command), *_options(command)]
        if name in OF_COMMANDS:
            parts += ["Exit status:", _statuses(OF_COMMANDS[name])]
    return "\n\n".join(parts) + "\n"


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and those below it, each with its words."""
    yield path, command
    for name, child in sorted(command.commands.items()) if isinstance(command, click.Group) else ():
        yield from _commands(child, (*path, name))


def _description(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    first, *paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    yield _prose(first)
    yield _block([" ".join([*path, *command.collect_usage_pieces(click.Context(command))])])
    for paragraph in paragraphs:
        title, *lines = paragraph.removeprefix("\b\n").split("\n")
        if title == paragraph.partition("\n")[0]:
            yield _prose(paragraph)
        elif title.startswith("Example"):
            yield title
            yield _block(lines, "sh")
        else:
            yield _block([title, *lines])


def _prose(text: str) -> str:
    return textwrap.fill(_with_code(text), _WIDTH, break_long_words=False, break_on_hyphens=False)


def _with_code(text: str) -> str:
    """The text with its flags as code; what is code already stays."""
    pieces = text.split("`")
    pieces[::2] = [_FLAG.sub(r"`\g<0>`", piece) for piece in pieces[::2]]
    return "`".join(pieces)


def _block(lines: list[str], language: str = "text") -> str:
    return f"```{language}\n{textwrap.dedent(chr(10).join(lines))}\n```"


def _options(command: click.Command) -> list[str]:
    rows = []
    for option in command.params:
        if isinstance(option, click.Option):
            value = "" if option.is_flag or isinstance(option.type, click.Choice) else f" {option.metavar or 'TEXT'}"
            flags = ", ".join([*option.opts, *option.secondary_opts])
            rows.append((f"`{flags}{value}`", _default(option), _with_code(f"{option.help}{_allowed(option.type)}")))
    return [_table(("option", "default", "meaning"), rows)] if rows else []


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    if isinstance(option.show_default, str):
        return _with_code(option.show_default)
    default = option.to_info_dict()["default"]
    if option.is_flag and option.secondary_opts:
        return f"`{(option.opts if default else option.secondary_opts)[0]}`"
    if not option.show_default or default is None:
        return ""
    return f"`{','.join(default) if isinstance(default, tuple) else default}`"


def _allowed(kind: Any) -> str:
    """The allowed values, as a sentence after an option's help; empty where any sensible one is."""
    if isinstance(kind, click.Choice):
        return f" One of {', '.join(f'`{choice}`' for choice in kind.choices)}."
    if not isinstance(kind, click.IntRange | click.FloatRange) or kind.min is None:
        return ""
    least = f"above {kind.min:g}" if kind.min_open else f"at least {kind.min:g}"
    if kind.max is None or kind.max == inf:
        return "" if kind.min in (0, 1) and not kind.min_open else f" Allowed: {least}."
    return f" Allowed: {least}, {'below' if kind.max_open else 'at most'} {kind.max:,}."


def _statuses(meanings: Mapping[ExitStatus, str]) -> str:
    return _table(("status", "meaning"), [(f"{int(status)}", _with_code(text)) for status, text in meanings.items()])


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    click.echo(page(), nl=False)
