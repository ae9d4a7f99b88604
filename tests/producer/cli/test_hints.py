"""Options and commands that don't exist, and what is said that was meant."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from producer.cli.catalogue import COMMANDS
from producer.cli.root import cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run -o x", "No such option '-o'. Did you mean --out or --output-root?"),
        ("run a.txt --debug", "No such option '--debug'. It comes before the command's name: unrolled --debug run …"),
        ("model show m --debug", "before the command's name: unrolled --debug model show …"),
        ("-v", "No such option '-v'. Did you mean --version?"),
        ("--model x run", "options come after its name: unrolled COMMAND --model …"),
        ("model --lstm-units 3 new", "options come after its name: unrolled model COMMAND --lstm-units …"),
        ("help", "Did you mean '--help', or for a command 'unrolled COMMAND --help'?"),
        ("--debugg run", "No such option '--debugg'. Did you mean '--debug'?"),
        ("run --ouput x", "'--output-root'"),
        ("run -ö", "No such option '-ö'. A file of such a name is written as ./-ö…"),
        ("run a --out b --model c --out d", "--out is given 2 times; give it once"),
        ("run a -- --out b --out c", "Missing option '--model'"),
        ("model new m --lstm-units 3 --lstm-units 4 --lstm-units 3", "--lstm-units is given 3 times; give it once"),
        ("worker --model a --model b", "--model is given 2 times; give it once"),
        (
            "run a --model m --out --pooling mean",
            "--out has no value: the next word, --pooling, is an option; if it is",
        ),
        (
            "run a --model m --out --no-report",
            "--no-report, is an option; if it is meant as the value, write --out=--no-",
        ),
        ("run a --out b --model --out=c", "--model has no value: the next word, --out=c, is an option"),
        ("model new --lstm-units --vocab-size 3 m", "--lstm-units has no value: the next word, --vocab-size, is an"),
        ("run a --model m --out -h", "--out has no value: the next word, -h, is an option"),
        ("run a --out=--pooling", "Missing option '--model'"),
        ("run -- --out --pooling", "Missing option '--model'"),
        ("rum", "Did you mean 'run'?"),
        ("import m.keras", "No such command 'import'. Did you mean 'model import' or 'tokenizer import'?"),
        ("fit rows", "No such command 'fit'. Did you mean 'model fit' or 'tokenizer fit'?"),
        (
            "enqueue a --workers 2",
            "No such option '--workers'. It is an option of `unrolled plan` and `unrolled run`.\n",
        ),
        ("wait a --no-report", "No such option '--no-report'. It is an option of `unrolled run`.\n"),
        ("demo --lstm-units=3", "It is an option of `unrolled model new` and `unrolled model fit`.\n"),
        ("status a --model m", "It is an option of `unrolled plan` and `unrolled run`, and of others.\n"),
        (
            "run a --layer last",
            "No such option '--layer'. It is an option of `unrolled model import`. Did you mean '--layers'?",
        ),
        ("run a --vectors", "Did you mean '--vectors-field'?"),
        ("jobs -x", "No such option '-x'.\n"),
        ("-x run", "No such option '-x'.\n"),
    ],
)
def test_what_was_meant_is_said(words, said):
    """A wrong option or command ends with status 2, and the message names what may have been meant."""
    result = CliRunner().invoke(cli, words.split(), prog_name="unrolled")
    assert result.exit_code == 2
    assert said in result.stderr


#: A command in the text of an error or a hint, and the first value in it.
ADVICE = re.compile(rf"unrolled (?:{'|'.join(COMMANDS)})\b[^\"`\n{{]*\{{([^{{}}]+)\}}")
#: Values that aren't paths.
NO_PATHS = {"offer.engine", "how"}


def test_paths_in_advice_are_quoted():
    """What is printed can be pasted into a shell, whatever the names are."""
    root = Path(__file__).parents[3]
    found = {}
    for path in [path for package in ("producer", "unrolled", "worker") for path in (root / package).rglob("*.py")]:
        for value in ADVICE.findall(path.read_text()):
            found.setdefault(value, path.relative_to(root))
    assert len(found) > 10
    assert {
        value: path
        for value, path in found.items()
        if not re.search("as_argument|quote", value) and value not in NO_PATHS
    } == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("verify nowhere --json --json", "Error: nowhere: "),
        ("plan nowhere --model m --pooling mean --pooling max", "Error: m: does not exist"),
        ("run a --model m --model m --help", ""),
        ("model fit --help --out a --out b", ""),
    ],
)
def test_what_may_be_given_twice(words, said):
    """Flags, which say the same again, options with several values, and anything beside a call for help."""
    result = CliRunner().invoke(cli, words.split(), prog_name="unrolled")
    assert result.stderr.startswith(said)
    assert result.exit_code == (1 if said else 0)
