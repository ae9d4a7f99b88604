"""Output arrays that are used again."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from worker.buffers import Buffers

UNITS = 2
ROW_BYTES = 4 * UNITS
BUDGET = 100 * ROW_BYTES


class Lending(RuleBasedStateMachine):
    """Arrays are taken and given back in any order, each filled with its own number."""

    def __init__(self):
        super().__init__()
        self.buffers = Buffers(UNITS, BUDGET)
        self.lent = []
        self.number = 0

    @rule(tokens=st.integers(0, 120))
    def take(self, tokens):
        array = self.buffers.take(tokens)
        assert array.shape == (tokens, UNITS)
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        self.number += 1
        array[:] = self.number
        self.lent.append((array, self.number))

    @rule(data=st.data())
    def give(self, data):
        if self.lent:
            array, _ = self.lent.pop(data.draw(st.integers(0, len(self.lent) - 1)))
            self.buffers.give(array)

    @invariant()
    def nobody_wrote_into_another_ones_array(self):
        for array, number in self.lent:
            assert (array == number).all()

    @invariant()
    def the_budget_is_kept(self):
        lent = sum(array.base.nbytes for array, _ in self.lent)
        assert lent <= self.buffers.bytes_held <= max(BUDGET, lent)
        # What is lent is little larger than what was asked for.
        assert all(0.75 * array.base.nbytes <= array.nbytes for array, _ in self.lent)


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=50, deadline=None)


def test_memory_is_used_again():
    """An array of a similar size comes back, not fresh pages."""
    buffers = Buffers(UNITS, BUDGET)
    first = buffers.take(50)
    address = first.ctypes.data
    buffers.give(first)
    assert buffers.take(40).ctypes.data == address


def test_shards_that_differ_by_a_row_share_one_array():
    """Shards are cut alike, but not to the token: an array for each would fill the budget, whatever is in flight."""
    buffers = Buffers(UNITS, 1000 * BUDGET)
    for tokens in (1000, 1003, 998, 1017, 1001, 1040):
        buffers.give(buffers.take(tokens))
    assert buffers.bytes_held < 1.1 * 1000 * ROW_BYTES


def test_an_array_comes_back_once():
    """Giving it twice would lend it to two shards at once."""
    buffers = Buffers(UNITS, BUDGET)
    array = buffers.take(5)
    buffers.give(array)
    with pytest.raises(ValueError, match="before"):
        buffers.give(array)
    with pytest.raises(TypeError, match="take"):
        buffers.give(np.empty((5, UNITS), np.float32))
    assert buffers.bytes_held == 5 * ROW_BYTES


def test_what_is_over_the_budget_is_not_kept():
    """A giant shard's array goes as soon as it is given back."""
    buffers = Buffers(UNITS, BUDGET)
    buffers.give(buffers.take(1000))
    assert buffers.bytes_held == 0
