"""Fixtures that more than one test file needs: a real server, never a stand-in. And what CI makes of a skip."""

import gc
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.broker import RestartableBroker
from support.skips import is_an_error, reason_of

# A shell has its background jobs ignore Ctrl-C, and their children inherit that; here it must mean what it means.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start hundreds of processes; without compiled files each would compile the product's source again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The machine has other tests for its processors: threads of OpenBLAS that wait for each other only heat them.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

# Every push draws the same examples, so a failure is of the push; the long run draws new ones and prints how to
# repeat a failure. At home each run draws some new ones, and remembers those that failed.
settings.register_profile("push", derandomize=True, database=None, deadline=None)
settings.register_profile(
    "long", max_examples=2_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("home", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("push" if os.environ.get("CI") else "home"))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Find the tests without looking for garbage, and leave them and their modules out of every later look."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a skipped test in CI where what is missing could have been installed."""
    del item, call
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Do so, too, where a whole file is skipped."""
    del collector
    return _judged((yield))


def _judged(report):
    if is_an_error(report):
        report.outcome, report.longrepr = "failed", f"CI is set, and this was skipped: {reason_of(report)}"
    return report


@pytest.fixture
def hangups() -> Iterator[None]:
    """Processes that the test starts hear SIGHUP, which nohup has its children ignore."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def broker() -> Iterator[RestartableBroker]:
    """A server of the test's own, empty, on a private socket."""
    with RestartableBroker() as server:
        yield server


@pytest.fixture
def broker_url(broker: RestartableBroker) -> str:
    """The address of the test's own server, as Celery takes it."""
    return broker.url
