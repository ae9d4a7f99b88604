"""What jobs may store, as a strategy."""

from dataclasses import replace
from types import SimpleNamespace

from hypothesis import strategies as st

from unrolled.format.columns import POOLINGS
from unrolled.format.output_spec import PRECISIONS, OutputSpec

THREE = SimpleNamespace(layer_dims=(8, 6, 4))


def specs():
    layers = st.lists(st.integers(0, 2), min_size=1, unique=True).map(sorted).map(tuple)
    pool = st.lists(st.sampled_from(POOLINGS), min_size=1, unique=True).map(
        lambda names: tuple(sorted(names, key=POOLINGS.index))
    )
    made = st.builds(OutputSpec, st.none() | layers, pool, st.sampled_from(PRECISIONS), st.booleans())
    zeros = made.filter(lambda spec: spec.pooling != ("none",)).map(lambda spec: replace(spec, empty_rows="zeros"))
    return made | zeros
