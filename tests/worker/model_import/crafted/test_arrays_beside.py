"""Crafted files of weights alone: initial states of other inputs, parameters of a model's own, norms above, --leave."""

import re

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.crafted import Tensors, torch_gru, torch_lstm
from support.imported import imported

from worker.model_import.errors import ImportRefusedError

WIDTH, UNITS = 7, 5


def written(tmp_path, arrays, *, layers=1, both=False, prefix="", module=torch_lstm):
    """A file with an embedding, recurrent layers on it, and arrays beside them."""
    tensors = Tensors()
    tensors.add(f"{prefix}embedding.weight", 30, WIDTH)
    inputs = WIDTH
    for layer in range(layers):
        for back in ("", "_reverse")[: 1 + both]:
            module(tensors, f"{prefix}rnn.", inputs, layer=layer, **({"back": back} if back else {}))
        inputs = UNITS * (1 + both)
    for name, shape in arrays.items():
        tensors.add(f"{prefix}{name}", *shape)
        if name.endswith(".weight") and len(shape) == 2 and shape[0] not in (3, 30):  # those are tables
            tensors.add(f"{prefix}{name[:-6]}bias", shape[0])
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("layers", "both", "arrays", "told"),
    [
        (1, False, {"init_h.weight": (UNITS, 2 * UNITS)}, ["init_h"]),  # as wide as two states, but no head by its name
        (1, False, {"init_linear.weight": (UNITS, 2 * UNITS)}, ["init_linear"]),
        (1, False, {"image_proj.weight": (UNITS, 2 * UNITS)}, ["image_proj"]),
        (1, False, {"fc.weight": (UNITS, 2 * UNITS)}, []),
        (1, False, {"labels.weight": (3, 16), "to_h.weight": (UNITS, 16)}, ["to_h"]),
        (1, False, {"labels.weight": (3, 16), "label_proj.weight": (UNITS, 16)}, ["label_proj"]),
        (1, False, {"attributes.weight": (UNITS, 9), "fc.weight": (9, UNITS)}, ["attributes"]),
        (3, False, {"image.weight": (3 * UNITS, 64)}, ["image"]),  # of three layers
        (3, False, {"z.weight": (6 * UNITS, 64)}, ["z"]),  # and their cells
        (1, True, {"latent.weight": (4 * UNITS, 64)}, ["latent"]),  # of two directions, and their cells
        (2, False, {"condition.weight": (3, 4 * UNITS)}, ["condition"]),
        (1, False, {"image.weight": (9 * UNITS, 64)}, []),
        (1, False, {"attention.v.weight": (3, UNITS)}, []),
        (1, False, {"word_attn.weight": (9, UNITS)}, []),  # with a bias of one axis
        (1, False, {"decoder.speaker_emb.weight": (3, UNITS)}, ["speaker_emb"]),
    ],
)
def test_initial_states_that_other_inputs_may_make(tmp_path, layers, both, arrays, told):
    """A note names what can make them, of one layer or of all, also where it reads what a head could read."""
    source = written(tmp_path, {**arrays, "out.weight": (4, UNITS)}, layers=layers, both=both)
    notes = imported(source, tmp_path / "model").made.notes
    found = [note for note in notes if "they could also make the initial states of layers" in note]
    named = [name for note in found for name in re.findall(r"(\w+)\.weight", note)]
    assert [name for name in named if f"{name}.weight" in {f"{one}.weight" for one in told}] == told
    assert not {"out", "fc"} & {*named}


@pytest.mark.parametrize("name", ["tag_embedding", "pos_tag_emb"])
def test_tables_that_may_be_joined_with_the_embedding(tmp_path, name):
    """Their vectors end nowhere by their width, but may be beside those of the embedding."""
    source = written(tmp_path, {f"{name}.weight": (3, 2), "bridge.weight": (WIDTH, WIDTH + 2), "fc.weight": (4, UNITS)})
    notes = imported(source, tmp_path / "model").made.notes
    assert any(f"left out: {name}.weight (3, 2). If the source adds such vectors to" in note for note in notes)
    assert any("bridge.weight (7, 9). By their widths" in note for note in notes)


@pytest.mark.parametrize("shape", [(UNITS,), (1, UNITS), (1, 1, UNITS)])
@pytest.mark.parametrize("beside", ["W", "W_out", "transitions"])
def test_an_initial_state_is_no_bias_of_another_parameter(tmp_path, shape, beside):
    """Both are parameters of the model itself, and so of one module."""
    matrix = (9, 9) if beside == "transitions" else (UNITS, 9)
    source = written(tmp_path, {"h0": shape, beside: matrix, "fc.weight": (4, UNITS)}, prefix="model.")
    with pytest.raises(ImportRefusedError, match=r"model\.h0 .* is as long as a layer's states.*--leave model\.h0"):
        imported(source, tmp_path / "model")


@pytest.mark.parametrize("prefix", ["decoder.", "generator.output."])
@pytest.mark.parametrize("name", ["hx", "state0", "hidden", "init_h"])
def test_a_module_around_the_layers_is_no_head_by_its_name(tmp_path, prefix, name):
    """A decoder has its own initial state."""
    source = written(tmp_path, {name: (1, 1, UNITS), "W": (UNITS, 9)}, prefix=prefix)
    with pytest.raises(ImportRefusedError, match=rf"{prefix}{name} .* is as long as a layer's states"):
        imported(source, tmp_path / "model")


def test_what_a_decoder_reads_of_other_inputs(tmp_path):
    """Its own name is called as heads are, and says nothing of the modules in it."""
    source = written(tmp_path, {"features.weight": (UNITS, 2 * UNITS), "out.weight": (4, UNITS)}, prefix="decoder.")
    notes = " ".join(imported(source, tmp_path / "model").made.notes)
    assert "decoder.features.weight (5, 10). By their widths" in notes
    assert "decoder.out.weight" not in notes


@pytest.mark.parametrize("name", ["word.b_word", "model.bias", "attention.shift", "pool.context", "att.u"])
def test_a_bias_of_another_parameter(tmp_path, name):
    """Its name says so, or that it is of a head."""
    module = name.rpartition(".")[0]
    arrays = {name: (UNITS,), f"{module}.W_word".strip("."): (UNITS, 9)}
    assert name in imported(written(tmp_path, arrays), tmp_path / "model").made.left


@pytest.mark.parametrize("shape", [(UNITS,), (2, 1, UNITS), (1, 1, UNITS)])
def test_initial_states_in_a_list_of_parameters(tmp_path, shape):
    """PyTorch's ParameterList calls its arrays by numbers."""
    source = written(tmp_path, {"init.0": shape, "init.1": shape}, layers=2)
    with pytest.raises(ImportRefusedError, match=r"init\.0 .*initial state.*: --leave init\. If"):
        imported(source, tmp_path / "model")


@pytest.mark.parametrize(
    ("both", "module", "norm", "size", "is_on_top"),
    [
        (False, torch_lstm, "batch", 3 * UNITS, True),  # last, largest and mean
        (False, torch_lstm, "layer", 3 * UNITS, True),
        (True, torch_lstm, "batch", 4 * UNITS, True),  # largest and mean of two directions
        (True, torch_lstm, "batch", UNITS, True),  # above a Linear module of the head
        (False, torch_gru, "batch", 3 * UNITS, True),
        (False, torch_gru, "layer", 3 * UNITS, False),  # or of the gates
        (False, torch_lstm, "layer", 4 * UNITS, False),
        (False, torch_lstm, "batch", WIDTH, False),
    ],
)
def test_norms_above_the_last_layer(tmp_path, both, module, norm, size, is_on_top):
    """A batch normalization isn't a part of a cell, and no LSTM has three gates."""
    names = ("weight", "bias", "running_mean", "running_var")[: 4 if norm == "batch" else 2]
    arrays = {f"norm.{name}": (size,) for name in names} | {"fc.weight": (4, size)}
    source = written(tmp_path, arrays, both=both, module=module)
    if is_on_top:
        assert "norm.weight" in imported(source, tmp_path / "model").made.left
        return
    with pytest.raises(ImportRefusedError, match=r"norm\.weight \(\d+,\) is as long as .*: --leave norm\. If"):
        imported(source, tmp_path / "model")


def test_what_the_refusal_advises_to_leave(tmp_path):
    """A module's name where all in it was named, and no name that would leave out what wasn't."""
    arrays = {
        "w_omega": (UNITS, UNITS),
        "h0": (1, 1, UNITS),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "proj.weight": (WIDTH, WIDTH),
        "fc.weight": (4, UNITS),
    }
    source = written(tmp_path, arrays, prefix="model.")
    with pytest.raises(ImportRefusedError) as raised:
        imported(source, tmp_path / "model")
    advised = re.search(r"decoder\): (.*?)\. If one", str(raised.value))[1].split(" --leave ")
    advised[0] = advised[0].removeprefix("--leave ")
    assert sorted(advised) == ["model.h0", "model.norm", "model.proj", "model.w_omega"]
    left = imported(source, tmp_path / "model", leave=tuple(advised)).made.left
    assert {name.split(" ")[0] for name in left if "(--leave)" not in name} == {"model.fc.weight", "model.fc.bias"}


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and so on")])
def test_a_refusal_that_names_the_first_says_so(tmp_path, count, more):
    source = written(tmp_path, {f"{name}.weight": (WIDTH, WIDTH) for name in "abcdef"[:count]})
    advised = " ".join(f"--leave {name}" for name in "abcde")
    with pytest.raises(ImportRefusedError, match=rf": {advised}{more}\. If one"):
        imported(source, tmp_path / "model")


@pytest.mark.parametrize("shape", [(2, 1, UNITS), (2, UNITS), (1, 1, UNITS), (UNITS,), (2, 2, UNITS)])
def test_learned_initial_states_whose_rows_can_bring_them(tmp_path, shape):
    """The refusal says how, also where their shape could be that of something else; and it works."""
    tensors = Tensors()
    tensors.add("embedding.weight", 30, UNITS)
    for layer in (0, 1):
        torch_lstm(tensors, "rnn.", UNITS, layer=layer)
    for name in ("h0", "c0"):
        tensors.add(name, *shape)
    tensors.add("fc.weight", 4, UNITS)
    tensors.add("fc.bias", 4)
    source = tmp_path / "model.safetensors"
    save_file(tensors, source)
    with pytest.raises(ImportRefusedError) as raised:
        imported(source, tmp_path / "model")
    advice = (
        "If c0 and h0 begin the layers' states: --initial-states --leave c0 --leave h0, and each row brings them. If"
    )
    assert advice in str(raised.value) or advice.replace("c0 and h0", "h0 and c0") in str(raised.value)
    made = imported(source, tmp_path / "model", leave=("c0", "h0"), initial_states=True).made
    assert any("rows bring their initial states" in note for note in made.notes)


@pytest.mark.parametrize("arrays", [
    {"attn.weight": (1, UNITS), "attn.bias": (1,), "attn_weight": (UNITS,)},
    {"side.weight": (9, 8), "side_weight": (1,)},
])  # fmt: skip
def test_a_parameter_that_is_called_as_a_module_is(tmp_path, arrays):
    """The name of the module would leave out the arrays in it, and not this one."""
    tensors = Tensors()
    tensors.add("embedding.weight", 30, WIDTH)
    torch_lstm(tensors, "rnn.", WIDTH)
    for name, shape in arrays.items():
        tensors.add(name, *shape)
    source, (*_, last) = tmp_path / "model.safetensors", arrays
    save_file(tensors, source)
    with pytest.raises(ImportRefusedError, match=rf"--leave {last}\."):
        imported(source, tmp_path / "model")
    assert f"{last} (--leave)" in imported(source, tmp_path / "model", leave=(last,)).made.left


def test_a_module_with_more_than_the_refusal_names_is_not_advised(tmp_path):
    """Its Linear module of a head is in it, too."""
    arrays = {"side.scale": (WIDTH,), "side.deep.fc.weight": (4, UNITS)}
    with pytest.raises(ImportRefusedError, match=r"--leave side\.scale\."):
        imported(written(tmp_path, arrays), tmp_path / "model")


def test_a_name_of_an_array_leaves_out_that_array(tmp_path):
    """And not those whose names begin with it; a name of a module, all in it by a point."""
    arrays = {"h0": (1, 1, UNITS), "h0_proj.weight": (9, UNITS), "fc.weight": (4, UNITS), "fc_norm.weight": (9,)}
    source = written(tmp_path, arrays)
    left = imported(source, tmp_path / "model", leave=("h0", "fc")).made.left
    told = {name.removesuffix(" (--leave)") for name in left if name.endswith("(--leave)")}
    assert told == {"h0", "fc.weight", "fc.bias"}


def test_a_bias_whose_matrix_is_left_out(tmp_path):
    """It is still the bias of that matrix."""
    arrays = {"hidden.weight_g": (UNITS, 1), "hidden.weight_v": (UNITS, WIDTH), "hidden.bias": (UNITS,)}
    source = written(tmp_path, arrays)
    left = imported(source, tmp_path / "model", leave=("hidden.weight_v", "hidden.weight_g")).made.left
    assert "hidden.bias" in left


@pytest.mark.parametrize(
    "arrays",
    [
        {"pre.gain": (WIDTH,), "pre.weight": (WIDTH, 40)},
        {"learned.begin": (UNITS,), "learned.W": (UNITS, 40)},
        {"boot.vec": (1, UNITS), "boot.W": (UNITS, 40)},
    ],
)
def test_a_vector_beside_a_matrix_is_not_always_its_bias(tmp_path, arrays):
    """Only by its name; that of an attention's vector is one."""
    with pytest.raises(ImportRefusedError, match=rf"{next(iter(arrays))} .* is as long as"):
        imported(written(tmp_path, arrays), tmp_path / "model")


def test_a_matrix_that_is_left_out_shows_nothing_of_a_vector_beside_it(tmp_path):
    """But for its bias."""
    source = written(tmp_path, {"gate.alpha": (UNITS,), "gate.weight": (UNITS, WIDTH)})
    with pytest.raises(ImportRefusedError, match=r"gate\.alpha .* is as long as a layer's states"):
        imported(source, tmp_path / "model", leave=("gate.weight",))


@pytest.mark.parametrize(
    "names",
    [
        ("fc.weight_g", "fc.weight_v", None),
        ("fc.parametrizations.weight.original0", "fc.parametrizations.weight.original1", None),
        ("fc.weight_u", "fc.weight_orig", "fc.weight_v"),
        ("fc.parametrizations.weight.0._u", "fc.parametrizations.weight.original", "fc.parametrizations.weight.0._v"),
    ],
)
def test_weights_of_a_head_in_two_parts(tmp_path, names):
    """As weight norm and spectral norm store them, in both of PyTorch's ways; nothing is said of a head."""
    scale, matrix, other = names
    is_norm = other is None
    arrays = {scale: (UNITS, 1) if is_norm else (UNITS,), matrix: (UNITS, UNITS), "fc.bias": (UNITS,)}
    done = imported(written(tmp_path, arrays if is_norm else arrays | {other: (UNITS,)}), tmp_path / "model")
    assert not any("parts of a head" in note for note in done.made.notes)


@pytest.mark.parametrize(
    ("name", "told"),
    [("transitions", False), ("headline_embedding.weight", True), ("pos.weight", True), ("tags.weight", True)],
)
def test_what_may_be_a_table_by_its_name(tmp_path, name, told):
    """A square matrix of a CRF isn't one, though no module has made it; a word in a word isn't a head's."""
    notes = imported(written(tmp_path, {name: (3, 3)}), tmp_path / "model").made.notes
    assert any(f"left out: {name}" in note for note in notes) == told


def test_integers_of_a_batch_normalization_do_not_hide_its_name(tmp_path):
    """It counts its batches."""
    source = written(tmp_path, {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)})
    tensors = Tensors()
    tensors.add("embedding.weight", 30, WIDTH)
    torch_lstm(tensors, "rnn.", WIDTH)
    for name in ("weight", "bias", "running_mean", "running_var"):
        tensors.add(f"norm.{name}", WIDTH)
    save_file({**tensors, "norm.num_batches_tracked": np.array(3)}, source)
    with pytest.raises(ImportRefusedError, match=r": --leave norm\. If"):
        imported(source, tmp_path / "model")
