"""Counts by size."""

from unrolled.telemetry.distribution import SECONDS, TOKENS, Distribution


def test_each_value_counts_once_below_the_first_bound_that_it_does_not_exceed():
    """A value at a bound is below it, as Prometheus counts; a value above all bounds is counted at the end."""
    found = Distribution((1.0, 10.0))
    for value in (0.0, 1.0, 1.5, 10.0, 11.0):
        found.add(value)
    assert found.buckets() == ((1.0, 10.0), (2, 2, 1), 23.5)


def test_what_was_read_does_not_change():
    """A reading is of one moment."""
    found = Distribution((1.0,))
    before = found.buckets()
    found.add(0.5)
    assert before.counts == (0, 0)
    assert found.buckets().counts == (1, 0)


def test_the_usual_bounds_are_in_order():
    """A bound out of order would never count."""
    for bounds in (SECONDS, TOKENS):
        assert list(bounds) == sorted(set(bounds))
