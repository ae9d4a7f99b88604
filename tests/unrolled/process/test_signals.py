"""Which signals are second ones."""

from signal import SIGHUP, SIGINT, SIGTERM

import pytest

from unrolled.process import signals
from unrolled.process.signals import Echoes


@pytest.mark.parametrize(
    ("came", "echoes"),
    [
        ([(SIGTERM, 0.0), (SIGTERM, 0.001), (SIGTERM, 0.04)], [False, True, True]),  # `timeout`
        ([(SIGTERM, 0.0), (SIGTERM, 1.0)], [False, False]),
        ([(SIGINT, 0.0), (SIGINT, 0.1), (SIGINT, 0.11)], [False, False, True]),
        ([(SIGINT, 0.0), (SIGTERM, 0.01)], [False, False]),
        ([(SIGHUP, 0.0), (SIGHUP, 0.001), (SIGHUP, 10.0)], [False, True, True]),  # a closed terminal
        ([(SIGTERM, 0.0), (SIGHUP, 0.001)], [False, True]),  # systemd
        ([(SIGHUP, 0.0), (SIGTERM, 5.0)], [False, False]),
    ],
)
def test_an_echo_is_no_second_signal(came, echoes, monkeypatch):
    """It comes just after the same one; nobody sends SIGHUP to ask for haste."""
    found, now = Echoes(), 0.0
    monkeypatch.setattr(signals.time, "monotonic", lambda: now)
    for (number, now), expected in zip(came, echoes, strict=True):  # noqa: B007 - the clock reads it
        assert found.is_one(number) == expected
