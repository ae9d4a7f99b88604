"""What points are coloured by."""

import numpy as np

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


def test_a_label_is_a_quantity_if_it_is_many_numbers():
    """Few numbers are names of classes."""
    assert isinstance(labels("x", [str(number % 3) for number in range(99)]), Groups)
    assert isinstance(labels("x", [str(number) for number in range(99)] + [None]), Scale)
    assert isinstance(labels("x", [str(number) for number in range(99)] + ["nan"]), Groups)
    assert labels("x", ["a", None, "a"]).names == ["a", "(none)"]


def test_wide_scales_are_logarithmic():
    """Lengths from 1 to 1,000 would all be pale otherwise."""
    assert scale("x", np.array([1.0, 1000.0])).logarithmic
    assert not scale("x", np.array([0.0, 1000.0])).logarithmic
    assert not scale("x", np.array([10.0, np.nan, 20.0])).logarithmic
    assert not scale("x", np.array([])).logarithmic
