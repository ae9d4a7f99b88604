"""Tensors that can't be read: none is left out in silence, as a layer's bias or as a matrix on the way to it.

The files are as torch.save writes them; PyTorch isn't needed.
"""

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest
from support.imported import imported, states_of

from worker.model_import.errors import ImportRefusedError

#: The functions here stand for those of PyTorch with these names.
NAMES = {
    "plain": "torch._utils\n_rebuild_tensor_v2",
    "of_other_numbers": "torch._utils\n_rebuild_tensor_v3",
    "sparse": "torch._utils\n_rebuild_sparse_tensor",
    "of_type": "torch._tensor\n_rebuild_from_type_v2",
    "Storage": "torch\nFloatStorage",
}


def plain(*_):
    """Stands for PyTorch's function."""


def of_other_numbers(*_):
    """Stands for PyTorch's function."""


def sparse(*_):
    """Stands for PyTorch's function."""


def of_type(*_):
    """Stands for PyTorch's function."""


class Storage:
    """The numbers of a tensor."""

    def __init__(self, numbers):
        self.numbers = numbers


class Tensor:
    """A tensor, as PyTorch pickles it."""

    def __init__(self, array, function=plain, facts=()):
        self._array, self._function, self._facts = array, function, facts

    def __reduce__(self):
        array = np.asarray(self._array, order="C")
        strides = tuple(step // array.itemsize for step in array.strides)
        given = (Storage(array.tobytes()), 0, array.shape, strides, False, collections.OrderedDict(), *self._facts)
        if self._function is sparse:
            return sparse, ("layout", (Tensor(np.zeros((2, 0), np.float32)), Tensor(array)))
        if self._function is of_type:
            return of_type, (plain, Storage, given, {})
        return self._function, given


class Pickler(pickle.Pickler):
    """Keeps the numbers of storages."""

    def __init__(self, file):
        super().__init__(file, 2)
        self.stored = []

    def persistent_id(self, one):
        if not isinstance(one, Storage):
            return None
        self.stored.append(one.numbers)
        return ("storage", Storage, str(len(self.stored) - 1), "cpu", len(one.numbers) // 4)


def save(path, content):
    """Write a file as torch.save does."""
    made = io.BytesIO()
    pickler = Pickler(made)
    pickler.dump(content)
    packed = made.getvalue()
    for name, real in NAMES.items():
        packed = packed.replace(f"{__name__}\n{name}\n".encode(), f"{real}\n".encode())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", packed)
        archive.writestr("m/byteorder", "little")
        for key, numbers in enumerate(pickler.stored):
            archive.writestr(f"m/data/{key}", numbers)
    return path


def arrays():
    """An embedding and an LSTM."""
    random = np.random.default_rng(0)
    shapes = {
        "emb.weight": (10, 4), "rnn.weight_ih_l0": (20, 4), "rnn.weight_hh_l0": (20, 5),
        "rnn.bias_ih_l0": (20,), "rnn.bias_hh_l0": (20,),
    }  # fmt: skip
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def state_dict(**changed):
    """Tensors by name; a change is the function, and the facts, of a tensor that isn't plain."""
    return {name: Tensor(array, *changed.get(name.replace(".", "_"), ())) for name, array in arrays().items()}


def test_tensors_are_read(tmp_path):
    """Also of a class of their own. The other tests here mean something only if this file is read right."""
    np.savez(tmp_path / "model.npz", **arrays())
    expected = states_of(imported(tmp_path / "model.npz", tmp_path / "npz"))
    for name, content in (("plain", state_dict()), ("typed", state_dict(rnn_weight_hh_l0=(of_type,)))):
        done = imported(save(tmp_path / f"{name}.pt", content), tmp_path / name)
        assert all(np.array_equal(one, two) for one, two in zip(expected, states_of(done), strict=True))
        assert done.made.left == []


@pytest.mark.parametrize("kind", [(of_other_numbers, ("float8",)), (sparse,)])
@pytest.mark.parametrize("name", ["rnn.bias_ih_l0", "rnn.weight_hh_l0", "emb.weight"])
def test_a_layer_s_own(name, kind, tmp_path):
    """A layer isn't imported without its bias."""
    source = save(tmp_path / "model.pt", state_dict(**{name.replace(".", "_"): kind}))
    with pytest.raises(ImportRefusedError, match=r"can't be read|rnn reads vectors 4 wide, and nothing"):
        imported(source, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("facts", [({"neg": True},), ({"conj": True},)])
def test_a_tensor_that_is_seen_through_a_function(facts, tmp_path):
    """Its stored numbers aren't its own."""
    source = save(tmp_path / "model.pt", state_dict(rnn_bias_hh_l0=(plain, facts)))
    with pytest.raises(ImportRefusedError, match=r"rnn.bias_hh_l0 can't be read \(it is sparse, "):
        imported(source, tmp_path / "model")


@pytest.mark.parametrize("kind", [(of_other_numbers, ("float8",)), (sparse,), (plain, ({"neg": True},))])
def test_one_that_could_be_on_the_way(kind, tmp_path):
    """It stops the import until the user says that it is beside the way."""
    matrix = Tensor(np.eye(4, dtype=np.float32), *kind)
    source = save(tmp_path / "model.pt", state_dict() | {"proj.weight": matrix})
    with pytest.raises(ImportRefusedError, match=r"proj.weight .* (can't be read|can turn) .*--leave proj"):
        imported(source, tmp_path / "model")
    assert imported(source, tmp_path / "left", leave=("proj",)).made.left == ["proj.weight (--leave)"]


def test_tensors_in_lists(tmp_path):
    """They count as those in dictionaries do, but for the history of a training."""
    history = [Tensor(np.array(0.5, np.float32)) for _ in range(3)]
    source = save(tmp_path / "known.pt", {"model": state_dict(), "losses": history, "words": [["a", ("b", 1)]] * 9})
    assert imported(source, tmp_path / "known").made.left == []
    source = save(tmp_path / "extra.pt", {"model": state_dict(), "extra": [Tensor(np.eye(4, dtype=np.float32))]})
    with pytest.raises(ImportRefusedError, match=r"extra.0 \(4, 4\) .*--leave extra"):
        imported(source, tmp_path / "extra")


def test_one_dictionary_under_two_names(tmp_path):
    """It is one model, and lists that contain each other end."""
    same = state_dict()
    deep = [same]
    for _ in range(40):
        deep = [deep] * 40
    done = imported(save(tmp_path / "model.pt", {"model": same, "best": same, "deep": deep}), tmp_path / "model")
    assert done.made.left == []


@pytest.mark.parametrize("dtype", [object, "V2"])
def test_numpy_arrays_of_other_numbers(dtype, tmp_path):
    """Objects may be numbers, and bfloat16 is V2; a single object, such as a dictionary, is no weight."""
    stored = arrays() | {"about": np.array({"step": 3}), "words": np.array(["a", "b"])}
    np.savez(tmp_path / "model.npz", **stored)
    assert imported(tmp_path / "model.npz", tmp_path / "model").made.left == []
    bias = stored["rnn.bias_hh_l0"]
    stored["rnn.bias_hh_l0"] = bias.astype(object) if dtype is object else np.zeros(bias.shape, dtype)
    np.savez(tmp_path / "other.npz", **stored)
    with pytest.raises(ImportRefusedError, match=r"rnn.bias_hh_l0 can't be read"):
        imported(tmp_path / "other.npz", tmp_path / "other")
