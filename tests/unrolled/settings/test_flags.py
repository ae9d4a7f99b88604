"""click's flags of a dataclass of options."""

from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from unrolled.settings.flags import flags
from unrolled.settings.worker_options import WorkerOptions
from unrolled.training.plan import FitOptions


def run(options, *words, **chosen):
    """What a command with the flags gets, or its result where it doesn't run."""
    found = {}

    @click.command()
    @flags(options, **chosen)
    def command(**arguments):
        found.update(arguments)

    result = CliRunner().invoke(command, words, catch_exceptions=False)
    return found if result.exit_code == 0 and not result.output else result


def test_a_command_without_flags_gets_the_defaults():
    """They are declared in the dataclass alone."""
    assert WorkerOptions(**run(WorkerOptions)) == WorkerOptions()
    assert FitOptions(**run(FitOptions, "--vocab-size", "9")) == FitOptions(9)


def test_every_field_has_a_flag():
    """With a value of its type."""
    given = run(
        WorkerOptions, "--engine", "fused", "--arithmetic", "bfloat16", "--threads", "3", "--memory-budget", "512M",
        "--pool-tokens", "7", "--concurrency", "2", "--lease-seconds", "5", "--grace-seconds", "0.5",
        "--max-attempts", "1", "--output-root", "/data", "--health-file", "/tmp/well", "--emulate",
        "--metrics-port", "9100", "--metrics-address", "0.0.0.0", "--log-format", "json", "--tracing", "otlp",
    )  # fmt: skip
    made, plain = WorkerOptions(**given), WorkerOptions()
    assert made.memory_budget == 2**29
    for field in fields(WorkerOptions):
        assert getattr(made, field.name) != getattr(plain, field.name), field.name


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--engine", "torch"], "'torch' is not one of 'auto', 'fused', 'tensorflow'"),
        (["--threads", "0"], "0 is not in the range 1<=x<=1024"),
        (["--threads", "many"], "'many' is not a valid integer"),
        (["--concurrency", "257"], "257 is not in the range 1<=x<=256"),
        (["--memory-budget", "lots"], "'lots' is not a number of bytes, such as 512M or 1.5G"),
    ],
)
def test_a_wrong_value_is_wrong_usage(words, text):
    """Exit status 2, before the command runs."""
    result = run(WorkerOptions, *words)
    assert result.exit_code == 2
    assert text in result.output


def test_the_help_shows_what_is_declared():
    """Default, range, and what happens without a value."""
    text = " ".join(run(WorkerOptions, "--help").output.split())
    assert "--memory-budget BYTES" in text
    assert "[default: 1G]" in text
    assert "[default: (one for each core that the process may use); 1<=x<=1024]" in text
    assert "[default: 8; 1<=x<=256]" in text


def test_some_flags_can_be_chosen_and_required():
    """Another command may need what has a default elsewhere."""
    assert run(FitOptions, names=("seed",)) == {"seed": 0}
    result = run(FitOptions, names=("lstm_units", "seed"), required=True)
    assert result.exit_code == 2
    assert "Missing option '--lstm-units'" in result.output
