"""Speeds over time as small bars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.terminal.sparkline import Speeds, sparkline


def speeds_of(points, most=10, until=None):
    speeds = Speeds()
    for now, done in points:
        speeds.add(now, done)
    if until:
        speeds.add(until, points[-1][1])
    return speeds.bars(most)


def test_a_lump_was_done_evenly_since_the_one_before():
    """Files come one in ten seconds, and the speed is steady."""
    points = [(now, 100 * (now // 10)) for now in range(41)]
    assert speeds_of(points, most=8) == pytest.approx([10.0] * 8)


def test_a_change_of_speed_is_seen():
    """Ten a second, then twenty."""
    points = [(now, 10 * now if now <= 20 else 200 + 20 * (now - 20)) for now in range(41)]
    assert speeds_of(points, most=4) == pytest.approx([10, 10, 20, 20])


def test_a_standstill_is_seen():
    """Where nothing has come for longer than usual, the speed falls to 0."""
    points = [(now, 10 * now) for now in range(11)]
    assert speeds_of(points, most=2, until=11) == pytest.approx([10, 10])
    bars = speeds_of(points, most=20, until=20)
    assert bars[:10] == pytest.approx([10.0] * 10, rel=0.1)
    assert bars[-8:] == pytest.approx([0.0] * 8)


def test_before_the_first_lump_there_is_no_speed():
    """One look says nothing."""
    assert Speeds().bars(5) == speeds_of([(0, 0)]) == speeds_of([(0, 5), (9, 5)]) == []


def test_a_smaller_number_begins_again():
    """A job that was discarded and made again."""
    assert speeds_of([(0, 0), (10, 100), (11, 0), (21, 50)], most=1) == [5.0]


@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 1_000)), min_size=2, max_size=3_000), st.integers(1, 50))
def test_all_that_was_done_is_in_the_bars(steps, most):
    """However many looks there were, of which not all are kept."""
    speeds, now, done = Speeds(), 0.0, 0
    for seconds, tokens in [(0.0, 0), *steps]:
        now, done = now + seconds, done + tokens
        speeds.add(now, done)
    bars = speeds.bars(most)
    assert len(bars) <= most
    assert all(bar >= 0 for bar in bars)
    if bars:
        assert max(bars) > 0


def test_bars_go_up_to_the_largest_value():
    """A small value has a bar too, and 0 has none."""
    assert sparkline([0, 0.001, 4, 8]) == " ▁▄█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
