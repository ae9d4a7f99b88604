"""Options and commands that don't exist, and what is said that was meant."""

import pytest
from click.testing import CliRunner

from producer.cli.root import cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run -o x", "No such option '-o'. Did you mean --out or --output-root?"),
        ("-v", "No such option '-v'. Did you mean --version?"),
        ("--model x run", "options come after its name: unrolled COMMAND --model …"),
        ("model --lstm-units 3 new", "options come after its name: unrolled model COMMAND --lstm-units …"),
        ("help", "Did you mean '--help', or for a command 'unrolled COMMAND --help'?"),
        ("--debugg run", "No such option '--debugg'. Did you mean '--debug'?"),
        ("run --ouput x", "'--output-root'"),
        ("run -ö", "No such option '-ö'."),
        ("rum", "Did you mean 'run'?"),
    ],
)
def test_what_was_meant_is_said(words, said):
    """A wrong option or command ends with status 2, and the message names what may have been meant."""
    result = CliRunner().invoke(cli, words.split(), prog_name="unrolled")
    assert result.exit_code == 2
    assert said in result.stderr
