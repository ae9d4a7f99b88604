"""Pickles and files of torch.save, read without PyTorch and without running anything in them."""

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.imported import ROWS, imported, states_of

from worker.model_import.errors import ImportRefusedError
from worker.model_import.readers.torch.archive import load
from worker.model_import.readers.torch.unpickling import Inert, read_pickle


class Bomb:
    """Calls a function when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def arrays():
    random = np.random.default_rng(0)
    shapes = {"emb.weight": (10, 4), "rnn.weight_ih_l0": (20, 4), "rnn.weight_hh_l0": (20, 5), "rnn.bias_ih_l0": (20,)}
    shapes |= {"rnn.bias_hh_l0": (20,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_arrays_are_imported(protocol, tmp_path):
    """Dictionaries of NumPy arrays in every protocol, beside objects of any class."""
    stored = arrays() | {"step": np.float32(3), "who": Bomb(), "counts": collections.defaultdict(int, a=1)}
    stored["rnn.weight_hh_l0"] = np.asfortranarray(stored["rnn.weight_hh_l0"])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"weights": stored}, protocol))
    done = imported(tmp_path / "model.pkl", tmp_path / "model")
    np.savez(tmp_path / "model.npz", **arrays())
    for found, expected in zip(
        states_of(done), states_of(imported(tmp_path / "model.npz", tmp_path / "npz")), strict=True
    ):
        assert np.array_equal(found, expected)
    assert len(ROWS) == len(states_of(done))


def read(content):
    return read_pickle(io.BytesIO(content))[0]


def test_any_object_is_inert():
    """It is built of nothing, and takes whatever a pickle does to it."""
    built = read(
        pickle.dumps({"a": Bomb(), "b": [np.random.default_rng(0), range(3), slice(1)], "c": collections.Counter("aa")})
    )
    assert isinstance(built["a"], Inert)
    assert all(isinstance(one, Inert) for one in built["b"])


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'exit 1'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R.",
        b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR(tR.",
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00acos\nsystem\nsb.",
    ],
)
def test_calls_do_nothing(content):
    """Functions are names of inert classes."""
    assert isinstance(read(content), Inert | dict)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04",
        b"\x80\x04]r\xff\xff\xff\xff.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx.",
        b"\x80\x04\x8d\xff\xff\xff\xff\x00\x00\x00\x00x.",
        b"(I1\nt(I2\nlu.",
        b"\x80\x02ccollections\nOrderedDict\n(I1\nI2\ndb.",
        b"\x82\x01.",
    ],
)
def test_damaged_pickles_are_refused(content):
    """Before memory is taken that they claim."""
    with pytest.raises(ImportRefusedError):
        read(content)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_mutated_pickles_are_read_or_refused(data):
    """Nothing else is raised."""
    content = bytearray(
        pickle.dumps({**arrays(), "x": Bomb(), "o": collections.OrderedDict(a=1)}, data.draw(st.integers(0, 5)))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(content))
    except ImportRefusedError:
        return


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"m/data/0": b"1234"}, "beyond the stored 4 bytes"),
        ({"m/data/0": None}, "0 aren't there"),
        ({"m/byteorder": b"big"}, "big-endian"),
        ({"n/data.pkl": b"x"}, "2 files named data.pkl"),
    ],
)
def test_damaged_archives_are_refused(change, reason, tmp_path):
    """Each with its reason."""
    with pytest.raises(ImportRefusedError, match=reason):
        imported(archive(tmp_path / "model.pt", change), tmp_path / "model")


def test_an_archive_is_read(tmp_path):
    """The layout of torch.save, with a tensor that is a transposed view."""
    loaded = load(archive(tmp_path / "model.pt", {}))
    found = loaded.array("x", loaded.content["x"])
    assert found.read().tolist() == [[0, 3], [1, 4], [2, 5]]


def plain_pickle(repeats=1, numbers=6):
    """What pickle.dump makes of a dictionary of tensors: each storage is a file of torch.save, before it wrote zips."""
    inner = io.BytesIO()
    for facts in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(facts, inner, 2)
    Pickler(inner, 2).dump(Storage())
    pickle.dump(["0"], inner, 2)
    inner.write((6).to_bytes(8, "little") + np.arange(numbers, dtype="<f4").tobytes())
    stored = named_as_pytorchs(inner.getvalue())

    class Stored:
        def __reduce__(self):
            return (load_from_bytes, (stored,))

    class Plain:
        def __reduce__(self):
            return (rebuild, (Stored(), 0, (3, 2), (1, 3), False, collections.OrderedDict()))

    return named_as_pytorchs(pickle.dumps({f"x{number}": Plain() for number in range(repeats)}, 2))


def test_tensors_that_torch_save_did_not_write(tmp_path):
    """Their numbers are in the pickle; a damaged one is refused."""
    (tmp_path / "model.pkl").write_bytes(plain_pickle(2))
    loaded = load(tmp_path / "model.pkl")
    for name in ("x0", "x1"):
        assert loaded.array(name, loaded.content[name]).read().tolist() == [[0, 3], [1, 4], [2, 5]]
    (tmp_path / "short.pkl").write_bytes(plain_pickle(numbers=5))
    with pytest.raises(ImportRefusedError, match="it ends too early"):
        load(tmp_path / "short.pkl")


def test_modules_with_their_sources_are_inert():
    """As PyTorch stored them before it wrote zips: the class of an object is a reference."""
    made = io.BytesIO()
    ModulePickler(made, 2).dump({"model": Module(), "again": Module()})
    built = read(made.getvalue())
    assert [type(one).__name__ for one in built.values()] == ["Module", "Module"]
    assert built["model"].attributes == {"size": 3}


class Module:
    """Stands for a module of PyTorch."""

    def __init__(self):
        self.size = 3


class ModulePickler(pickle.Pickler):
    """Refers to a class together with its source."""

    def __init__(self, *given):
        super().__init__(*given)
        self._referred = False

    def persistent_id(self, one):
        if one is not Module or self._referred:
            return None
        self._referred = True  # the reference contains the class too
        return ("module", one, "model.py", "class Module: …")


class Storage:
    """Stands for a storage of PyTorch in a pickle."""


class Rebuild:
    """A tensor as PyTorch pickles it."""

    def __reduce__(self):
        return (rebuild, (Storage(), 0, (3, 2), (1, 3), False, collections.OrderedDict()))


def rebuild(*_):
    """Stands for PyTorch's function of this name."""


def load_from_bytes(*_):
    """Stands for PyTorch's function of this name."""


def named_as_pytorchs(content):
    """A pickle with the names of PyTorch for what stands for its objects here."""
    for ours, theirs in (
        ("rebuild", b"torch._utils\n_rebuild_tensor_v2\n"),
        ("Storage", b"torch\nFloatStorage\n"),
        ("load_from_bytes", b"torch.storage\n_load_from_bytes\n"),
    ):
        content = content.replace(f"{__name__}\n{ours}\n".encode(), theirs)
    return content


class Pickler(pickle.Pickler):
    """Names the objects here as PyTorch's."""

    def persistent_id(self, one):
        return ("storage", Storage, "0", "cpu", 6) if isinstance(one, Storage) else None


def archive(path, change):
    """A file of torch.save with a tensor of six numbers."""
    made = io.BytesIO()
    Pickler(made, 2).dump({"x": Rebuild()})
    content = named_as_pytorchs(made.getvalue())
    files = {"m/data.pkl": content, "m/byteorder": b"little", "m/data/0": np.arange(6, dtype="<f4").tobytes()} | change
    with zipfile.ZipFile(path, "w") as packed:
        for name, one in files.items():
            if one is not None:
                packed.writestr(name, one)
    return path
