"""PyTorch's state dicts, made by tests/torch_models/make.py; read without PyTorch, and with it if it is installed."""

import json
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.imported import assert_same, imported, states_of
from support.skips import long

from worker.model_import.errors import ImportRefusedError
from worker.model_import.readers.torch.state_dict import tensors_of

MODELS = Path(__file__).parents[2] / "torch_models"
#: The development environment has no PyTorch, which takes gigabytes: the tensors are read from .safetensors.
PYTORCH = long("needs PyTorch, which nothing else here needs")
ROWS = [[3], [1, 2], [10, 4, 4, 0, 7], [5, 6, 7, 8, 9, 10, 1, 2, 3]]
EXPECTED = np.load(MODELS / "expected.npz")
CASES = sorted({name.rpartition(".")[0] for name in EXPECTED})


def expected(case):
    return [EXPECTED[f"{case}.{number}"] for number in range(len(ROWS))]


@pytest.mark.parametrize("case", CASES)
def test_modules_give_pytorchs_own_outputs(case, tmp_path):
    """All kinds of nn.LSTM and nn.GRU give PyTorch's outputs for packed ragged rows."""
    done = imported(MODELS / f"{case}.safetensors", tmp_path / "model")
    assert done.made.ids_from == 0
    assert done.model.config.vocab_size == 11
    assert_same(expected(case), states_of(done, ROWS, shift=1))


def test_the_cases_cover_what_is_promised():
    """One to three layers, both directions, projection, without bias, and GRU."""
    assert CASES == [
        "gru1_bidirectional",
        "gru2",
        "lstm1",
        "lstm1_no_bias",
        "lstm2",
        "lstm2_projected",
        "lstm2_projected_bidirectional",
        "lstm3_bidirectional",
    ]


def test_heads_are_left(tmp_path):
    """Everything except the embedding and the recurrent layers is named and left out."""
    done = imported(MODELS / "lstm2.safetensors", tmp_path / "model")
    assert done.made.left == ["head.bias", "head.weight"]
    assert done.made.taken == ["embedding: embedding of 11 rows, 4 wide", "rnn.0: lstm 5", "rnn.1: lstm 5"]


@pytest.mark.parametrize(
    ("case", "lacking", "named"),
    [
        ("lstm2", ["rnn.bias_hh_l1"], "bias_hh_l1"),
        ("lstm1", ["rnn.bias_hh_l0"], "bias_hh_l0"),
        ("lstm2", ["rnn.bias_ih_l0", "rnn.bias_ih_l1"], "bias_ih_l0"),
        ("lstm2", ["rnn.bias_ih_l0", "rnn.bias_hh_l0"], "bias_ih_l0"),
        ("gru1_bidirectional", ["rnn.bias_ih_l0_reverse", "rnn.bias_hh_l0_reverse"], "bias_ih_l0_reverse"),
    ],
)
def test_a_module_has_all_its_biases_or_none(case, lacking, named, tmp_path):
    """One that lacks some isn't whole, and its states would be others."""
    tensors = load_file(MODELS / f"{case}.safetensors")
    save_file({name: array for name, array in tensors.items() if name not in lacking}, tmp_path / "part.safetensors")
    with pytest.raises(ImportRefusedError, match=f"has biases, but not {named}: the file is a part of the model"):
        imported(tmp_path / "part.safetensors", tmp_path / "model")


def test_a_cell_with_one_bias(tmp_path):
    """It may be a cell that the user's program defines, or one of PyTorch's that has lost the other bias."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    cell = {name.replace("_l0", "").replace("rnn.", "cell."): array for name, array in tensors.items()}
    short = {name.replace("weight", "w").replace("bias", "b"): array for name, array in tensors.items()}
    save_file({name: array for name, array in short.items() if "b_hh" not in name}, tmp_path / "short.safetensors")
    notes = imported(tmp_path / "short.safetensors", tmp_path / "short", embedding="embedding").made.notes
    assert any("rnn has one bias, and PyTorch's own cells have two" in note for note in notes)
    for lacking, told in ((), False), (("cell.bias_ih",), True), (("cell.bias_ih", "cell.bias_hh"), False):
        save_file({name: array for name, array in cell.items() if name not in lacking}, tmp_path / "cell.safetensors")
        notes = imported(tmp_path / "cell.safetensors", tmp_path / f"model{len(lacking)}").made.notes
        assert any("cell has one bias, and PyTorch's own cells have two" in note for note in notes) == told


def test_a_zero_row_is_paddings(tmp_path):
    """nn.Embedding(padding_idx=0) leaves row 0 at zero, so ids are the source's."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    tensors["embedding.weight"][0] = 0
    save_file(tensors, tmp_path / "padded.safetensors")
    done = imported(tmp_path / "padded.safetensors", tmp_path / "model")
    assert done.made.ids_from == 1
    assert done.model.config.vocab_size == 10
    assert_same(expected("lstm1")[:2], states_of(done, ROWS[:2]))


def test_ids_from_is_the_users_word(tmp_path):
    """--ids-from overrides the file."""
    done = imported(MODELS / "lstm1.safetensors", tmp_path / "model", ids_from=1)
    assert done.model.config.vocab_size == 10
    assert_same(expected("lstm1")[:2], states_of(done, ROWS[:2]))


@pytest.mark.parametrize("names", ["weight", "w"])
def test_npz_with_pytorchs_names(names, tmp_path):
    """A NumPy archive, also with the short names that some packages use (enc_w_ih, enc_b_ih)."""
    tensors = load_file(MODELS / "gru2.safetensors")
    arrays = {"enc_emb": tensors["embedding.weight"], "dec_emb": np.ones((3, 4), np.float32)}
    for name, array in tensors.items():
        if name.startswith("rnn."):
            arrays[
                "enc_" + name.removeprefix("rnn.").replace("weight", names).replace("bias", names[0].replace("w", "b"))
            ] = array
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(ImportRefusedError, match=r"dec_emb \(3, 4\) .* --leave dec_emb"):
        imported(tmp_path / "model.npz", tmp_path / "model")
    done = imported(tmp_path / "model.npz", tmp_path / "model", leave=("dec_emb",))
    assert done.made.left == ["dec_emb (--leave)"]
    assert_same(expected("gru2"), states_of(done, ROWS, shift=1))


def test_residual_sums_are_the_users_word(tmp_path):
    """Weights don't show whether a layer's input is added to its output: a note says so, and --residual sets it."""
    source = MODELS / "lstm2.safetensors"
    done = imported(source, tmp_path / "plain")
    assert done.made.notes == [
        "weights alone don't show whether a layer's input is added to its output: --residual NAME"
    ]
    done = imported(source, tmp_path / "model", residual=("rnn.1",))
    assert [str(layer) for layer in done.model.config.layers] == ["lstm 5", "lstm 5 + its input"]
    below = imported(source, tmp_path / "below", layers=("rnn.0",))
    summed = [one + two for one, two in zip(expected("lstm2"), states_of(below, ROWS, shift=1), strict=True)]
    assert_same(summed, states_of(done, ROWS, shift=1))
    with pytest.raises(ImportRefusedError, match=r"rnn.0: its input is added to its output, and their widths differ"):
        imported(source, tmp_path / "refused", residual=("rnn.0",))
    with pytest.raises(ImportRefusedError, match=r"--residual zzz: there is no such recurrent layer; it has rnn\.0"):
        imported(source, tmp_path / "refused", residual=("zzz",))


@pytest.mark.parametrize("name", ["model", "model.bin", "model.pt", "model.safetensors"])
def test_safetensors_are_known_by_their_content(name, tmp_path):
    """Some tools name them as PyTorch's files."""
    content = (MODELS / "lstm1.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    longer = size + (0x80 - size) % 0x100  # whose first byte is that of a pickle; blanks may follow the header
    content = longer.to_bytes(8, "little") + content[8 : 8 + size].ljust(longer) + content[8 + size :]
    (tmp_path / name).write_bytes(content)
    assert imported(tmp_path / name, tmp_path / "out").format == "safetensors state dict"


def test_half_precision_is_read(tmp_path):
    """float16 and bfloat16 become float32."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    half = {name: array.astype(np.float16) for name, array in tensors.items()}
    save_file(half, tmp_path / "half.safetensors")
    done = imported(tmp_path / "half.safetensors", tmp_path / "half")
    np.testing.assert_array_equal(done.model.weights()["embedding"][1:], half["embedding.weight"].astype(np.float32))
    write_bfloat16(tmp_path / "brain.safetensors", tensors)
    done = imported(tmp_path / "brain.safetensors", tmp_path / "brain")
    upper = (tensors["embedding.weight"].view(np.uint32) >> 16 << 16).view(np.float32)
    np.testing.assert_array_equal(done.model.weights()["embedding"][1:], upper)


def write_bfloat16(path, tensors):
    header, parts, offset = {}, [], 0
    for name, array in tensors.items():
        raw = (array.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [offset, offset + len(raw)]}
        parts.append(raw)
        offset += len(raw)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def test_two_modules_have_to_be_named(tmp_path):
    """Weights don't show whether a decoder reads an encoder, so the user must say it."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    both = {f"{side}.{name}": array for side in ("encoder", "decoder") for name, array in tensors.items()}
    save_file(both, tmp_path / "both.safetensors")
    with pytest.raises(
        ImportRefusedError,
        match=r"decoder.rnn, encoder.rnn.* to the last, such as --layer decoder.rnn alone if no other reads it",
    ):
        imported(tmp_path / "both.safetensors", tmp_path / "model")
    done = imported(tmp_path / "both.safetensors", tmp_path / "model", layers=("encoder.rnn",))
    assert done.made.taken[0].startswith("encoder.embedding: ")
    assert_same(expected("lstm1"), states_of(done, ROWS, shift=1))


def test_weight_dropped_lstms_are_read(tmp_path):
    """Fastai's AWD-LSTM stores the weights before dropout as weight_hh_l0_raw, and those are imported."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    awd = {"encoder.weight": tensors["embedding.weight"], "decoder.bias": np.zeros(3, np.float32)}
    for name, array in tensors.items():
        if name.startswith("rnn."):
            awd[f"rnns.0.module.{name.removeprefix('rnn.')}"] = array
    awd["rnns.0.weight_hh_l0_raw"] = awd["rnns.0.module.weight_hh_l0"]
    awd["rnns.0.module.weight_hh_l0"] = np.zeros_like(awd["rnns.0.weight_hh_l0_raw"])
    awd["encoder_dp.emb.weight"] = awd["encoder.weight"].copy()
    save_file(awd, tmp_path / "awd.safetensors")
    done = imported(tmp_path / "awd.safetensors", tmp_path / "model", embedding=None)
    assert any("tied to encoder" in name for name in done.made.left)
    assert any("rnns.0.weight_hh_l0_raw is imported: the weights before dropout" in note for note in done.made.notes)
    assert_same(expected("lstm1"), states_of(done, ROWS, shift=1))


@pytest.mark.parametrize("equal", [True, False])
def test_one_refusal_names_every_option_that_is_missing(tmp_path, equal):
    """Of layers that may be in any order and of embeddings that aren't equal, those to take must be named."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    layers = {name.removeprefix("rnn."): array for name, array in tensors.items() if name.startswith("rnn.")}
    table = tensors["embedding.weight"]
    both = {f"rnns.{number}.{name}": array for number in range(2) for name, array in layers.items()}
    both |= {"first.emb.weight": table, "second.emb.weight": table + (0 if equal else 1)}
    save_file(both, tmp_path / "both.safetensors")
    with pytest.raises(
        ImportRefusedError, match=r"the last, such as --layer rnns\.0 alone if no other reads it"
    ) as refused:
        imported(tmp_path / "both.safetensors", tmp_path / "model")
    advice = "name one of the embeddings first.emb, second.emb too: --embedding NAME, and the others with --leave NAME"
    assert (advice in str(refused.value)) is not equal
    named = {} if equal else {"embedding": "first.emb", "leave": ("second.emb",)}
    done = imported(tmp_path / "both.safetensors", tmp_path / "model", layers=("rnns.0",), **named)
    assert done.made.taken[0].startswith("first.emb: ")
    assert_same(expected("lstm1"), states_of(done, ROWS, shift=1))


def test_a_plain_rnn_is_refused(tmp_path):
    """nn.RNN has one gate."""
    rnn = {"rnn.weight_ih_l0": np.ones((5, 4), np.float32), "rnn.weight_hh_l0": np.ones((5, 5), np.float32)}
    save_file(rnn, tmp_path / "rnn.safetensors")
    with pytest.raises(ImportRefusedError, match=r"rnn: it is a plain nn.RNN; only LSTM and GRU can be imported"):
        imported(tmp_path / "rnn.safetensors", tmp_path / "model")


def test_a_layer_between_is_refused(tmp_path):
    """If the embedding's width isn't the layer's, there must be another layer between."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    tensors["embedding.weight"] = np.ones((11, 9), np.float32)
    save_file(tensors, tmp_path / "between.safetensors")
    with pytest.raises(
        ImportRefusedError, match=r"rnn reads vectors 4 wide, but the embeddings are embedding \(9 wide\)"
    ):
        imported(tmp_path / "between.safetensors", tmp_path / "model")


def test_a_linear_module_between_layers_of_other_widths(tmp_path):
    """The refusal names it, and not the option that was given."""
    shapes = {"emb.weight": (10, 4), "lin.weight": (5, 6), "lin.bias": (5,)}
    for name, inputs, units, ends in (("one", 4, 3, ("", "_reverse")), ("two", 5, 4, ("",))):
        for end in ends:
            shapes |= {
                f"{name}.weight_ih_l0{end}": (4 * units, inputs),
                f"{name}.weight_hh_l0{end}": (4 * units, units),
            }
            shapes |= {f"{name}.bias_{kind}_l0{end}": (4 * units,) for kind in ("ih", "hh")}
    tensors = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "between.safetensors")
    for given in ({}, {"leave": ("lin",)}):
        with pytest.raises(
            ImportRefusedError, match=r"has width 6; lin\.weight \(5, 6\) may be between them, .* up to one"
        ):
            imported(tmp_path / "between.safetensors", tmp_path / "model", layers=("one", "two"), **given)
    with pytest.raises(
        ImportRefusedError, match=r"lin reads vectors 6 wide, .* and --fold is for a module between the"
    ):
        imported(tmp_path / "between.safetensors", tmp_path / "model", layers=("one", "two"), maps=("lin:relu",))


def test_one_hot(tmp_path):
    """With --one-hot, the vectors are ids, and the source's id k becomes k + 1."""
    tensors = load_file(MODELS / "lstm1.safetensors")
    table = tensors.pop("embedding.weight")
    tensors["rnn.weight_ih_l0"] = np.ascontiguousarray(tensors["rnn.weight_ih_l0"] @ table.T)
    save_file(tensors, tmp_path / "onehot.safetensors")
    with pytest.raises(ImportRefusedError, match=r"rnn reads vectors 11 wide, and nothing in the file says"):
        imported(tmp_path / "onehot.safetensors", tmp_path / "model")
    done = imported(tmp_path / "onehot.safetensors", tmp_path / "model", one_hot=True)
    assert done.model.config.embedding_dim is None
    assert done.model.config.vocab_size == 11
    assert_same(expected("lstm1"), states_of(done, ROWS, shift=1))
    done = imported(tmp_path / "onehot.safetensors", tmp_path / "from1", ids_from=1, one_hot=True)
    assert done.model.config.vocab_size == 10
    assert_same(expected("lstm1")[:2], states_of(done, ROWS[:2]))


@PYTORCH
@pytest.mark.parametrize("case", CASES)
def test_pt_files(case, tmp_path):
    """A state dict and a checkpoint around one, as torch.save writes them."""
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array) for name, array in load_file(MODELS / f"{case}.safetensors").items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "model.pt")
    done = imported(tmp_path / "model.pt", tmp_path / "model", parity=1e-5)
    assert_same(expected(case), states_of(done, ROWS, shift=1))
    assert {one.left for one in done.parity.comparisons} == {"PyTorch's layers"}


@PYTORCH
def test_pickled_modules_are_refused(tmp_path):
    """A file with a whole module would run code: it is refused, and the error says what to do."""
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.LSTM(3, 4), tmp_path / "module.pt")
    with pytest.raises(
        ImportRefusedError, match=r"it contains a torch.nn.modules.rnn.LSTM, not .* torch.save\(model.state_dict\(\)"
    ):
        imported(tmp_path / "module.pt", tmp_path / "model")


class Program:
    """What a program may pickle beside arrays: a module, an object around one, or something else."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Bare(NamedTuple):
    """What a pickle makes without setting an attribute."""

    size: int


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ("lstm/lstm_cell/kernel", "lstm/lstm_cell/recurrent_kernel"),
            r"Keras's names \(lstm/lstm_cell/recurrent_kernel\)",
        ),
        (("cell.hi.kernel", "cell.hh.kernel"), "no LSTM and no GRU under names that are read here"),
    ],
)
@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_arrays_under_other_names(kind, names, reason, tmp_path):
    """It isn't said that there is no LSTM."""
    arrays = {name: np.ones((4, 16), np.float32) for name in names}
    if kind == "npz":
        np.savez(tmp_path / "model.npz", **arrays)
    else:
        save_file(arrays, tmp_path / "model.safetensors")
    with pytest.raises(ImportRefusedError, match=reason):
        imported(tmp_path / f"model.{kind}", tmp_path / "model")


def test_a_checkpoint_with_a_pickled_module(tmp_path):
    """It is named where nothing else has layers."""
    module = Program(_modules={"lstm": None}, _parameters={}, training=False)
    loss = Program(_modules={}, _parameters={}, reduction="mean")
    optimizer = {"state": {}, "param_groups": []}
    named = rf"its arrays contain no LSTM and no GRU, and {{}} is a {__name__}.Program. A whole module .*state_dict"
    for name, content, reason in (
        ("checkpoint", {"epoch": 3, "model": module, "optimizer": optimizer}, named.format("model")),
        ("wrapped", {"ema": None, "models": [Program(net=module)]}, named.format("models.0.net")),
        (
            "none",
            {"args": Program(lr=1), "loss": loss, "bare": Bare(1), "none": Program()},
            "it contains no LSTM and no GRU; other models can't be imported",
        ),
    ):
        (tmp_path / f"{name}.pt").write_bytes(pickle.dumps(content))
        with pytest.raises(ImportRefusedError, match=reason):
            imported(tmp_path / f"{name}.pt", tmp_path / "model")
    arrays = dict(load_file(MODELS / "lstm1.safetensors"))
    (tmp_path / "both.pt").write_bytes(pickle.dumps({"state_dict": arrays, "model": module}))
    assert_same(expected("lstm1"), states_of(imported(tmp_path / "both.pt", tmp_path / "model"), ROWS, shift=1))


def test_the_dictionaries_of_a_checkpoint():
    """The state dict's tensors keep their names; others, and all if two dictionaries have models, get a prefix."""
    one = np.ones(1)
    model = {"rnn.weight_ih_l0": one, "emb.weight": one}
    training = {"state": {0: {"exp_avg": one}}, "param_groups": []}
    measured = {
        "loss": np.array(0.4),
        "train_losses": np.ones(5),
        "best_acc1": np.array(0.5),
        "val_loss_min": one,
        "callbacks": {"Stopping{'mode': 'min'}": {"best": one}},
        "head": {"bias": one},
    }
    tensors, beside = tensors_of(
        {"epoch": 1, "state_dict": model, "opt": training, "h0": np.ones(5), **measured}, np.ndarray
    )
    assert list(tensors) == ["h0", "rnn.weight_ih_l0", "emb.weight", "head.bias"]
    assert sorted(beside) == sorted([
        "callbacks.Stopping{'mode': 'min'}.best (beside the state dict)", "loss (beside the state dict)",
        "best_acc1 (beside the state dict)", "opt (optimizer)", "train_losses (beside the state dict)",
        "val_loss_min (beside the state dict)",
    ])  # fmt: skip
    assert list(tensors_of(model | {"scale": one, "loss": one}, np.ndarray)[0]) == [*model, "scale", "loss"]
    others = {
        "model": model,
        "emb_scale": one,
        "x.timescale": np.ones(5),
        "filter_rate": np.ones(5),
        "step_loss": np.ones((5, 2)),
        "attention": {"score": np.ones(5)},
        "time_scale": one,
        "mse_loss": np.ones(5),
        "score_norm.weight": np.ones(5),
        "step_size": one,
    }
    assert len(tensors_of(others, np.ndarray)[0]) == 11
    named = ("mse_loss", "best_f1_score", "word_acc", "r2_score", "best_rmse", "loss_train", "prec1", "n_iter")
    assert [*tensors_of({"model": model} | dict.fromkeys(named, one), np.ndarray)[0]] == [*model]
    for around in (
        {"checkpoint": {"model": model, "train_losses": np.ones(5)}},
        {"model": model, "val_metrics": {"acc": np.ones(5)}},
    ):
        tensors, beside = tensors_of(around, np.ndarray)
        assert (list(tensors), len(beside)) == ([*model], 1)
    tensors, _ = tensors_of({"model": model, "ema": {"rnn.weight_ih_l0": one}}, np.ndarray)
    assert list(tensors) == ["model.rnn.weight_ih_l0", "model.emb.weight", "ema.rnn.weight_ih_l0"]
    endless = {}
    endless["again"] = endless
    assert tensors_of(endless, np.ndarray) == ({}, [])
