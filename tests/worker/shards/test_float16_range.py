"""Which rows float16 can't hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.ragged_rows import ragged

from unrolled.format.columns import VectorColumn
from worker.shards.float16_range import TOO_LARGE, rows_beyond_float16

ROWS = ragged([[1, 2], [], [3], [4, 5, 6]])
COLUMNS = (VectorColumn("none", None, 2), VectorColumn("max", None, 2))
#: From far below the limit to far above it, and what is no number.
NUMBERS = st.sampled_from([0.0, 1.0, 65504.0, 65519.99, TOO_LARGE, -TOO_LARGE, -65504.0, 1e30, np.inf, -np.inf, np.nan])


@given(
    arrays(np.float32, (6, 2), elements=NUMBERS.map(np.float32)),
    arrays(np.float32, (4, 2), elements=NUMBERS.map(np.float32)),
)
def test_they_are_the_rows_that_rounding_would_make_infinite(outputs, pooled):
    """No other row fails, whichever column and vector the number is in."""
    found = rows_beyond_float16(ROWS, [outputs, pooled], COLUMNS)
    with np.errstate(over="ignore"):
        infinite = [np.isinf(array.astype(np.float16)).any(axis=1) for array in (outputs, pooled)]
    starts = ROWS.offsets
    expected = {row for row in range(4) if infinite[0][starts[row] : starts[row + 1]].any() or infinite[1][row]}
    assert set(found) == expected


def test_the_reason_names_column_number_and_remedy():
    """The first column that is too large is enough."""
    outputs = np.zeros((6, 2), np.float32)
    outputs[2, 1] = -70_000
    assert rows_beyond_float16(ROWS, [outputs, np.zeros((4, 2), np.float32)], COLUMNS) == {
        2: "outputs has the number 70000; float16 ends at 65504, and a retry ends alike: start a job with "
        "--precision float32 and another --out"
    }


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS[:1]])
def test_rows_without_vectors_have_none(columns):
    """A shard of empty rows, or of none."""
    empty = ragged([[], []])
    vectors = [np.zeros((column.vectors(2, 0), 2), np.float32) for column in columns]
    assert rows_beyond_float16(empty, vectors, columns) == {}
