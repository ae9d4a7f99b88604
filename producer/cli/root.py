"""The command `unrolled`: it runs a subcommand, and it alone turns errors into a line and an exit status."""

# Over 150 lines: one group, and each way in which a command can end.

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from difflib import get_close_matches
from typing import Any, NoReturn

try:
    import click
    from click.shell_completion import CompletionItem
except ModuleNotFoundError:
    from unrolled.errors import install_command

    raise SystemExit(f"unrolled: this is the reader alone; for the commands: {install_command('producer')}") from None

from producer.cli.catalogue import (
    COMMANDS,
    ENDED_IN_ORDER,
    GROUPS,
    RESUMED,
    CommandFailedError,
    completed,
    load_command,
)
from producer.cli.exit_status import ExitStatus, exit_help
from producer.cli.hints import with_hint
from producer.cli.slips import refuse_slips
from producer.cli.variables import origin, warn_of_unknown
from producer.terminal.lines import tell
from producer.terminal.signals import Terminated, interruptible, terminable
from unrolled.errors import OptionError, UnrolledError, printable
from unrolled.telemetry.json_log import about


class WrongUsageError(CommandFailedError):
    """Options that a command can't work with, as one line and exit status 2."""

    exit_code = ExitStatus.USAGE


def _members(ctx: click.Context, name: str) -> list[str]:
    """The commands of that name in a group, as of `unrolled import`: `model import`."""
    found = []
    for group in GROUPS:
        with contextlib.suppress(CommandFailedError):  # a package isn't installed
            command = load_command(group)
            if isinstance(command, click.Group) and command.get_command(ctx, name):
                found.append(f"{group} {name}")
    return found


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which people meet them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a subcommand; a name that doesn't exist is wrong usage, with the names that are near it."""
        if cmd_name in COMMANDS:
            return load_command(cmd_name)
        if ctx.resilient_parsing or cmd_name.startswith("-"):
            return None
        near = " or ".join(f"'{name}'" for name in _members(ctx, cmd_name) or get_close_matches(cmd_name, COMMANDS))
        if cmd_name == "help":
            near = "'--help', or for a command 'unrolled COMMAND --help'"
        raise click.UsageError(f"No such command '{cmd_name}'.{f' Did you mean {near}?' if near else ''}", ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; from here on, SIGTERM and SIGHUP end it in order where that matters."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and not ctx.resilient_parsing:
            warn_of_unknown(rest, os.environ)
            refuse_slips(ctx, name, command, rest)
        if name in ENDED_IN_ORDER and not ctx.resilient_parsing:
            ctx.with_resource(terminable())
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without loading one."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a subcommand's name without loading one."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = [(name, lazy) for name, lazy in COMMANDS.items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=lazy.help) for name, lazy in found]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options before the subcommand's name; one of a subcommand's is put right."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise with_hint(error) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; output that can't be written is an error of one line, too."""
        with about():  # what a command notes of its job is part of the error that ends it, too
            try:
                return super().main(*args, **kwargs)
            except OSError as error:
                if not _is_of_output(error):
                    raise
                reason = error.strerror or error
                CommandFailedError(f"standard output can't be written ({reason}), so it is incomplete").show()
                # At its end, Python flushes what is left, and would fail again.
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(ExitStatus.FAILED)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; an error becomes its text and an exit status, and a traceback only with --debug."""
        rest = list(ctx.args)  # click takes them away
        try:
            with interruptible():
                return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise with_hint(error) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as reason:
            name = ctx.invoked_subcommand or ""
            resumed = not RESUMED.isdisjoint((name, " ".join([name, *rest[:1]])))
            tell(
                f"Interrupted{'; what is in the output is kept. Run the same command again and it resumes' * resumed}."
            )
            ctx.exit(128 + reason.number if isinstance(reason, Terminated) else ExitStatus.INTERRUPTED)
        except Exception as error:
            if _is_of_output(error):
                raise
            if ctx.params["debug"]:
                traceback.print_exc()
            if isinstance(error, OptionError):
                raise WrongUsageError(f"{error}{origin(str(error), rest, os.environ)}") from error
            if isinstance(error, UnrolledError):
                raise CommandFailedError(str(error)) from error
            if why := _why_of_place(error):
                raise CommandFailedError(why) from error
            more = "" if ctx.params["debug"] else "; `unrolled --debug …` shows where"
            from unrolled.settings.machine_memory import memory_note  # noqa: PLC0415 - most commands don't fail

            said = f"{type(error).__name__}: {error}"
            raise CommandFailedError(f"{said}{memory_note(said)}{more}") from error


def _why_of_place(error: BaseException) -> str:
    """What is wrong with a place that this user may not enter, or isn't there; "" for other errors."""
    if isinstance(error, PermissionError) and error.filename:
        place = printable(os.fsdecode(error.filename))
        return f"{place}: {error.strerror}; let this user in there, or name another place"
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()  # noqa: PTH109 - as the functions of paths ask
        except OSError:
            return "the working directory was removed; go to another one (cd), and run the command again"
    return ""


def _is_of_output(error: BaseException) -> bool:
    """Whether an error is that of a line for standard output or standard error, such as on a full disk."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return isinstance(error, OSError) and frame is not None and frame.tb_frame.f_code is click.echo.__code__


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from unrolled.format.file_info import release  # noqa: PLC0415 - reading a package's metadata takes 0.05 s

        click.echo(f"unrolled {release()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=exit_help(),
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
def cli(*, debug: bool) -> None:
    """The hidden state of every token of your text, each row exactly once, in Parquet.

    \b
    On one machine:
      unrolled run book.txt --model MODEL --out OUT
    On many machines, with the broker in the variable UNROLLED_BROKER or in --broker:
      unrolled worker --model MODEL
      unrolled enqueue corpus/*.jsonl.gz --model MODEL --out OUT
      unrolled wait OUT
      unrolled verify OUT

    Every option can also be set by an environment variable: --lease-seconds by UNROLLED_LEASE_SECONDS.

    \b
    Completion with TAB, in ~/.bashrc (or zsh in ~/.zshrc):
      eval "$(unrolled completion bash)"
    """
    del debug  # `LazyGroup.invoke` reads it


completed(cli)


def main() -> NoReturn:
    """Entry point of `unrolled`."""
    # Of this command and what it starts, whatever the user's own programs compute with; Keras's files aren't changed.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    cli.main(prog_name="unrolled")
    raise AssertionError  # click has exited
