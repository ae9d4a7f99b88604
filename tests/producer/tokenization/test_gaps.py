"""Rows with padding between their tokens."""

import numpy as np
import pytest

from producer.tokenization.gaps import count_gaps, line_of_gaps


@pytest.mark.parametrize("length", [1, 1000])
@pytest.mark.parametrize(
    ("row", "gaps"),
    [([], 0), ([0, 0], 0), ([1, 2], 0), ([0, 1, 2, 0, 0], 0), ([1, 0, 2], 1), ([0, 3, 0, 0, 3, 0], 1)],
)
def test_padding_at_the_ends_is_no_gap(row, gaps, length):
    """Short and long rows."""
    rows = [np.full(length, 7, np.int32), np.repeat(np.array(row, np.int32), length)]
    assert count_gaps(rows) == gaps
    assert count_gaps([]) == 0


def test_a_line_says_what_to_do():
    """It names the page that explains ids."""
    assert line_of_gaps(1).startswith("1 row contains the padding id 0 between tokens")
    assert "docs/token_ids.md" in line_of_gaps(2)
