"""All commands: what the list of commands says of each, and how it is loaded when it is used.

Nothing heavy is imported here, so that `unrolled --help` is quick.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import IO, Any, NamedTuple

import click

from producer.cli.exit_status import ExitStatus, exit_help
from producer.cli.values import checked
from unrolled.errors import install_command
from unrolled.settings.declaration import variable_of
from unrolled.telemetry import json_log


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
    "plan": Lazy("producer.cli.commands.prepare.plan:plan", "Estimate what a job will cost, before you queue it."),
    "run": Lazy("producer.cli.commands.compute.run:run", "Do a whole job on this machine."),
    "demo": Lazy("producer.cli.commands.compute.demo:demo", "Show the whole path on text that is already here."),
    "enqueue": Lazy(
        "producer.cli.commands.compute.enqueue:enqueue", "Group rows into shards and queue them for workers."
    ),
    "worker": Lazy("worker.cli.worker:worker", "Compute and publish shards until stopped.", "worker"),
    "status": Lazy("producer.cli.commands.watch.status:status", "Show a job's progress."),
    "jobs": Lazy("producer.cli.commands.watch.jobs:jobs", "List the unfinished jobs in the broker."),
    "wait": Lazy("producer.cli.commands.watch.wait:wait", "Wait until a job is finished."),
    "verify": Lazy(
        "producer.cli.commands.inspect.verify:verify", "Check that every input row is published exactly once."
    ),
    "retry": Lazy("producer.cli.commands.intervene.retry:retry", "Put dead shards and failed rows back in the queue."),
    "cancel": Lazy("producer.cli.commands.intervene.cancel:cancel", "Take a job's waiting shards out of the queue."),
    "discard": Lazy(
        "producer.cli.commands.intervene.discard:discard", "Delete a job: its parts, and everything that waits."
    ),
    "quarantine": Lazy(
        "producer.cli.commands.inspect.quarantine:quarantine", "List the rows that can't be computed, with reasons."
    ),
    "report": Lazy(
        "producer.cli.commands.inspect.report:report",
        "Write a page about a job: its numbers, its time, and a map of its states.",
    ),
    "show": Lazy("producer.cli.commands.inspect.show:show", "Show a job's first published rows."),
    "neighbours": Lazy(
        "producer.cli.commands.inspect.neighbours:neighbours", "List the rows whose vectors are nearest to a row's."
    ),
    "card": Lazy("producer.cli.commands.inspect.card:card", "Print a dataset card, for the Hugging Face Hub."),
    "metrics": Lazy("producer.cli.commands.watch.metrics:metrics", "Serve the queue's figures to Prometheus."),
    "doctor": Lazy(
        "producer.cli.commands.prepare.doctor:doctor", "Check broker, workers, model and output directory or bucket."
    ),
    "model": Lazy("worker.cli.model:model", "Train, import, join, compare, make and show models."),
    "tokenizer": Lazy("producer.cli.commands.prepare.tokenizer:tokenizer", "Make the tokenizer.json of a model."),
    "completion": Lazy("producer.cli.completion:completion", "Print the script that completes commands in a shell."),
}
#: Commands that go on where they were interrupted, if they are run again. Others only look, or write one whole file.
RESUMED = frozenset({"run", "demo", "enqueue", "wait", "retry", "cancel", "discard", "model fit"})
#: Commands that SIGTERM and SIGHUP end like Ctrl-C, because they have a scratch folder that has to go; others have ways
#: of their own, or nothing that has to be ended in order.
ENDED_IN_ORDER = frozenset({"model", "plan", "doctor", "enqueue"})
#: Commands that have commands of their own.
GROUPS = ("model", "tokenizer")
#: Commands of a group that are in the other package than the group itself.
MEMBERS = {"model": ("producer.cli.commands.prepare.model_fit:fit",)}


class CommandFailedError(click.ClickException):
    """An error as one line on standard error, and exit status 1."""

    exit_code = ExitStatus.FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the line, as JSON if the command logs as JSON."""
        if json_log.is_active():
            logging.getLogger("unrolled").error("%s", self.format_message())
        else:
            super().show(file)


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
            f"`unrolled {name}` needs {error.name}, which is missing: {install_command(lazy.extra)}"
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
    in place of click's INTEGER RANGE. Paths have to have a name, and numbers to be finite.
    """
    for option in command.params:
        option.type = checked(option.type)
        if isinstance(option, click.Option) and not option.is_eager:
            flag = next((name for name in option.opts if name.startswith("--")), None)
            if flag and option.envvar is None:
                option.envvar = variable_of(flag.removeprefix("--").replace("-", "_"))
            option.show_envvar = True
            if option.metavar is None and option.type.name in ("integer", "number"):
                option.metavar = option.type.name.upper()
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        completed(child)
    return command
