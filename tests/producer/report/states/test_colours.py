"""What points are coloured by."""

from decimal import Decimal

import numpy as np
import pytest

from producer.report.states.colours import MOST_GROUPS, Groups, Scale, groups, labels, scale


def test_the_largest_groups_have_colours_of_their_own():
    """The others share one; every point is in one group, and the counts add up."""
    names = [f"g{number}" for number in range(20) for _ in range(20 - number)]
    found = groups("file", names)
    assert len(found.names) == MOST_GROUPS
    assert found.names[:2] == ["g0", "g1"]
    assert found.names[-1] == "13 others"
    assert sum(found.counts) == len(names) == len(found.of)
    assert np.bincount(found.of).tolist() == found.counts
    assert groups("file", ["b", "a", "b"]).names == ["b", "a"]
    assert groups("file", []).names == []


@pytest.mark.parametrize("kind", [int, float, Decimal])
def test_a_label_is_a_quantity_if_it_is_many_numbers(kind):
    """Few numbers are names of classes; a point without a number has no place on the scale."""
    assert isinstance(labels("x", [kind(number % 3) for number in range(99)]), Groups)
    found = labels("x", [*map(kind, range(99)), None, kind("nan") if kind is not int else None])
    assert isinstance(found, Scale)
    assert found.values[:99].tolist() == list(range(99))
    assert np.isnan(found.values[99:]).all()


@pytest.mark.parametrize(
    "values", [[str(number) for number in range(99)], ["3_1", "31", "٣١", " 31", "3.1e1", "031"], [True, False, None]]
)
def test_texts_are_names(values):
    """However much they look like numbers: each is a group of its own."""
    found = labels("x", values * 2)
    assert isinstance(found, Groups)
    assert len(found.names) == min(len(values), MOST_GROUPS)
    assert labels("x", ["a", None, "a"]).names == ["a", "(none)"]


def test_wide_scales_are_logarithmic():
    """Lengths from 1 to 1,000 would all be pale otherwise."""
    assert scale("x", np.array([1.0, 1000.0])).logarithmic
    assert not scale("x", np.array([0.0, 1000.0])).logarithmic
    assert not scale("x", np.array([10.0, np.nan, 20.0])).logarithmic
    assert not scale("x", np.array([])).logarithmic
