"""Output arrays that are kept for the next shard."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from unrolled.format.columns import VectorColumn
from worker.pool.buffers import Buffers

LINE = 64
COLUMNS = (VectorColumn("none", 0, 16), VectorColumn("mean", 0, 3))
VECTOR_BYTES = 4 * 16
BUDGET = 100 * VECTOR_BYTES


class Lending(RuleBasedStateMachine):
    """Arrays are taken and given back in any order, each filled with its own number."""

    def __init__(self):
        super().__init__()
        self.buffers = Buffers(BUDGET)
        self.lent = []
        self.number = 0

    @rule(rows=st.integers(0, 9), tokens=st.integers(0, 120))
    def take(self, rows, tokens):
        arrays = self.buffers.take(COLUMNS, rows, tokens)
        assert [array.shape for array in arrays] == [(tokens, 16), (rows, 3)]
        for array in arrays:
            assert array.dtype == np.float32
            assert array.flags.c_contiguous
            assert array.size == 0 or array.ctypes.data % LINE == 0
            self.number += 1
            array[:] = self.number
        self.lent.append((arrays, self.number))

    @rule(data=st.data())
    def give(self, data):
        if self.lent:
            arrays, _ = self.lent.pop(data.draw(st.integers(0, len(self.lent) - 1)))
            self.buffers.give(arrays)

    @invariant()
    def nobody_wrote_into_another_ones_array(self):
        for (outputs, means), number in self.lent:
            assert (means == number).all()
            assert (outputs == number - 1).all()

    @invariant()
    def the_budget_is_kept(self):
        lent = sum(arrays[0].base.nbytes for arrays, _ in self.lent)
        assert lent <= self.buffers.bytes_held <= max(BUDGET, lent)
        for arrays, _ in self.lent:  # Blocks are larger than what was asked for by the rest of a cache line at most.
            assert 0.75 * arrays[0].base.nbytes <= sum(array.nbytes for array in arrays) + 2 * LINE


TestLending = Lending.TestCase
TestLending.settings = settings(max_examples=50, deadline=None)


def test_memory_is_used_again():
    """Arrays of about one size use the same memory again."""
    buffers = Buffers(BUDGET)
    first = buffers.take(COLUMNS, 1, 50)
    address = first[0].ctypes.data
    buffers.give(first)
    assert buffers.take(COLUMNS, 1, 40)[0].ctypes.data == address


def test_shards_that_differ_by_a_row_share_one_block():
    """Shards have about one length; a block for each length would fill the budget."""
    buffers = Buffers(1000 * BUDGET)
    for tokens in (1000, 1003, 998, 1017, 1001, 1040):
        buffers.give(buffers.take(COLUMNS, 1, tokens))
    assert buffers.bytes_held < 1.1 * 1000 * VECTOR_BYTES


def test_arrays_come_back_once():
    """Arrays that were given back twice would be lent to two shards at once."""
    buffers = Buffers(BUDGET)
    arrays = buffers.take(COLUMNS, 2, 5)
    held = buffers.bytes_held
    buffers.give(arrays)
    with pytest.raises(ValueError, match="before"):
        buffers.give(arrays)
    with pytest.raises(TypeError, match="take"):
        buffers.give([np.empty((5, 16), np.float32)])
    assert buffers.bytes_held == held


def test_what_is_over_the_budget_is_not_kept():
    """A giant shard's block is freed when it is given back."""
    buffers = Buffers(BUDGET)
    buffers.give(buffers.take(COLUMNS, 1, 1000))
    assert buffers.bytes_held == 0
