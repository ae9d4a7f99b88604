"""Sums that are estimated from a part of the input."""

import numpy as np
import pytest

from producer.plan.sampling.estimate import Draws, Estimate, quantiles, total_of


def draws_of(values, size_bytes, *, drawn_bytes=10.0, whole=False):
    draws = Draws(size_bytes, ("tokens",))
    for value in values:
        draws.add(drawn_bytes, np.array([value], float), repeated=False)
    draws.whole = whole
    return draws.estimates()["tokens"]


def test_the_mean_of_the_draws_is_taken_for_the_whole_input():
    """Twenty of a hundred bytes hold six tokens."""
    found = draws_of([2, 4], 100)
    assert found.value == pytest.approx(30)
    # Draws of 0.2 and 0.4 a byte, of which a fifth of the input was seen.
    assert found.error == pytest.approx(2 * 100 * np.std([0.2, 0.4], ddof=1) * np.sqrt(0.8 / 2))


def test_what_was_counted_has_no_error():
    """All of the input was read."""
    assert draws_of([2, 4], 20, whole=True) == Estimate(6.0, 0.0)


def test_one_draw_says_nothing_of_its_error():
    """Neither alone nor in a sum."""
    one = draws_of([2], 100)
    assert one == Estimate(20.0, None)
    assert total_of([{"n": one}, {"n": Estimate(1.0, 1.0)}], "n") == Estimate(21.0, None)


def test_errors_of_kinds_of_inputs_add_up_as_independent_ones():
    """Three and four are five."""
    assert total_of([{"n": Estimate(1.0, 3.0)}, {"n": Estimate(2.0, 4.0)}], "n") == Estimate(3.0, 5.0)


def test_a_repeated_draw_is_no_new_part_of_the_input():
    """It counts in the mean, and not in what was read."""
    draws = Draws(100, ("tokens",))
    draws.add(10.0, np.array([5.0]), repeated=False)
    draws.add(10.0, np.array([5.0]), repeated=True)
    assert draws.covered_bytes == 10
    assert draws.estimates()["tokens"] == Estimate(50.0, 0.0)


@pytest.mark.parametrize("errors_seed", range(3))
def test_the_error_holds_in_most_samples(errors_seed):
    """The true sum is within the error in about 95 of 100 samples."""
    rng = np.random.default_rng(errors_seed)
    population = rng.lognormal(1.0, 0.7, 2_000)
    inside = 0
    for _ in range(200):
        drawn = rng.choice(population, 40, replace=False)
        found = draws_of(drawn, len(population) * 10.0)
        inside += abs(found.value - population.sum()) <= found.error
    assert inside >= 176


def test_quantiles_follow_the_weights():
    """A row that stands for nine is nine rows."""
    assert quantiles(np.array([7, 1]), np.array([9.0, 1.0]), (0.05, 0.5, 0.99)) == [1, 7, 7]
    assert quantiles(np.zeros(0, np.int64), np.zeros(0), (0.5,)) == [0]
