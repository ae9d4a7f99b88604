"""What only the user can say of cells: bounds of their states, their gates; and refusals where it says nothing."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.imported import assert_same, imported, states_of
from support.reference import layer_states, lstm_states

from unrolled.errors import ModelError

MODELS = Path(__file__).parents[2] / "torch_models"
ELMO = Path(__file__).parents[2] / "elmo_models" / "published"
ROWS = [[3], [1, 2], [10, 4, 4, 0, 7]]


def test_cells_and_projections_are_clipped(tmp_path):
    """As TensorFlow 1 does it: the cell before the output, the projected state after the projection."""
    clips = {"cell_clip": 0.3, "projection_clip": 0.2}
    done = imported(MODELS / "lstm2_projected.safetensors", tmp_path / "model", parity=1e-5, **clips)
    assert {(layer.cell_clip, layer.projection_clip) for layer in done.model.config.layers} == {(0.3, 0.2)}
    tensors = {
        name: array.astype(np.float64) for name, array in load_file(MODELS / "lstm2_projected.safetensors").items()
    }
    wanted = []
    for row in ROWS:
        states = tensors["embedding.weight"][row]
        for layer in ("l0", "l1"):
            w_ih, w_hh, w_hr = (tensors[f"rnn.weight_{side}_{layer}"].T for side in ("ih", "hh", "hr"))
            bias = tensors[f"rnn.bias_ih_{layer}"] + tensors[f"rnn.bias_hh_{layer}"]
            states = lstm_states(states, w_ih, w_hh, bias, w_hr, **clips)
        wanted.append(states)
    assert np.abs(wanted[-1]).max() == 0.2
    assert_same(wanted, states_of(done, ROWS, shift=1))


def test_without_the_options_nothing_is_clipped(tmp_path):
    """So the outputs differ from those of a program that clips."""
    plain = imported(MODELS / "lstm2_projected.safetensors", tmp_path / "plain")
    clipped = imported(MODELS / "lstm2_projected.safetensors", tmp_path / "clipped", cell_clip=0.1)
    rows = [layer_states(done.model.config, done.model.weights(), np.array([4, 5, 8]))[-1] for done in (plain, clipped)]
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gru2.safetensors", {"cell_clip": 3.0}, "--cell-clip 3: not every layer has such a state"),
        ("lstm2.safetensors", {"projection_clip": 3.0}, "--projection-clip 3: not every layer has such a state"),
        ("exported.onnx", {"cell_clip": 3.0}, "--cell-clip: this file's graph shows what its layers compute"),
    ],
)
def test_clips_that_cant_be_are_refused(name, options, message, tmp_path):
    """A GRU has no cell state, and a graph needs no word of the user's."""
    with pytest.raises(ModelError, match=message):
        imported(MODELS / name, tmp_path / "model", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "lstm1.safetensors",
            {"gates": "hard_sigmoid"},
            r"\(.*\): --recurrent-activation hard_sigmoid: .*; leave it out",
        ),
        ("lstm1.safetensors", {"forget_bias": 5.0}, r"\(.*\): --forget-bias 5: it has no LSTM .*; leave it out"),
        ("exported.onnx", {"gates": "sigmoid"}, r"--recurrent-activation sigmoid: .*; leave it out"),
        ("exported.onnx", {"forget_bias": 0.0}, r"--forget-bias 0: .*; leave it out"),
        (ELMO, {"gates": "sigmoid", "vocabulary": ELMO / "words.txt"}, r"--recurrent-activation sigmoid: .*; leave"),
        (ELMO, {"forget_bias": 1.0, "vocabulary": ELMO / "words.txt"}, r"--forget-bias 1: .*; leave it out"),
    ],
)
def test_what_is_said_of_cells_that_leave_nothing_open_is_refused(name, options, message, tmp_path):
    """PyTorch's gates have one activation, a graph shows its own, and only TensorFlow 1's programs add a number."""
    with pytest.raises(ModelError, match=message):
        imported(MODELS / name, tmp_path / "model", **options)
    assert not (tmp_path / "model").exists()
