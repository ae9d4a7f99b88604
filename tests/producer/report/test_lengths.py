"""Lengths and padding, against a plain count."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from producer.report.lengths import BATCH_ROWS, MOST_BARS, Lengths, nice

parts = st.lists(
    st.lists(st.integers(0, 90) | st.sampled_from([700, 65_535, 65_536, 2**31 - 1]), max_size=80), max_size=4
)


def padded(lengths):
    batches = [lengths[start : start + BATCH_ROWS] for start in range(0, len(lengths), BATCH_ROWS)]
    return sum(max(batch) * len(batch) for batch in batches)


@given(parts)
def test_sums_and_padding(found):
    """Whatever the lengths are; very long rows cost no memory."""
    counted = Lengths()
    for part in found:
        counted.add(np.array(part, np.int32))
    every = sorted(length for part in found for length in part)
    assert (counted.rows, counted.tokens, counted.longest) == (len(every), sum(every), max(every, default=0))
    assert counted.padded_in_order == padded([length for part in found for length in part])
    assert counted.padded_sorted == padded(every)
    assert counted.padded_whole == len(every) * max(every, default=0)
    if every:
        assert counted.quantile(0.5) == every[-(-len(every) // 2) - 1]
        bars, longer = counted.histogram()
        assert sum(bar.rows for bar in bars) + longer == len(every)
        assert len(bars) <= MOST_BARS + 1
        for bar in bars:
            assert bar.rows == sum(bar.first <= length <= bar.last for length in every)


def test_widths_are_round_numbers():
    """As people count."""
    assert [nice(value) for value in (0.5, 1, 1.1, 3, 7, 11, 49, 51, 1001)] == [1, 1, 2, 5, 10, 20, 50, 100, 2000]
