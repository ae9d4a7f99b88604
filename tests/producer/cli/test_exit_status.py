"""One table of exit statuses, which help texts are made from."""

import pytest
from click.testing import CliRunner

from producer.cli.catalogue import COMMANDS
from producer.cli.exit_status import OF_COMMANDS, ExitStatus, exit_help
from producer.cli.root import cli
from worker.app import EXIT_BROKEN, EXIT_UNUSABLE


def shown(*words):
    """(status, text) of the block at the end of a help text."""
    text = CliRunner().invoke(cli, [*words, "--help"], prog_name="unrolled").output
    block = text.partition("Exit status:\n")[2]
    return [tuple(line.split(maxsplit=1)) for line in block.splitlines()]


def test_the_help_shows_the_whole_table():
    """In order, each status once."""
    assert shown() == [(str(int(status)), status.meaning) for status in ExitStatus]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_its_own(name):
    """In its own words; a command without words of its own has no block."""
    assert shown(name) == [(str(int(status)), text) for status, text in OF_COMMANDS.get(name, {}).items()]


def test_every_command_of_the_table_exists():
    """A renamed command takes its statuses along."""
    assert OF_COMMANDS.keys() <= COMMANDS.keys()
    assert exit_help("status") is None


def test_the_worker_reports_the_statuses_of_the_table():
    """The worker may not import the table, which is the producer's."""
    assert (EXIT_BROKEN, EXIT_UNUSABLE) == (ExitStatus.BROKEN, ExitStatus.UNUSABLE)
