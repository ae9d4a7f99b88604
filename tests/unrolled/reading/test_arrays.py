"""Arrow's arrays as NumPy's, and the other way round: as pyarrow converts them, and without pandas."""

import importlib.util
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.jobs import finished_job
from support.shell import environment

from unrolled.reading.arrays import arrow, numbers, truths

KINDS = (np.int32, np.int64, np.uint8, np.float16, np.float32, np.float64)
PLACES = st.integers(0, 40)


@given(st.lists(st.integers(0, 100), max_size=40), st.sampled_from(KINDS), PLACES, PLACES)
def test_numbers(values, kind, start, length):
    """Of any slice: a view that can't be written."""
    own = np.array(values, kind)
    array = arrow(own).slice(start, length)
    found = numbers(array)
    assert (found.dtype, found.tolist(), array.to_pylist()) == (own.dtype, *[own[start : start + length].tolist()] * 2)
    assert not found.flags.writeable
    assert not len(found) or np.shares_memory(found, own)


@given(st.lists(st.booleans(), max_size=40), PLACES, PLACES)
def test_truths(values, start, length):
    """Of any slice, which may begin within a byte."""
    array = arrow(np.array(values, np.bool_)).slice(start, length)
    found = truths(array)
    assert found.tolist() == array.to_pylist() == values[start : start + length]
    assert not found.flags.writeable


def test_every_second_number():
    """Of numbers that aren't side by side, a copy."""
    assert arrow(np.arange(10, dtype=np.int32)[::2]).to_pylist() == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("array", [pa.array([1, None]), pa.array([True, None])])
def test_nulls_are_refused(array):
    """A view has no place for them."""
    with pytest.raises(ValueError, match="1 of 2 values are null; allowed: none"):
        (truths if array.type == pa.bool_() else numbers)(array)


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="machine: pandas isn't installed")
def test_reading_does_not_import_pandas(tmp_path):
    """It takes longer to load than a small job takes to be read."""
    finished_job(tmp_path, options={"pooling": ["none", "mean"]})
    code = """
import sys, unrolled
from producer.jobs.verify import verify_job
from unrolled.protocol.opening import open_job
out = sys.argv[1]
assert not verify_job(open_job(out)).problems
dataset = unrolled.open(out)
rows = [row for row in dataset if row.length]
assert dataset[rows[0].id].length and dataset.neighbours(rows[0].id, 1) and dataset.pooled("max")
assert [len(batch.values) for batch in dataset.batches()]
sys.exit("pandas was imported" if "pandas" in sys.modules else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
