"""The page of all commands is what the code gives."""

from pathlib import Path

import click

from producer.cli.catalogue import COMMANDS, load_command
from producer.cli.reference import page

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_page_is_made_from_the_code():
    """A help text that was changed needs `make reference`."""
    assert PAGE.read_text() == page()


def test_every_option_is_on_the_page():
    """Each flag is in the part of its command."""
    parts = page().split("\n## ")
    for name in COMMANDS:
        (part,) = (part for part in parts if part.startswith(f"unrolled {name}\n"))
        command = load_command(name)
        for each in [command, *(command.commands.values() if isinstance(command, click.Group) else ())]:
            for option in each.params:
                assert not isinstance(option, click.Option) or f"`{', '.join(option.opts)}" in part
