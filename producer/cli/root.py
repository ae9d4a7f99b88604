"""The command `unrolled`: it finds the subcommand, and turns errors into a line and an exit status. Nothing else does.

Nothing heavy is imported here: a subcommand's module is loaded when it runs, so its line in the list of commands is
written here.
"""

from __future__ import annotations

import traceback
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

try:
    import click
    from click.shell_completion import CompletionItem
except ModuleNotFoundError:
    raise SystemExit("unrolled: this is the reader alone; for the commands: pip install 'unrolled[producer]'") from None

from producer.cli.exit_status import ExitStatus, exit_help
from producer.terminal.signals import Terminated
from unrolled.errors import OptionError, UnrolledError


class Lazy(NamedTuple):
    """A subcommand that isn't loaded yet.

    Attributes:
        place: module:attribute.
        help: its line in the list of commands; the first sentence of its own help.
        extra: the extra of this package that it needs.
    """

    place: str
    help: str
    extra: str = "producer"


COMMANDS = {
    "run": Lazy("producer.cli.commands.run:run", "Do a whole job on this machine."),
    "demo": Lazy("producer.cli.commands.demo:demo", "Show the whole path on text that is already here."),
    "enqueue": Lazy("producer.cli.commands.enqueue:enqueue", "Cut input into shards and queue them for workers."),
    "worker": Lazy("worker.cli.worker:worker", "Compute and publish shards until stopped.", "worker"),
    "status": Lazy("producer.cli.commands.status:status", "Show how far a job is."),
    "wait": Lazy("producer.cli.commands.wait:wait", "Wait until a job is complete."),
    "verify": Lazy("producer.cli.commands.verify:verify", "Check that every input row is published exactly once."),
    "retry": Lazy("producer.cli.commands.retry:retry", "Put dead shards and failed rows back in the queue."),
    "cancel": Lazy("producer.cli.commands.cancel:cancel", "Take a job's waiting shards out of the queue."),
    "quarantine": Lazy(
        "producer.cli.commands.quarantine:quarantine", "List the rows that can't be computed, with reasons."
    ),
    "show": Lazy("producer.cli.commands.show:show", "Show a job's first published rows."),
    "doctor": Lazy("producer.cli.commands.doctor:doctor", "Check broker, workers, model and output directory."),
    "model": Lazy("worker.cli.model:model", "Train, import, make and show models."),
    "tokenizer": Lazy("producer.cli.commands.tokenizer:tokenizer", "Make the tokenizer.json of a model."),
    "completion": Lazy(
        "producer.cli.commands.completion:completion", "Print the script that completes commands in a shell."
    ),
}
#: Commands of a group that are in the other package than the group itself.
MEMBERS = {"model": ("producer.cli.commands.model_fit:fit",)}


class CommandFailedError(click.ClickException):
    """An error as one line on standard error, and exit status 1."""

    exit_code = ExitStatus.FAILED


class WrongUsageError(CommandFailedError):
    """Options that a command can't work with, as one line and exit status 2."""

    exit_code = ExitStatus.USAGE


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
        near = " or ".join(f"'{name}'" for name in get_close_matches(cmd_name, COMMANDS))
        raise click.UsageError(f"No such command '{cmd_name}'.{f' Did you mean {near}?' if near else ''}", ctx)

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

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; an error becomes its text and an exit status, and a traceback only with --debug."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt as reason:
            click.echo("Interrupted; what is done is kept. Run the same command again and it resumes.", err=True)
            ctx.exit(ExitStatus.TERMINATED if isinstance(reason, Terminated) else ExitStatus.INTERRUPTED)
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            if isinstance(error, UnrolledError):
                raise (WrongUsageError if isinstance(error, OptionError) else CommandFailedError)(str(error)) from error
            more = "" if ctx.params["debug"] else "; `unrolled --debug …` shows where"
            raise CommandFailedError(f"{type(error).__name__}: {error}{more}") from error


def load_command(name: str) -> click.Command:
    """A subcommand, with its exit statuses, and an environment variable `UNROLLED_<OPTION>` for each option.

    Raises:
        CommandFailedError: a package that it needs isn't installed.
    """
    lazy = COMMANDS[name]
    try:
        command = _imported(lazy.place)
        for place in MEMBERS.get(name, ()):
            if isinstance(command, click.Group):
                command.add_command(_imported(place))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("unrolled", "producer", "worker"):
            raise
        raise CommandFailedError(
            f"`unrolled {name}` needs {error.name}, which is missing: pip install 'unrolled[{lazy.extra}]'"
        ) from error
    command.epilog = exit_help(name)
    return completed(command)


def _imported(place: str) -> click.Command:
    module, _, attribute = place.partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def completed(command: click.Command) -> click.Command:
    """Complete the options of a command and of its subcommands.

    Each gets an environment variable named after its flag, which the help shows. Numbers are INTEGER or NUMBER there,
    in place of click's INTEGER RANGE.
    """
    for option in command.params:
        if isinstance(option, click.Option) and not option.is_eager:
            flag = next((name for name in option.opts if name.startswith("--")), None)
            if flag and option.envvar is None:
                option.envvar = "UNROLLED_" + flag.removeprefix("--").replace("-", "_").upper()
            option.show_envvar = True
            if option.metavar is None and option.type.name.startswith(("integer", "float")):
                option.metavar = "INTEGER" if option.type.name.startswith("integer") else "NUMBER"
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        completed(child)
    return command


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
    cli.main(prog_name="unrolled")
    raise AssertionError  # click has exited
