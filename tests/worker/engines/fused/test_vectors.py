"""The fused engine on rows of vectors: an embedding's bytes, alone and in any company, on any processor."""

import tempfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference
from support.model_configs import maps, model_configs

from unrolled.errors import RequestError
from unrolled.format.output_spec import OutputSpec
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.vectors import VectorRow, numbered
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

VOCAB = 5
TEXTS = st.lists(st.lists(st.integers(1, VOCAB), max_size=6), min_size=1, max_size=6)


def compute(engine, config, shards):
    """For each shard the bytes of the layers' vectors, pooled and not, of each row."""
    columns = OutputSpec(tuple(range(len(config.layers))), ("none", "mean")).columns(config)
    outputs = [[np.empty((c.vectors(s.rows, s.values.size), c.width), np.float32) for c in columns] for s in shards]
    engine.compute(shards, outputs, columns)
    return [
        [
            tuple(
                (a[s.offsets[row] : s.offsets[row + 1]] if c.per_token else a[row]).tobytes()
                for a, c in zip(arrays, columns, strict=True)
            )
            for row in range(s.rows)
        ]
        for s, arrays in zip(shards, outputs, strict=True)
    ]


def shard_of(rows):
    return numbered([VectorRow(row, np.ones(len(row), np.bool_)) for row in rows], rows[0].shape[1])


def engines(directory, arithmetic):
    """An engine for each instruction set that this machine has, and whether its bytes are those of the others."""
    for isa in library.available_isas(arithmetic):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(library.ISA_VARIABLE, isa)
            yield FusedEngine(directory, arithmetic, 2), isa != "portable" or arithmetic == "bfloat16"


def saved(config, weights, directory):
    return save_model(tempfile.mkdtemp(dir=directory), config, {name: weights[name] for name in config.shapes()})


@settings(max_examples=6, deadline=None)
@given(st.data(), model_configs(largest_vocabulary=VOCAB), TEXTS, st.integers(0, 6))
def test_any_model(tmp_path_factory, data, config, texts, cut):
    """In float32 vectors give the bytes that their ids give; in any arithmetic, they don't depend on the company."""
    directory, width = tmp_path_factory.mktemp("models"), data.draw(st.integers(1, 40))
    config = replace(config, vocab_size=VOCAB, embedding_dim=width, layers=_unbound(config.layers))
    weights = reference.random_weights(config, 1, 0.4)
    of_vectors = replace(config, vocab_size=0, embedding_dim=None, vector_dim=width)
    model, ids = saved(of_vectors, weights, directory), [np.array(text, np.int32) for text in texts]
    rows = [weights["embedding"][row] for row in ids]
    for arithmetic in ("float32", "bfloat16"):
        seen = set()
        for engine, agrees in engines(model, arithmetic):
            (together,) = compute(engine, of_vectors, [shard_of(rows)])
            parts = [shard_of(part) for part in (rows[:cut], rows[cut:]) if part]
            assert [row for part in compute(engine, of_vectors, parts[::-1])[::-1] for row in part] == together
            assert [compute(engine, of_vectors, [shard_of([row])])[0][0] for row in rows] == together
            # A few rows of a shard have the bytes of the whole one.
            assert (
                compute(engine, of_vectors, [shard_of(rows).take(cut % len(rows), len(rows))])[0]
                == together[cut % len(rows) :]
            )
            seen |= {tuple(together)} if agrees else set()
        assert len(seen) <= 1
    one = FusedEngine(saved(config, weights, directory), "float32", 1)
    given_ids = Ragged.from_lengths(np.concatenate(ids), [len(row) for row in ids])
    (wanted,) = compute(one, config, [given_ids])
    assert compute(FusedEngine(model, "float32", 1), of_vectors, [shard_of(rows)]) == [wanted]


def _unbound(layers):
    """Layers without sums, which may have been with an embedding of another width."""
    return tuple(replace(layer, residual=False, span=1) for layer in layers)


@settings(max_examples=8, deadline=None)
@given(st.data(), st.sampled_from(["forward", "backward", "bidirectional"]), TEXTS)
def test_maps_below_the_first_layer(tmp_path_factory, data, direction, texts):
    """Maps of the rows' own vectors are right, in every arithmetic, also where only their results are stored."""
    below = [data.draw(maps(20, 6))]
    below.append(data.draw(maps(20, below[0].units)))
    layers = (*below, LayerConfig(9, direction=direction), LayerConfig(4, "gru"))
    config = ModelConfig(0, 9, None, layers, vector_dim=6)
    weights = reference.random_weights(config, 2, 0.4)
    model, table = saved(config, weights, tmp_path_factory.mktemp("models")), np.random.default_rng(0)
    table = table.standard_normal((VOCAB + 1, 6), np.float32)
    rows = [table[text] for text in texts]
    shard = shard_of(rows)
    for arithmetic, bound in (("float32", 1e-5), ("bfloat16", 0.1)):
        engine = FusedEngine(model, arithmetic, 1)
        for layer in range(len(layers)):
            (column,) = OutputSpec((layer,)).columns(config)
            made = np.empty((shard.values.size, column.width), np.float32)
            engine.compute([shard], [[made]], (column,))
            wanted = [reference.layer_states(config, weights, row)[layer] for row in rows]
            np.testing.assert_allclose(made, np.concatenate(wanted), rtol=0, atol=bound)


@pytest.mark.parametrize(
    ("shard", "reason"),
    [
        (Ragged.from_lengths(np.ones(2, np.int32), [2]), "has no vectors"),
        (Ragged.from_lengths(np.ones(2, np.int32), [2], np.zeros((1, 4), np.float32)), r"vectors float32 \(1, 4\)"),
        (Ragged.from_lengths(np.ones(2, np.int32), [2], np.zeros((1, 3))), "vectors float64"),
        (Ragged.from_lengths(np.array([1, 2], np.int32), [2], np.zeros((1, 3), np.float32)), "isn't the number of one"),
        (Ragged.from_lengths(np.array([0], np.int32), [1], np.zeros((1, 3), np.float32)), "isn't the number of one"),
    ],
)
def test_other_shards_are_refused(shard, reason, tmp_path):
    """A kernel trusts what it gets, so a shard without the vectors that its rows name never reaches it."""
    config = ModelConfig(0, 9, None, (LayerConfig(2),), vector_dim=3)
    engine = FusedEngine(saved(config, reference.random_weights(config, 1), tmp_path))
    with pytest.raises(RequestError, match=reason):
        compute(engine, config, [shard])
