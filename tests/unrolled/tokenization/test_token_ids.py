"""The check of token ids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import RowError
from unrolled.tokenization.token_ids import checked_ids

BAD_TOKENS = [
    ([1, -1], "token -1 at position 1 (from 0); allowed: 0 (padding) and 1..9"),
    ([10], "token 10 at position 0"),
    ([1, True], "token true at position 1 (from 0); not an integer"),
    ([1.0], "token 1.0 at position 0 (from 0); not an integer"),
    ([1, None], "token null at position 1"),
    (["1"], "token '1' at position 0"),
    ([[1]], "token [1] at position 0"),
    ([2**63], "token 9223372036854775808 at position 0"),
    ([1, 10**5000], "at position 1"),
    ("1 2", "its tokens are '1 2'; allowed: a list of integers"),
    (None, "its tokens are null"),
    (3, "its tokens are 3"),
    ({"a": 1}, "allowed: a list of integers"),
    (np.array([1, -2]), "token -2 at position 1"),
    (np.array([2**64 - 1], np.uint64), "token 18446744073709551615 at position 0"),
    (np.array([1.5]), "token 1.5 at position 0"),
]


@pytest.mark.parametrize(("tokens", "reason"), BAD_TOKENS)
def test_bad_ids(tokens, reason):
    """The reason names the first bad value and its position; rows before and after are good."""
    first, bad, last = checked_ids([[1], tokens, []], 9)
    assert reason in str(bad)
    assert [first.tolist(), last.tolist()] == [[1], []]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(0, 9)),
            st.lists(st.integers(0, 9)).map(lambda ids: np.array(ids, np.uint8)),
            st.lists(st.integers(0, 9)).map(lambda ids: np.array(ids, np.int64)),
            st.lists(st.one_of(st.integers(), st.booleans(), st.none(), st.floats(), st.text())),
            st.text(),
        )
    )
)
def test_together_as_alone(rows):
    """A row's ids don't depend on the other rows, and equal a plain check of each value."""
    together = checked_ids(rows, 9)
    assert len(together) == len(rows)
    for row, found in zip(rows, together, strict=True):
        values = row.tolist() if isinstance(row, np.ndarray) else row
        good = isinstance(values, list) and all(type(value) is int and 0 <= value <= 9 for value in values)
        assert isinstance(found, RowError) is not good
        if good:
            assert found.tolist() == values
            assert found.dtype == np.int32
        assert isinstance(checked_ids([row], 9)[0], RowError) is not good
