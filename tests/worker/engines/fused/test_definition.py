"""Bfloat16 has one definition: every instruction set gives its bytes, for every kind of layer."""

import tempfile
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bfloat16, reference
from support.model_configs import model_configs
from support.ragged_rows import ragged

from unrolled.format.columns import VectorColumn
from unrolled.model.directory import save_model
from worker.engines.fused import engine as fused
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

ISAS = [] if library.why_unavailable() else library.available_isas("bfloat16")
VOCAB = 6


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@given(
    # More than two blocks of the depth, and more than one panel of every instruction set.
    config=model_configs(widest=70, largest_vocabulary=VOCAB),
    rows=st.lists(st.lists(st.integers(1, VOCAB), max_size=5), min_size=1, max_size=9),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-18, 0.05, 0.4, 4, 60]),  # from products that vanish to gates beyond both caps
    tabled=st.booleans(),
    arithmetic=st.sampled_from(["bfloat16", "bfloat16x3"]),
)
@settings(max_examples=25, deadline=None)
def test_every_instruction_set_gives_the_definitions_bytes(directory, config, rows, seed, scale, tabled, arithmetic):
    """Each state of each layer, on every instruction set of this machine."""
    rows = [[(token - 1) % config.vocab_size + 1 for token in row] for row in rows]
    weights = reference.random_weights(config, seed, scale)
    model = save_model(tempfile.mkdtemp(dir=directory), config, weights)
    wanted = [bfloat16.layer_states(config, weights, row, tabled, arithmetic) for row in rows]
    shard = ragged(rows)
    columns = tuple(VectorColumn("none", layer, width) for layer, width in enumerate(config.layer_dims))
    for isa in ISAS:
        outputs = [np.full((shard.values.size, column.width), np.nan, np.float32) for column in columns]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNROLLED_ISA", isa)
            patch.setattr(fused, "TABLE_BYTES", (1 << 20) * tabled)
            FusedEngine(model, arithmetic, 1).compute([shard], [outputs], columns)
        for layer, output in enumerate(outputs):
            exact = np.concatenate([states[layer] for states in wanted])
            assert output.tobytes() == exact.tobytes(), (isa, layer, np.argwhere(output != exact)[:3])


@given(st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3))
@settings(max_examples=300, deadline=None)
def test_the_references_multiply_add_rounds_once(bits):
    """It equals exact arithmetic, rounded to float32."""
    a, b, c = np.array(bits, np.uint32).view(np.float32)
    if not np.isfinite([a, b, c]).all() or max(abs(a), abs(b), abs(c)) > 1e18 or min(abs(a), abs(b)) < 1e-18:
        return
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    [found] = bfloat16.fma(np.array([a]), np.array([b]), np.array([c]))
    below, above = np.nextafter(found, np.float32(-np.inf)), np.nextafter(found, np.float32(np.inf))
    error = abs(Fraction(float(found)) - exact)
    assert error <= min(abs(Fraction(float(x)) - exact) for x in (below, above))
