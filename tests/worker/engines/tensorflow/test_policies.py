"""What a program has set for Keras's own layers changes nothing here: they compute in float32, on TensorFlow."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.imported import imported
from support.model_configs import KINDS
from support.ragged_rows import ragged
from support.reference import layer_states, random_weights
from support.shell import environment, unrolled
from support.skips import long, one_in

from unrolled.format.output_spec import OutputSpec
from unrolled.model.directory import save_model
from worker.engines.tensorflow.engine import TensorFlowEngine

MORE = long("one more backend, of half a minute")
# Keras's variables warn with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(params=["mixed_float16", "bfloat16"])
def policy(request):
    """A program's own settings."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.parametrize("kind", one_in(3, KINDS))
def test_every_kind_of_layer_computes_in_float32(kind, policy, tmp_path):
    """As NumPy does in float64, to 1e-5."""
    config = KINDS[kind]
    weights = random_weights(config, 1)
    engine = TensorFlowEngine(save_model(tmp_path / "model", config, weights), device="cpu")
    random = np.random.default_rng(0)
    rows = [random.integers(1, config.vocab_size + 1, length, np.int32) for length in (1, 3, 8)]
    (column,) = OutputSpec().columns(config)
    made = np.empty((sum(map(len, rows)), column.width), np.float32)
    engine.compute([ragged(rows)], [[made]], [column])
    wanted = np.concatenate([layer_states(config, weights, row)[-1] for row in rows])
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5)
    assert keras.config.dtype_policy().name == policy


def test_an_import_compares_in_float32(policy, tmp_path):
    """With the file's own graph; the program's settings are there again afterwards."""
    ids = keras.Input((None,), dtype="int32")
    vectors = keras.layers.Embedding(20, 4, mask_zero=True, dtype="float32")(ids)
    keras.Model(ids, keras.layers.LSTM(5, return_sequences=True, dtype="float32")(vectors)).save(tmp_path / "m.keras")
    parity = imported(tmp_path / "m.keras", tmp_path / "model", parity=1e-5).parity
    assert (parity.whole, parity.missing) == (True, [])
    assert (keras.config.dtype_policy().name, keras.config.floatx()) == (policy, "float16")


@pytest.fixture(
    params=[
        pytest.param(("torch", "jax"), marks=MORE),
        pytest.param(("numpy", "jax"), marks=MORE),
        ("theano", "jax"),
        pytest.param(("", "jax"), marks=MORE),
        pytest.param(("", "numpy"), marks=MORE),
        pytest.param(("", "theano"), marks=MORE),
    ]
)
def others(request, tmp_path, monkeypatch):
    """The settings of a user whose variable or keras.json names a backend that isn't there, and another type."""
    variable, in_file = request.param
    (tmp_path / "keras.json").write_text(json.dumps({"floatx": "float16", "backend": in_file}))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", variable)
    return variable or in_file


@pytest.mark.usefixtures("others")
def test_commands_use_tensorflow(tmp_path):
    """A training and a job, whatever the user's own programs use."""
    (tmp_path / "corpus.txt").write_text(
        "".join(f"the cat {number} sat on mat {number % 7}\n" for number in range(200))
    )
    sizes = ("--vocab-size", "300", "--lstm-units", "8", "--embedding-dim", "8", "--epochs", "1")
    done = unrolled("model", "fit", "corpus.txt", "--out", "model", *sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = unrolled("run", "corpus.txt", "--model", "model", "--out", "out", "--engine", "tensorflow", "--no-report",
                    cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_another_backend_in_a_program_is_named(others, tmp_path):
    """Keras can't be changed once it is imported."""
    save_model(tmp_path / "model", KINDS["gru"], random_weights(KINDS["gru"], 1))
    code = "import unrolled; unrolled.load('model', engine='tensorflow')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment()
    )
    assert done.returncode == 1
    said = f"Keras is set to compute with {others} in this program, and this needs Keras on TensorFlow: set the"
    assert said in done.stderr
