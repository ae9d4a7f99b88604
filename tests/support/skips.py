"""Why a test may be skipped; what else is missing fails where CI is set."""

import os

import pytest

#: Set for the long runs: what takes minutes, downloads packages, or needs PyTorch.
LONG = "UNROLLED_LONG"
#: Beginnings of the reasons that stay skips in CI: they name a machine, a system or a length, not a missing package.
ALLOWED = (
    "long: ",
    "machine: ",
)


def long(reason):
    """Mark a test for the long runs alone."""
    return pytest.mark.skipif(LONG not in os.environ, reason=f"long: {reason}; set {LONG}=1 to run it")


_ONE_MORE = long("one more of many alike")


def one_in(share, values):
    """Parameters of a test with many that are alike: one in so many is tried always, and all in the long runs."""
    return [
        given if number % share == 0 else pytest.param(*given.values, marks=[*given.marks, _ONE_MORE], id=given.id)
        for number, given in enumerate(map(_as_parameter, values))
    ]


def _as_parameter(value):
    return value if hasattr(value, "marks") else pytest.param(value)


def unless(holds, reason):
    """Mark a test for machines of one kind alone."""
    return pytest.mark.skipif(not holds, reason=f"machine: {reason}")


def skip_here(reason):
    """End the running test, which this machine can't run."""
    pytest.skip(f"machine: {reason}")


def is_an_error(report):
    """Whether a skipped test's report must fail: CI is set, and what is missing could have been installed."""
    if not os.environ.get("CI") or not report.skipped or hasattr(report, "wasxfail"):
        return False
    return not reason_of(report).startswith(ALLOWED)


def reason_of(report):
    """The reason in a skipped test's report, which pytest gives as (file, line, "Skipped: …")."""
    longrepr = report.longrepr
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")
