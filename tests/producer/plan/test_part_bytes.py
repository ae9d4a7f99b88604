"""The bytes of parts, against the writer of parts itself."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.output_specs import THREE, specs
from support.parts import written

from producer.plan.part_bytes import Content, part_bytes, parts_of
from unrolled.format.output_spec import OutputSpec
from unrolled.format.positions import Positions


def content_of(lists, ids, parts=1):
    values = [token for row in lists for token in row]
    real = sum(token != 0 for token in values)
    empty = sum(not any(row) for row in lists)
    return Content(parts, len(lists), real, len(values), sum(map(len, ids)), empty, empty)


@settings(deadline=None)
@given(specs(), st.integers(1, 400), st.integers(0, 60), st.integers(0, 3), st.randoms(use_true_random=False))
def test_the_formula_is_what_the_writer_writes(spec, rows, longest, zeros, rng):
    """For any choice of columns, with and without padding and empty rows: within 2 % and some hundred bytes."""
    lists = [[rng.randint(0 if zeros == 0 else 1, 3) for _ in range(rng.randint(0, longest))] for _ in range(rows)]
    ids = [f"row#{number}" for number in range(rows)]
    columns = spec.columns(THREE)
    fact = written(lists, ids, spec, columns)
    assert part_bytes(content_of(lists, ids), spec, columns) == pytest.approx(fact, rel=0.02, abs=500)


@pytest.mark.parametrize("pooling", [("none",), ("mean",), ("none", "max")])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_wide_vectors_over_many_row_groups(pooling, precision):
    """Of wide vectors, the formula is within half a per cent."""
    spec = OutputSpec(None, pooling, precision)
    columns = spec.columns(SimpleNamespace(layer_dims=(256,)))
    rng = np.random.default_rng(1)
    lists = [[1] * int(length) for length in rng.integers(1, 40, 1_000)]
    ids = [f"a/long/name.txt#{number}" for number in range(len(lists))]
    fact = written(lists, ids, spec, columns)
    assert part_bytes(content_of(lists, ids), spec, columns) == pytest.approx(fact, rel=0.005)


@pytest.mark.parametrize("every", [1, 3, 7])
def test_vectors_at_some_positions(every):
    """A column says which, and rows that are too short have none."""
    spec = OutputSpec(positions=Positions("every", every))
    columns = spec.columns(THREE)
    rng = np.random.default_rng(1)
    lists = [[1] * int(length) for length in rng.integers(0, 12, 500)]
    ids = [f"row#{number}" for number in range(len(lists))]
    vectors = sum(len(row) // every for row in lists)
    content = content_of(lists, ids)._replace(vectors=vectors, bare=sum(len(row) < every for row in lists))
    assert part_bytes(content, spec, columns) == pytest.approx(written(lists, ids, spec, columns), rel=0.02, abs=500)


@pytest.mark.parametrize(
    ("rows", "tokens", "parts"),
    [(0, 0, 0), (1, 5, 1), (1, 500, 1), (100, 1_000, 10), (1_000, 10, 20), (3, 1_000, 3)],
)
def test_parts_end_where_tokens_or_rows_are_enough(rows, tokens, parts):
    """A hundred tokens or fifty rows fill one, and a row is never cut."""
    assert parts_of(rows, tokens, 100, 50) == parts
