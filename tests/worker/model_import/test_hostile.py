"""Hostile files are refused with one sentence, before memory is taken, and no code in them is run."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.imported import imported

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.weights import new_weights
from worker.model_import import limits
from worker.model_import.assembly import assemble
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array
from worker.model_import.readers.formats import read_source
from worker.model_import.readers.keras.graph import read_calls
from worker.model_import.readers.keras.layers import find_layers
from worker.model_import.readers.keras.maps import OPERATIONS, operation_map, token_map
from worker.model_import.readers.keras.tensors import numbers_in, operands_in
from worker.model_import.selection.choice import choose
from worker.model_import.selection.stack import Asked

MODELS = Path(__file__).parents[2] / "torch_models"
KINDS = [".keras", ".h5", ".hdf5", ".safetensors", ".npz", ".onnx", ".index", ".bin", ""]


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the file's code was run",))


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x08\x07\x12\x04", b"{}", bytes(64), pickle.dumps(Bomb())]
)
def test_noise_is_refused(content, suffix, tmp_path):
    """For any name and any first bytes there is an error that names the file, and no code is run."""
    source = tmp_path / f"model{suffix}"
    source.write_bytes(content)
    with pytest.raises(ModelError, match="model"):
        imported(source, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_nothing_there(tmp_path):
    """A path that doesn't exist."""
    with pytest.raises(ImportRefusedError, match=r"nowhere.keras: can't be read \(No such file"):
        imported(tmp_path / "nowhere.keras", tmp_path / "made")


def keras_file(path, config, weights=b"\x89HDF\r\n\x1a\n"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        archive.writestr("model.weights.h5", weights)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("[" * 100_000, r"config.json is not JSON"),
        ("[]", r"config.json contains a list; it must contain an object"),
        ('{"class_name": "Mine"}', r"can't be read as HDF5|the model's class is 'Mine'"),
    ],
)
def test_configurations_of_noise(config, reason, tmp_path):
    """JSON that is nested too deeply, has another type, or names a custom class."""
    keras_file(tmp_path / "model.keras", config)
    with pytest.raises(ImportRefusedError, match=reason):
        read_source(tmp_path / "model.keras")


def test_packed_bombs(tmp_path):
    """A zip member that claims a higher ratio than deflate can reach is refused by its header."""
    keras_file(tmp_path / "model.keras", " " * (70 << 20))
    with pytest.raises(ImportRefusedError, match=r"its config.json claims 73,400,320 bytes"):
        read_source(tmp_path / "model.keras")


def test_arrays_that_are_not_stored(tmp_path):
    """HDF5 can claim a terabyte without storing a byte."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["layer_names"] = [b"lstm"]
        group = file.create_group("lstm")
        group.create_dataset("kernel", shape=(2**18, 2**20), dtype="f4", chunks=(2**10, 2**10))
    with pytest.raises(ImportRefusedError, match=r"takes 1,099,511,627,776 bytes; at most"):
        read_source(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["layer_names"] = [b"lstm"]
        file.create_group("lstm").create_dataset("kernel", shape=(2**10, 2**20), dtype="f4", chunks=(2**10, 2**10))
    with pytest.raises(ImportRefusedError, match=r"but the file stores only 0; it is damaged"):
        read_source(tmp_path / "model.h5")


@pytest.mark.parametrize("place", ["lstm", "RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell"])
def test_groups_with_many_names_are_not_read_for_ever(place, tmp_path):
    """Twenty-five groups, each with two links to the next, have thirty million paths."""
    with h5py.File(tmp_path / "weights.hdf5", "w") as file:
        file.attrs["layer_names"] = [place]
        group = file.create_group(place)
        for _ in range(25):
            below = file.create_group(None)
            group["a"] = group["b"] = below
            group = below
        group["kernel"] = np.ones(3, np.float32)
    for name in ("options.json", "words.txt"):
        (tmp_path / name).write_bytes((MODELS.parent / "elmo_models/published" / name).read_bytes())
    words = None if place == "lstm" else tmp_path / "words.txt"
    with pytest.raises(ImportRefusedError, match="has several names in the file"):
        read_source(tmp_path / "weights.hdf5", vocabulary=words)


def test_links_to_other_files_are_not_followed(tmp_path):
    """HDF5's external links and external storage could read any file here."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = np.ones((4, 20), np.float32)
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["kernel"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "kernel")
        file["soft"] = h5py.SoftLink("/kernel")
    found = read_source(tmp_path / "model.h5")
    assert not found.layers
    assert not found.left
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.create_dataset("kernel", (4,), "f4", external=[(str(tmp_path / "secret.h5"), 0, 16)])
    with pytest.raises(ImportRefusedError, match=r"kernel: its numbers are in other files"):
        read_source(tmp_path / "model.h5")


@pytest.mark.parametrize("place", ["lstm", "model_weights"])
def test_a_link_in_the_place_of_a_group_is_not_followed(place, tmp_path):
    """External links to groups aren't followed either, even if an attribute names them."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        group = file.create_group("model_weights/lstm" if place == "model_weights" else "lstm")
        for name, shape in {"kernel": (4, 20), "recurrent_kernel": (5, 20), "bias": (20,)}.items():
            group[name] = np.ones(shape, np.float32)
        file["model_weights" if place == "model_weights" else "/"].attrs["layer_names"] = [b"lstm"]
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["layer_names"] = [b"lstm"]
        file[place] = h5py.ExternalLink(str(tmp_path / "secret.h5"), place)
    found = read_source(tmp_path / "model.h5")
    assert not found.layers
    assert not found.left


def test_groups_without_end(tmp_path):
    """A group that contains itself, and a long chain."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        group = file.create_group("a")
        group["a"] = group
    with pytest.raises(ImportRefusedError, match=r"/a/a: this group has several names"):
        read_source(tmp_path / "model.h5")
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.create_group("a/" * 33)
    with pytest.raises(ImportRefusedError, match=r"groups are nested more than 32 deep"):
        read_source(tmp_path / "model.h5")


@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
@pytest.mark.parametrize(
    ("damage", "reserved"),
    [(bytes(16), 0), (bytes(16), 1), (b"\1" + bytes(7) + (2**64 - 16).to_bytes(8, "little"), 0)],
    ids=["free space", "reserved bytes", "an object"],
)
def test_texts_without_an_end(tmp_path, name, damage, reserved):
    """The library HDF5 would look for it for ever, and no signal ends that."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["names"] = ["text"]
    content = bytearray((tmp_path / "model.h5").read_bytes())
    place = content.index(b"GCOL") + 16
    assert content[place + 16 : place + 20] == b"text"
    content[place : place + 16] = damage
    content[place - 11] = reserved
    (tmp_path / "model.h5").write_bytes(content)
    if name == "model.keras":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.write(tmp_path / "model.h5", "model.weights.h5")
    with pytest.raises(
        ImportRefusedError, match=rf"can't be read as HDF5 \(what begins at {place:,} has no end\); get a fresh"
    ):
        read_source(tmp_path / name)


def test_a_text_without_an_end_behind_one_that_seems_to_contain_it(tmp_path):
    """What looks like a list in another list's place hides nothing."""
    decoy = b"GCOL\1\0\0\0" + (2**40).to_bytes(8, "little") + b"\1\0" + bytes(6) + (2**40).to_bytes(8, "little")
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file.attrs["decoy"] = np.frombuffer(decoy, np.uint8)
        file.attrs["names"] = ["text"]
    content = bytearray((tmp_path / "model.h5").read_bytes())
    place = content.rindex(b"GCOL") + 16
    assert content.index(b"GCOL") < place - 16
    content[place : place + 16] = bytes(16)
    (tmp_path / "model.h5").write_bytes(content)
    with pytest.raises(ImportRefusedError, match=rf"what begins at {place:,} has no end"):
        read_source(tmp_path / "model.h5")


def test_lists_that_overlap_are_refused(tmp_path):
    """Each of many would be followed to the end of the file."""
    block = b"GCOL\1\0\0\0" + (2**40).to_bytes(8, "little") + b"\1\0" + bytes(6) + (16).to_bytes(8, "little")
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["numbers"] = np.frombuffer(block * 50_000, np.uint8)
    with pytest.raises(ImportRefusedError, match="its lists overlap"):
        read_source(tmp_path / "model.h5")


@pytest.mark.parametrize("sizes", [(8, 4), (4, 8)])
def test_short_lengths_are_refused(tmp_path, sizes):
    """Texts without an end aren't looked for in such a file, which no writer of models makes."""
    made_with = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    made_with.set_sizes(*sizes)
    with h5py.File(h5py.h5f.create(str(tmp_path / "model.h5").encode(), fcpl=made_with)) as file:
        file.attrs["names"] = ["text"]
    with pytest.raises(ImportRefusedError, match="addresses of {} bytes and lengths of {}, not of 8".format(*sizes)):
        read_source(tmp_path / "model.h5")


@pytest.mark.parametrize("name", ["model.npz", "model.keras", "model.pt"])
def test_a_zip_whose_files_are_called_encrypted(name, tmp_path):
    """One wrong bit in its directory is enough."""
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for member in ("lstm.weight_ih_l0.npy", "config.json", "model.weights.h5", "model/data.pkl"):
            archive.writestr(member, b"{}")
    content = bytearray((tmp_path / name).read_bytes())
    for member in (b"lstm.weight", b"config.json", b"model.weights", b"model/data"):
        content[content.rindex(member) - 46 + 8] |= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportRefusedError, match=r"can't be read .*is encrypted"):
        imported(tmp_path / name, tmp_path / "made")


def test_a_zip_whose_numbers_are_called_encrypted(tmp_path):
    """They are read last, when the rest was found to be sound."""
    content = bytearray((Path(__file__).parents[2] / "character_models" / "flair_forward.pt").read_bytes())
    for member in (b"flair_forward/data/0", b"flair_forward/data/1"):
        content[content.rindex(member) - 46 + 8] |= 1
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(ImportRefusedError, match=r"its arrays can't be read .*is encrypted"):
        imported(tmp_path / "model.pt", tmp_path / "made")


def test_damaged_hdf5_is_told(tmp_path):
    """The library raises errors of many kinds."""
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
        for name in ("lstm", "embedding"):
            file.create_group(f"model_weights/{name}").attrs["weight_names"] = ["kernel", "bias"]
    content, random = (tmp_path / "whole.h5").read_bytes(), np.random.default_rng(1)
    told = set()
    for _ in range(200):
        damaged, place = bytearray(content), random.integers(len(content))
        damaged[place : place + 8] = random.bytes(8)
        (tmp_path / "model.h5").write_bytes(damaged)
        with pytest.raises(ImportRefusedError) as caught:  # whole, it has no layer
            imported(tmp_path / "model.h5", tmp_path / "made")
        told.add("can't be read as HDF5 (" in str(caught.value))
    assert told == {True, False}


def test_objects_in_npz(tmp_path):
    """Pickled objects in NumPy archives are never loaded."""
    np.savez(tmp_path / "model.npz", weights=np.array(Bomb(), object), allow_pickle=True)
    with pytest.raises(ImportRefusedError, match=r"its weights contains objects .*np\.savez"):
        imported(tmp_path / "model.npz", tmp_path / "made")
    np.savez(tmp_path / "array.npz", rnn_w_ih=np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(ImportRefusedError, match=r"its rnn_w_ih can't be read \(it is sparse, contains objects"):
        imported(tmp_path / "array.npz", tmp_path / "made")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("model.keras", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS.*git lfs pull"),
        ("model.pt", b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS.*git lfs pull"),
        ("model.onnx", b"<!DOCTYPE html>\n<html>", "is a web page"),
        ("model-00001-of-00002.safetensors", b"", "is part 1 of 2.*model-00002-of-00002.safetensors"),
        ("pytorch_model-00002-of-00002.bin", b"", "is part 2 of 2"),
        ("model.onnx", b"", "it is empty; get a fresh copy"),
    ],
)
def test_files_that_stand_for_others(tmp_path, name, content, reason):
    """A pointer, a web page, and a part of a model are named, whatever their names say."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportRefusedError, match=reason):
        imported(tmp_path / name, tmp_path / "made")


def test_weights_that_are_not_numbers(tmp_path):
    """NaN would spread to all outputs."""
    from safetensors.numpy import load_file, save_file  # noqa: PLC0415

    tensors = load_file(MODELS / "lstm1.safetensors")
    tensors["rnn.weight_hh_l0"][0, 0] = np.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match="NaN"):
        imported(tmp_path / "nan.safetensors", tmp_path / "made")
    assert list(tmp_path.iterdir()) == [tmp_path / "nan.safetensors"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from(["a", "b", "LSTM", "Functional", "Sequential", "Add"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["class_name", "config", "layers", "name", "inbound_nodes", "layer", "args", "kwargs", "output_layers"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON, st.sampled_from(["Sequential", "Functional"]))
def test_any_configuration_gives_calls_or_a_reason(config, kind):
    """Any JSON gives calls or a refusal, never another error."""
    try:
        calls = read_calls({"class_name": kind, "config": config})
    except ImportRefusedError:
        return
    names = [call.name for call in calls]
    assert len(set(names)) == len(names)


def test_models_that_multiply():
    """Models within models, each called 100 times, are refused by the number of calls, though they have no layer."""
    model = {"class_name": "Functional", "config": {"layers": []}}
    for depth in range(12):
        calls = [[]] * 100
        inner = {**model, "name": f"m{depth}", "inbound_nodes": calls}
        model = {"class_name": "Functional", "config": {"layers": [inner]}}
    with pytest.raises(ImportRefusedError, match=r"more than 10,000 operations"):
        read_calls(model)


def test_a_layer_without_a_group(tmp_path):
    """If a model and a layer have one name, the second has no weights; that is refused, without a crash."""
    layer = {"class_name": "LSTM", "config": {"name": "a", "units": 2}}
    inner = {"class_name": "Sequential", "config": {"name": "a", "layers": [layer]}}
    keras_file(tmp_path / "model.keras", {"class_name": "Sequential", "config": {"layers": [layer, inner]}}, hdf5())
    with pytest.raises(ImportRefusedError, match=r"the weights of 0 LSTM or GRU passes"):
        read_source(tmp_path / "model.keras")


def hdf5():
    """An HDF5 file without arrays."""
    content = io.BytesIO()
    h5py.File(content, "w").close()
    return content.getvalue()


REAL = {
    "class_name": "Functional",
    "config": {
        "layers": [
            {"class_name": "InputLayer", "config": {"name": "ids", "batch_shape": [None, 9]}, "inbound_nodes": []},
            {
                "class_name": "Embedding",
                "config": {"name": "words", "mask_zero": True},
                "inbound_nodes": [[["ids", 0, 0, {}]]],
            },
            {
                "class_name": "Bidirectional",
                "config": {
                    "name": "both",
                    "merge_mode": "concat",
                    "layer": {"class_name": "LSTM", "config": {"units": 3}},
                },
                "inbound_nodes": [[["words", 0, 0, {}]]],
            },
            {
                "class_name": "RNN",
                "config": {
                    "name": "cells",
                    "cell": {
                        "class_name": "StackedRNNCells",
                        "config": {"cells": [{"class_name": "LSTMCell", "config": {"units": 6}}]},
                    },
                },
                "inbound_nodes": [
                    {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["both", 0, 0]}}]}
                ],
            },
            {
                "class_name": "Add",
                "config": {"name": "sum"},
                "inbound_nodes": [[["both", 0, 0, {}], ["cells", 0, 0, {}]]],
            },
        ],
        "input_layers": [["ids", 0, 0]],
        "output_layers": [["sum", 0, 0]],
    },
}


def stored(layer):
    """Arrays that fit the configuration above."""
    shapes = {
        "words": {"words/embeddings": (10, 4)},
        "both": {
            f"both/{side}_lstm/{name}": shape
            for side in ("forward", "backward")
            for name, shape in (("kernel", (4, 12)), ("recurrent_kernel", (3, 12)), ("bias", (12,)))
        },
        "cells": {"cells/kernel": (6, 24), "cells/recurrent_kernel": (6, 24), "cells/bias": (24,)},
    }
    made = shapes.get(layer[-1], {})
    return [Array(name, shape, lambda shape=shape: np.zeros(shape, np.float32)) for name, shape in made.items()]


def places(value, path=()):
    """The path of every value in nested JSON."""
    yield path
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def test_the_real_configuration_is_taken():
    """Otherwise the next test would prove nothing."""
    chain = choose(find_layers(read_calls(REAL), stored, "Keras", "3"), Asked(top="sum"))
    assert [layer.name for layer in chain.layers] == ["both", "cells"]
    assert chain.residual == [False, True]


@pytest.mark.parametrize("output", [-1, -2])
def test_a_negative_output_is_refused(output):
    """Python would count it from the end, and use the output of another layer."""
    changed = replaced(REAL, ("config", "layers", 2, "inbound_nodes", 0, 0, 2), output)
    with pytest.raises(ImportRefusedError, match=f"output {output} of layer 'words'"):
        read_calls(changed)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([path for path in places(REAL) if path]), JSON)
def test_a_configuration_with_one_thing_wrong(path, new):
    """A real configuration with any value in any place is imported, or refused with a reason."""
    try:
        found = find_layers(read_calls(replaced(REAL, path, new)), stored, "Keras", "3")
        assemble(found, choose(found, Asked()), None, None)
    except ModelError:
        pass


def test_weights_packed_too_tightly(tmp_path, monkeypatch):
    """A small .keras file can't fill the memory: trained weights hardly shrink."""
    monkeypatch.setattr(limits, "_SMALL_BYTES", 1 << 20)
    config = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
    with zipfile.ZipFile(tmp_path / "model.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        packed.writestr("config.json", config)
        with packed.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(4):
                member.write(bytes(1 << 20))
    with pytest.raises(ImportRefusedError, match=r"its model.weights.h5 claims 4,194,304 bytes"):
        read_source(tmp_path / "model.keras")


def layers_of(count):
    """A state dict with an nn.LSTM of this many layers."""
    tensors = {"embedding.weight": np.ones((5, 3), np.float32)}
    for layer in range(count):
        tensors[f"rnn.weight_ih_l{layer}"] = np.zeros((12, 3), np.float32)
        tensors[f"rnn.weight_hh_l{layer}"] = np.zeros((12, 3), np.float32)
    return tensors


def test_a_hundred_layers(tmp_path):
    """They are refused, or imported; a thousand are refused by their number."""
    from safetensors.numpy import save_file  # noqa: PLC0415

    save_file(layers_of(100), tmp_path / "hundred.safetensors")
    with pytest.raises(ModelError, match=r"it has 100 layers; give 1..64"):
        imported(tmp_path / "hundred.safetensors", tmp_path / "model")
    save_file(layers_of(1000), tmp_path / "thousand.safetensors")
    with pytest.raises(ImportRefusedError, match=r"more than 512 recurrent layers"):
        imported(tmp_path / "thousand.safetensors", tmp_path / "model")


def test_many_leftovers_of_hostile_shapes(tmp_path):
    """Thousands of arrays with many axes, none or zeros in their shapes are judged in a moment."""
    shapes = [(), (0,), (1,) * 32, (2,) * 6, (3, 0, 5), (7, 3), (3, 7), (1, 3), (3,), (12,)]
    arrays = {f"a{number}.{name}": np.zeros(shapes[number % len(shapes)], np.float32)
              for number, name in enumerate(["weight", "bias", "x"] * 500)}  # fmt: skip
    np.savez(tmp_path / "model.npz", **layers_of(2), **arrays)
    with pytest.raises(ImportRefusedError, match=r"could be between the ids and the states of rnn.1: .* and \d+ more"):
        imported(tmp_path / "model.npz", tmp_path / "model")


def test_graphs_that_are_cycles():
    """A graph in which layers read each other, or themselves, is refused."""
    lstm = {"class_name": "LSTM", "config": {"units": 3}}
    for one, other in (("a", "b"), ("a", "a")):
        layers = [{**lstm, "name": "a", "inbound_nodes": [[[other, 0, 0, {}]]]}]
        layers += [{**lstm, "name": "b", "inbound_nodes": [[[one, 0, 0, {}]]]}]
        with pytest.raises(ImportRefusedError, match=r"reads layers that it doesn't have"):
            read_calls({"class_name": "Functional", "config": {"layers": layers}})


def test_an_onnx_graph_that_is_a_cycle(tmp_path):
    """Two LSTMs that read each other, and operators that read themselves, end in a refusal."""
    onnx = pytest.importorskip("onnx")
    weights = [onnx.numpy_helper.from_array(np.ones((1, 4, 1), np.float32), name) for name in "WR"]
    for nodes in (
        [("LSTM", ["y", "W", "R"], "x"), ("LSTM", ["x", "W", "R"], "y")],
        [("Identity", ["x"], "x"), ("LSTM", ["x", "W", "R"], "y")],
        [("Add", ["x", "y"], "x"), ("LSTM", ["x", "W", "R"], "y")],
        [("Gather", ["W", "i"], "i"), ("LSTM", ["i", "W", "R", "", "y", "y", "y"], "y")],
    ):
        made = [onnx.helper.make_node(kind, read, [name]) for kind, read, name in nodes]
        graph = onnx.helper.make_graph(made, "cycle", [], [], weights)
        onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
        with pytest.raises(ImportRefusedError):
            imported(tmp_path / "model.onnx", tmp_path / "model", parity=1e-5)


def test_axes_without_end(tmp_path):
    """Thousands of Unsqueezes would make tensors of thousands of axes; they are followed to eight."""
    onnx = pytest.importorskip("onnx")
    weights = [onnx.numpy_helper.from_array(np.ones((1, 4, 1), np.float32), name) for name in "WR"]
    axes = onnx.numpy_helper.from_array(np.array([0, 1, 2, 3]), "axes")
    ids = onnx.helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, ["a", "b"])
    nodes = [onnx.helper.make_node("Unsqueeze", [f"x{k}", "axes"], [f"x{k + 1}"]) for k in range(2000)]
    nodes.append(onnx.helper.make_node("LSTM", ["x2000", "W", "R"], ["y"]))
    graph = onnx.helper.make_graph(nodes, "axes", [ids], [], [*weights, axes])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ImportRefusedError, match=r"reads the model's input"):
        imported(tmp_path / "model.onnx", tmp_path / "model")


def test_calls_in_the_wrong_order():
    """Thousands of layers, each before the one that it reads, are sorted without a look at all pairs."""
    count = 3000
    layers = [
        {"class_name": "Dropout", "name": f"d{k}", "inbound_nodes": [[[f"d{k + 1}", 0, 0, {}]]]} for k in range(count)
    ]
    layers.append({"class_name": "InputLayer", "name": f"d{count}", "inbound_nodes": []})
    assert len(read_calls({"class_name": "Functional", "config": {"layers": layers}})) == count + 1


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["config.json", "model.safetensors"],
            r"give the file in it that contains the model: \S+/one/model.safetensors$",
        ),
        (["config.json", "pytorch_model.bin"], r"contains the model: \S+/one/pytorch_model.bin$"),
        (["a.onnx", "b.KERAS", "c.txt"], r"contains the model: \S+/one/a.onnx, \S+/one/b.KERAS$"),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            r"in 2 parts. Load the parts model-00001-of-00002.safetensors to model-00002-of-00002.safetensors",
        ),
        (["_unrolled/job.json", "a.parquet"], r"is a job's directory, not a model's$"),
        (["_unrolled/job.json", "a.keras"], r"contains the model: \S+/one/a.keras$"),
        (["config.json"], r"is a directory without saved_model.pb and without .npy files; give a Keras file"),
    ],
)
def test_directories_name_the_file_to_give(names, reason, tmp_path):
    """A directory of a model's files isn't a source, and one of its files is."""
    for name in names:
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "one" / name).touch()
    with pytest.raises(ImportRefusedError, match=reason):
        imported(tmp_path / "one", tmp_path / "made")


def test_keras_weights_in_several_files(tmp_path):
    """The list, a file of it and the directory get one advice; a file that only has such a name is read."""
    how = r"\. Load all parts with model\.load_weights\(.m\.weights\.json.\), .*model\.save_weights\(.m\.weights\.h5.\)"
    (tmp_path / "m.weights.json").write_text(
        '{"weight_map": {"/a/vars": "m_00000.weights.h5", "/b/vars": ["m_00001.weights.h5"]}}'
    )
    for name in ("m_00000.weights.h5", "m_00001.weights.h5"):
        h5py.File(tmp_path / name, "w").close()
    for source, reason in (
        (tmp_path / "m.weights.json", "it is the list of a model's weights"),
        (tmp_path / "m_00001.weights.h5", r"m\.weights\.json lists it as a part of a model"),
        (tmp_path, "is a directory with a model's weights in several files"),
    ):
        with pytest.raises(ImportRefusedError, match=reason + how):
            imported(source, tmp_path / "made")
    for name in ("m_00002.weights.h5", "n_00000.weights.h5"):
        h5py.File(tmp_path / name, "w").close()
        with pytest.raises(ImportRefusedError, match="no LSTM"):
            imported(tmp_path / name, tmp_path / "made")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's variables, with NumPy 2
@pytest.mark.parametrize("name", ["é", "a.weights.b", 'a"b'])
def test_keras_weights_in_several_files_of_other_names(name, tmp_path):
    """As Keras writes them, whatever they are called."""
    keras = pytest.importorskip("keras")
    layers = [keras.layers.Embedding(10, 4), keras.layers.LSTM(16, return_sequences=True), keras.layers.LSTM(16)]
    keras.Sequential([keras.Input((None,)), *layers]).save_weights(
        tmp_path / f"{name}.weights.json", max_shard_size=6000 / 1024**3
    )
    parts = sorted(tmp_path.glob("*.h5"))
    assert len(parts) > 1
    for source in parts:
        with pytest.raises(ImportRefusedError, match=rf"{name}\.weights\.json lists it as a part of a model"):
            imported(source, tmp_path / "made")


def test_lists_that_say_nothing_of_parts(tmp_path):
    """Of one file, of none, and of something else: the model beside them is taken, and other parts keep their error."""
    (tmp_path / "m.weights.json").write_text('{"weight_map": {"/a/vars": "m_00000.weights.h5"}}')
    (tmp_path / "n.weights.json").write_text('{"a": 0.5, "b": "\\x_00001.weights.h5"}')
    (tmp_path / "o.weights.json").touch()
    (tmp_path / "q.weights.json").write_text(json.dumps('"' * 2**21))  # minutes, if each mark were taken for a string's
    h5py.File(tmp_path / "m_00000.weights.h5", "w").close()
    for name, reason in (
        ("m_00000.weights.h5", "no LSTM"),
        (".", "give the file in it that contains the model: .*m_00000"),
        ("n.weights.json", "none of the formats"),
        ("o.weights.json", "it is empty"),
    ):
        with pytest.raises(ImportRefusedError, match=reason):
            imported(tmp_path / name, tmp_path / "made")
    (tmp_path / "m_00000.weights.h5").unlink()
    (tmp_path / "p.weights.json").write_text('{"weight_map": {"/a": "p_00000.weights.h5", "/b": "p_00001.weights.h5"}}')
    with pytest.raises(ImportRefusedError, match=r"several files\. Load all parts with .*p\.weights\.json"):
        imported(tmp_path, tmp_path / "made")
    (tmp_path / "model-00001-of-00002.safetensors").touch()
    with pytest.raises(ImportRefusedError, match="a model in 2 parts"):
        imported(tmp_path, tmp_path / "made")


def test_a_config_of_another_program_is_kept(tmp_path):
    (tmp_path / "made").mkdir()
    for text, why in (
        ('{"mine": 1}', r"config\.json has no format_version, so it is damaged, or of another program"),
        ('{"format_version": 99}', r"config\.json has format_version 99, but this program reads 1"),
        (
            '{"format_version": 1, "vocab_size": 9, "embedding_dim": 4, "max_length": null, "layers": [{"units": 5}]}',
            r"layers\[0\] lacks the fields [^;]* \(projection and reset are null where they don't apply\)",
        ),
    ):
        (tmp_path / "made" / "config.json").write_text(text)
        with pytest.raises(ImportRefusedError, match=rf"a config\.json that isn't .* \({why}\); choose another"):
            imported(MODELS / "lstm1.safetensors", tmp_path / "made")
        assert (tmp_path / "made" / "config.json").read_text() == text


def test_the_list_of_a_models_parts_is_no_model(tmp_path):
    """Whose directory gets the advice."""
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    with pytest.raises(ImportRefusedError, match=r"the list of a model's parts; to learn what to do"):
        imported(tmp_path / "model.safetensors.index.json", tmp_path / "made")
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(ImportRefusedError, match=r"has none of the formats"):
        imported(tmp_path / "vocab.json", tmp_path / "made")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["exp/models/model.json", "exp/data/sample_inputs/model.pt"],
            r"program of torch.export.*load\(FILE\).state_dict",
        ),
        (["serialized_exported_program.json", "version"], r"program of torch.export"),
        (["model/code/__torch__.py", "model/constants.pkl", "model/data.pkl"], r"it is TorchScript.*state_dict\(\)"),
        (["archive/data.pkl"], r"it can't be read as a pickle"),
        (["config.json"], r"it has no model.weights.h5|is not JSON"),
        (["a.npy"], r"can't be read as a NumPy archive"),
    ],
)
@pytest.mark.parametrize("suffix", [".pkl", ".zip", ".keras", ".npz"])
def test_zips_are_recognized_by_their_content(names, reason, suffix, tmp_path):
    """Whatever a zip file is called."""
    with zipfile.ZipFile(tmp_path / f"model{suffix}", "w") as packed:
        for name in names:
            packed.writestr(name, "")
    with pytest.raises(ImportRefusedError, match=reason):
        read_source(tmp_path / f"model{suffix}")


def test_pickles_under_any_name(tmp_path):
    """It is read by its content, and nothing in it is run; here it contains no weights."""
    (tmp_path / "model.pkl").write_bytes(pickle.dumps([Bomb()]))
    with pytest.raises(ImportRefusedError, match="it contains a list, not a dictionary of arrays"):
        read_source(tmp_path / "model.pkl")


@pytest.mark.parametrize("value", [None, "x", {"class_name": "f"}, [1], -1, True, 3.5, float("nan")])
def test_settings_of_layers_on_the_embedding_may_be_anything(value):
    """A layer with a setting that no program writes isn't known, and no error."""
    kernel, vector = (Array("a", shape, lambda: np.zeros(1, np.float32)) for shape in ((2, 2), (2,)))
    for kind, arrays in (
        ("Dense", [kernel, vector]), ("Activation", []), ("ReLU", []), ("LayerNormalization", [vector, vector]),
        ("BatchNormalization", [vector] * 4), ("TimeDistributed", [kernel]),
    ):  # fmt: skip
        for name in ("activation", "axis", "epsilon", "use_bias", "scale", "center", "layer", "max_value"):
            token_map(kind, {"axis": -1, name: value}, arrays)


@given(JSON | st.integers(-(10**400), 10**400), st.sampled_from(sorted(OPERATIONS)))
def test_constants_of_operations_may_be_anything(value, kind):
    """Any JSON among the arguments of an operation gives a function of finite numbers or none, never an error."""
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}
    array = {"class_name": "__numpy__", "config": {"value": value}}
    for arguments in ([tensor, value], [value, tensor], [tensor, array], value, [value], [tensor, tensor]):
        node = {"args": arguments}
        assert all(np.isfinite(number) for number in numbers_in(node))
        operation_map(kind, tuple(operands_in(node)))


def quantized_lstm(path, inputs, **arrays):
    """ONNX Runtime's LSTM with 8-bit weights, and these of its inputs."""
    onnx = pytest.importorskip("onnx")
    stored = {
        "words": np.ones((4, 3), np.float32),
        "W": np.ones((1, 3, 8), np.int8),
        "R": np.ones((1, 2, 8), np.int8),
        "scale": np.ones(1, np.float32),
        "zero": np.zeros(1, np.int8),
        **arrays,
    }
    nodes = [
        onnx.helper.make_node("Gather", ["words", "ids"], ["x"]),
        onnx.helper.make_node("DynamicQuantizeLSTM", inputs, ["y"], domain="com.microsoft", hidden_size=2),
    ]
    ids = onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["time", "rows"])
    made = [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()]
    graph = onnx.helper.make_graph(nodes, "hostile", [ids], [], made)
    onnx.save(onnx.helper.make_model(graph), path)


GOOD = ["x", "W", "R", "", "", "", "", "", "scale", "zero", "scale", "zero"]


@pytest.mark.parametrize(
    ("inputs", "arrays", "reason"),
    [
        (GOOD, {}, None),
        (["x", "W", "R"], {}, r"scale or zero point isn't a constant|weights are not constants"),
        ([*GOOD[:8], "ids", *GOOD[9:]], {}, r"scale or zero point isn't a constant"),
        ([*GOOD[:9], "ids", *GOOD[10:]], {}, r"scale or zero point isn't a constant"),
        (["x", "ids", *GOOD[2:]], {}, r"weights are not constants"),
        (GOOD, {"scale": np.ones(5, np.float32)}, r"its scale \(5,\) doesn't fit \(1, 3, 8\)"),
        (GOOD, {"scale": np.ones((1, 8), np.float32), "zero": np.zeros((1, 8), np.int8)}, None),
        (GOOD, {"zero": np.zeros((3, 3), np.int8)}, r"doesn't fit"),
        (GOOD, {"W": np.ones((0, 3, 8), np.int8)}, r"direction is 'forward' with weights for 0"),
        (GOOD, {"W": np.ones((3, 8), np.int8)}, r"weights are not constants"),
    ],
)
def test_damaged_quantized_layers(inputs, arrays, reason, tmp_path):
    """Each is read, or refused with what is wrong in it."""
    quantized_lstm(tmp_path / "model.onnx", inputs, **arrays)
    if reason is None:
        assert imported(tmp_path / "model.onnx", tmp_path / "model").made.config.layers[0].units == 2
        return
    with pytest.raises(ImportRefusedError, match=reason):
        imported(tmp_path / "model.onnx", tmp_path / "model")


@pytest.mark.parametrize("shapes", [((1 << 20,), (1 << 20,)), ((), (1 << 20,)), ((0,), (0,))])
def test_scales_of_any_size_are_judged_in_a_moment(shapes, tmp_path):
    """Thousands of operators with one huge scale don't read it thousands of times."""
    onnx = pytest.importorskip("onnx")
    count = 2000
    arrays = {"words": np.ones((4, 3), np.int8), "one": np.ones(shapes[0], np.float32),
              "two": np.ones(shapes[1], np.float32), "W": np.ones((1, 8, 3), np.float32),
              "R": np.ones((1, 8, 2), np.float32)}  # fmt: skip
    nodes = [onnx.helper.make_node("Gather", ["words", "ids"], ["x0"])]
    for number in range(count):
        nodes += [
            onnx.helper.make_node("DequantizeLinear", [f"x{number}", "one"], [f"d{number}"]),
            onnx.helper.make_node("QuantizeLinear", [f"d{number}", "two"], [f"x{number + 1}"]),
        ]
    nodes.append(onnx.helper.make_node("LSTM", [f"d{count - 1}", "W", "R"], ["y"], hidden_size=2))
    ids = onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["time", "rows"])
    made = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "hostile", [ids], [], made)), tmp_path / "m.onnx")
    with pytest.raises(ImportRefusedError, match=r"reads d\d+ \(DequantizeLinear\)|DequantizeLinear"):
        imported(tmp_path / "m.onnx", tmp_path / "model")


def test_a_model_directory_is_named_as_one(tmp_path):
    """It needs no import; its weights alone would be called no LSTM."""
    config = ModelConfig.stacked(9, 4, 3, 1, 4)
    model = save_model(tmp_path / "model", config, new_weights(config, 1)).path
    for source in (model, model / "model.safetensors"):
        with pytest.raises(
            ImportRefusedError, match=r"model: is a model directory already; give it to commands as it is"
        ):
            imported(source, tmp_path / "made")
