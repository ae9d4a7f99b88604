"""The page of all commands is what the code gives."""

from pathlib import Path

import click

from producer.cli.catalogue import COMMANDS, load_command
from producer.cli.reference import page

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_page_is_made_from_the_code():
    """A help text that was changed needs `make reference`."""
    assert PAGE.read_text() == page()


def test_the_default_of_the_broker_is_that_of_the_command():
    """`run` starts one, and commands that are about no job refuse to begin without one."""
    defaults = {}
    for name in COMMANDS:
        for option in load_command(name).params:
            if "--broker" in option.opts and not option.required:
                defaults.setdefault(option.show_default, set()).add(name)
    assert defaults.pop("one that the command starts") == {"run"}
    assert defaults.pop("none: name one") == {"jobs", "metrics"}
    assert list(defaults) == ["the broker of the `unrolled run` that is working on OUT"]


def test_every_option_is_on_the_page():
    """Each flag is in the part of its command."""
    parts = page().split("\n## ")
    for name in COMMANDS:
        (part,) = (part for part in parts if part.startswith(f"unrolled {name}\n"))
        command = load_command(name)
        for each in [command, *(command.commands.values() if isinstance(command, click.Group) else ())]:
            for option in each.params:
                assert not isinstance(option, click.Option) or f"`{', '.join(option.opts)}" in part
