"""Environment variables that set options, and those that nothing reads."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from producer.cli.catalogue import COMMANDS, load_command
from producer.cli.root import cli
from producer.cli.variables import _OPTIONS, KNOWN, origin
from unrolled.settings.declaration import variable_of

REPOSITORY = Path(__file__).parents[3]


def run(*arguments, **environment):
    return CliRunner().invoke(cli, list(arguments), env=environment, prog_name="unrolled")


def variables_of(command):
    """The variables of a command's options and of those of its subcommands."""
    own = {option.envvar for option in command.params if isinstance(option, click.Option) and option.envvar}
    return own.union(*(variables_of(each) for each in getattr(command, "commands", {}).values()))


def test_the_list_of_options_is_that_of_the_commands():
    """The list of options, which spares loading all commands, has exactly their options."""
    of_commands = variables_of(cli).union(*(variables_of(load_command(name)) for name in COMMANDS))
    assert {variable_of(name) for name in _OPTIONS.split()} == of_commands


def test_all_that_is_read_elsewhere_is_known():
    """Every variable that code, build, pages or manifests name counts as known."""
    files = [*REPOSITORY.glob("docker-compose*.yml"), REPOSITORY / "Makefile", REPOSITORY / "hatch_build.py"]
    files += [*REPOSITORY.glob("docs/*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    for folder in ("deploy", "unrolled", "worker"):
        files += [path for path in (REPOSITORY / folder).rglob("*") if path.suffix in (".py", ".yaml")]
    named = {name for path in files for name in re.findall(r"\bUNROLLED_[A-Z_]+\b", path.read_text("utf-8"))}
    assert len(named) > 20
    assert named <= KNOWN | {"UNROLLED_"}  # the prefix itself, in texts


def test_a_word_that_is_neither_true_nor_false_is_refused():
    """Of the variable of a flag, with the words that are allowed."""
    result = run("status", "out", UNROLLED_JSON="perhaps")
    assert result.exit_code == 2
    assert "'perhaps' is neither true nor false; allowed: 1, true, yes, on; 0, false, no, off." in result.output


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("UNROLLED_OUPUT_ROOT", "did you mean UNROLLED_OUTPUT_ROOT?"),
        ("UNROLLED_OUTPUTROOT", "did you mean UNROLLED_OUTPUT_ROOT?"),
        ("UNROLLED_LEASE_SECOND", "did you mean UNROLLED_LEASE_SECONDS?"),
        ("UNROLLED_NO_REPORT", "did you mean UNROLLED_REPORT?"),
        ("UNROLLED_HOMEPAGE", "and has no effect"),
    ],
)
def test_a_variable_that_nothing_reads_is_named(name, advice):
    """A warning names it and a similar one, but not its value."""
    result = run("status", "/nowhere", **{name: "secret"})
    assert f"{name} is set in the environment, but there is no such setting" in result.stderr
    assert advice in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize(
    "name",
    [
        "UNROLLED_OUTPUT_ROOT",
        "UNROLLED_ISA",
        "UNROLLED_REDIS_SERVICE_HOST",
        "UNROLLED_REDIS_SERVICE_PORT_METRICS",
        "UNROLLED_REDIS_PORT",
        "UNROLLED_REDIS_PORT_6379_TCP",
        "UNROLLED_REDIS_PORT_6379_TCP_ADDR",
        "OTHER_OUPUT_ROOT",
    ],
)
def test_settings_and_the_variables_of_a_service_are_not(name):
    """Options, the engine's variables, those of Kubernetes and Docker, and other programs' cause no warning."""
    assert "no such setting" not in run("status", "/nowhere", **{name: "/x"}).stderr


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {"UNROLLED_LOG_FORMAT": "json"}),
        (("--log-format", "json"), {}),
        (("--log-format=json",), {}),
    ],
)
def test_in_a_log_of_json_it_is_a_line_of_json(arguments, environment):
    """The warning is JSON if the log is, whether an option or a variable says so."""
    result = run("wait", *arguments, UNROLLED_OUPUT_ROOT="/x", **environment)  # wrong usage: it starts no log
    line = json.loads(result.stderr.splitlines()[0])
    assert line["level"] == "WARNING"
    assert line["message"].startswith("UNROLLED_OUPUT_ROOT is set")


def test_an_error_says_which_options_were_set_by_variables():
    """Those that the message names and the command line doesn't give; none if it names the variable itself."""
    message = "--lease-seconds is 5; allowed: at least twice --grace-seconds"
    environ = {"UNROLLED_LEASE_SECONDS": "5", "UNROLLED_GRACE_SECONDS": "4"}
    both = " (set in the environment: UNROLLED_LEASE_SECONDS, UNROLLED_GRACE_SECONDS)"
    assert origin(message, ["worker"], environ) == both
    assert origin(message, ["--lease-seconds=5"], environ) == " (set in the environment: UNROLLED_GRACE_SECONDS)"
    assert origin(message, ["--lease-seconds", "5", "--grace-seconds", "4"], environ) == ""
    assert origin("UNROLLED_LEASE_SECONDS: --lease-seconds", [], environ) == ""


def test_a_wrong_option_from_the_environment_is_said_to_be_from_there():
    """The error of a command names the variable, unless the command line gives the option."""
    arguments = ("metrics", "--broker", "redis://localhost:1", "--once")
    result = run(*arguments, UNROLLED_METRICS_PORT="9150")
    assert result.exit_code == 2
    assert "give either --metrics-port, to serve the figures, or --once" in result.stderr
    assert "(set in the environment: UNROLLED_METRICS_PORT)" in result.stderr
    assert "environment" not in run(*arguments, "--metrics-port", "9150").stderr


def test_a_level_may_be_written_in_small_letters():
    """A log level in a variable is accepted, so that the command comes to its next error."""
    result = run("worker", "--model", "/nowhere", "--broker", "redis://localhost:1", UNROLLED_LOG_LEVEL="debug")
    assert "/nowhere: does not exist" in result.stderr
