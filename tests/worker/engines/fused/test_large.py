"""The fused engine on large models and long rows; and all of its tests on each instruction set."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.ragged_rows import ragged
from support.skips import long

from unrolled.format.columns import VectorColumn
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from unrolled.tokenization.ragged import Ragged
from worker.engines.fused import library
from worker.engines.fused.engine import FusedEngine

pytestmark = pytest.mark.skipif(library.why_unavailable() is not None, reason=str(library.why_unavailable()))

ISAS = [] if library.why_unavailable() else library.available_isas()
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[3]


def last_layer(units, layer=1):
    """The last layer's states, as the only column."""
    return (VectorColumn("none", layer, units),)


def compute(engine, rows, units, layer=1):
    shard = ragged(rows)
    output = np.full((shard.values.size, units), np.nan, np.float32)
    engine.compute([shard], [[output]], last_layer(units, layer))
    return [output[a:b] for a, b in zip(shard.offsets, shard.offsets[1:], strict=False)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_model_of_4096_units(tmp_path):
    """Its states are NumPy's, alone and among others. It takes 1 GB: the weights, and the kernel's copy of them."""
    units, vocab_size = 4096, 6
    config = ModelConfig.stacked(vocab_size, 16, units, 1, 4)
    random = np.random.default_rng(0)
    weights = {
        name: (random.random(shape, np.float32) - np.float32(0.5)) * np.float32(4 / np.sqrt(shape[0]))
        for name, shape in config.shapes().items()
    }
    engine = FusedEngine(save_model(tmp_path, config, weights), threads=2)
    rows = [[1, 2, 3, 4], [1, 2, 5], [6, 1], [3]]
    found = compute(engine, rows, units, layer=0)
    kernel, recurrent, bias = (weights[f"lstm.0.{part}"] for part in ("kernel", "recurrent_kernel", "bias"))
    hidden = cell = np.zeros(units, np.float32)
    for token, state in zip(rows[0], found[0], strict=True):
        i, f, c, o = np.split(weights["embedding"][token] @ kernel + hidden @ recurrent + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        hidden = sigmoid(o) * np.tanh(cell)
        assert np.abs(state - hidden).max() < 1e-5
    assert np.abs(found[0]).max() > 0.1
    for row, states in zip(rows, found, strict=True):
        assert states.tobytes() == compute(engine, [row], units, layer=0)[0].tobytes()


def test_a_row_of_1000_tokens_is_the_reference_models(tmp_path):
    """`LanguageModel.run_lstm` gives equal vectors to 1e-5, up to the last token, with and without padding."""
    # TensorFlow takes seconds, and the other tests don't use it.
    import tensorflow as tf  # noqa: PLC0415

    from worker.models.language_model import LanguageModel  # noqa: PLC0415

    config = ModelConfig.stacked(300, 1000, 96, 2, 8)
    weights = new_weights(config, 3)
    weights["embedding"] *= 40  # as large as a trained one's
    model = save_model(tmp_path, config, weights)
    random = np.random.default_rng(0)
    ids = random.integers(1, 301, (2, 1100))
    ids[0, random.permutation(1100)[:100]] = 0
    ids[1, 1000:] = 0
    # As one function it takes a second; step by step 2,200 calls of a cell take ten.
    run_lstm = tf.function(LanguageModel.from_directory(model).run_lstm)
    wanted = run_lstm(ids.astype(np.int32), is_training=False)[0].numpy()
    found = compute(FusedEngine(model, threads=2), [row[row > 0].tolist() for row in ids], 96)
    for row, states, reference in zip(ids, found, wanted, strict=True):
        assert len(states) == 1000
        assert np.abs(states - reference[row > 0]).max() < 1e-5
        assert np.abs(states).max() > 0.1


@pytest.mark.parametrize("arithmetic", library.ARITHMETICS)
@pytest.mark.parametrize(
    "tokens",
    [
        30_000,
        pytest.param(1_000_000, marks=long("a minute")),
    ],
)
@pytest.mark.timeout(600)  # emulated matrix units take a minute for the shorter row
def test_a_long_row_in_a_pool_of_short_ones(tokens, arithmetic, tmp_path):
    """Memory beside the outputs doesn't grow with it, and its bytes begin with those of its beginnings."""
    units = 64
    config = ModelConfig.stacked(50, tokens, units, 2, 8)
    engine = FusedEngine(save_model(tmp_path, config, new_weights(config, 1)), arithmetic, threads=2)
    random = np.random.default_rng(0)
    lengths = [tokens, *random.integers(0, 40, 300)]
    values = random.integers(1, 51, sum(lengths)).astype(np.int32)
    shard = Ragged.from_lengths(values, lengths)
    output = np.ones((len(values), units), np.float32)  # now the system has provided every page
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine.compute([shard], [[output]], last_layer(units))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64_000  # KiB
    (beginning,) = compute(engine, [values[:500].tolist()], units)
    assert output[:500].tobytes() == beginning.tobytes()
    assert np.isfinite(output).all()


@pytest.mark.parametrize("isa", ISAS)
def test_all_of_the_engines_tests_on_each_instruction_set(isa):
    """Tests that don't choose an instruction set run again with each that this machine has."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={REPOSITORY}"),
            *(
                "-k",
                "not any_company and not any_width and not off_it and not million and not tensorflow and not compiler",
            ),
            *map(str, (HERE / "test_engine.py", HERE / "test_plan.py")),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "UNROLLED_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
