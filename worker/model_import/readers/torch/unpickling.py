"""Reads pickles without running anything in them.

A pickle is a program that builds objects and may call any function by its name. Here every name gives an inert class,
whose objects keep nothing and do nothing, except for the few names that stand for tensors, arrays and dictionaries.
These give records of this module. Nothing is imported, and no function of a library is called.
"""

# Over 150 lines: the names that stand for something, and the reader that knows no others.

from __future__ import annotations

import io
import pickle
import pickletools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from worker.model_import.errors import ImportRefusedError
from worker.model_import.limits import MOST_JSON_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

#: More operations than any pickle of a model has; each takes about a microsecond.
_MOST_OPERATIONS = 20_000_000
_QUANTIZED = "its weights are quantized to 8 bits; import the float32 model that it was made from"
#: PyTorch's classes of storages, and the NumPy dtype of their numbers; "bfloat16" is not NumPy's.
STORAGES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Storage:
    """The numbers of one or several tensors.

    Attributes:
        kind: one of the values of `STORAGES`.
        key: its name in the file.
        numbers: how many there are.
        content: their bytes, where they are in the pickle; None where they are elsewhere in the file.
    """

    kind: str
    key: str
    numbers: int
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: a view of a storage, in numbers from its beginning.

    Attributes:
        storage: the numbers.
        offset: the place of the first one.
        shape: its shape.
        strides: for each axis how many numbers its neighbours are apart.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OtherTensor:
    """A tensor that can't be read: of other numbers, sparse, or seen through a function, such as a minus.

    Attributes:
        shape: its shape, where the pickle says it as it does of other tensors; else empty.
    """

    shape: tuple[int, ...]


class PickledArray:
    """An array of NumPy, whose bytes are in the pickle.

    Attributes:
        shape: its shape.
        dtype: text of the dtype, such as "<f4"; "" if it isn't known yet, or contains objects.
        fortran: whether the first axis varies fastest.
        content: the bytes.
    """

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype, self.fortran, self.content = "", False, b""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 5:
            _, self.shape, dtype, self.fortran, self.content = state
            self.dtype = dtype.text if isinstance(dtype, _Dtype) else ""


class Inert:
    """An object of any class that isn't known here. It takes everything, and keeps only its attributes."""

    attributes: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Take any arguments; a pickle may call no more than this."""
        made = super().__new__(cls)
        made.attributes = {}
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take any arguments."""

    def __setstate__(self, state: Any) -> None:
        # The attributes of an object that __new__ made alone, as pickles do.
        self.attributes = state if isinstance(state, dict) else {}

    def __call__(self, *_: Any, **__: Any) -> Inert:
        """Do nothing: it stands for a function too."""
        return Inert()

    def _take(self, *_: Any) -> None:
        """Do nothing."""

    append = extend = add = update = __setitem__ = _take


class _Dictionary(dict[Any, Any]):
    """Any dictionary; attributes of an OrderedDict and the factory of a defaultdict are dropped."""

    def __init__(self, *given: Any) -> None:
        super().__init__(given[0] if given and isinstance(given[0], list | dict) else ())

    def __setstate__(self, _: Any) -> None:
        """Drop the attributes."""


class _Dtype:
    """A NumPy dtype."""

    def __init__(self, text: Any = "", *_: Any) -> None:
        self.text = f"<{text}" if isinstance(text, str) and text[:1] in "fiub" else ""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|") and self.text:
            self.text = state[1] + self.text[1:]


def _tensor(
    storage: Any = None, offset: Any = None, shape: Any = None, strides: Any = None, *others: Any
) -> Tensor | OtherTensor:
    """The arguments of PyTorch's functions that rebuild tensors, as a record.

    The third of the others are facts such as that each number has the opposite sign.
    """
    numbers = (offset, *shape, *strides) if isinstance(shape, tuple) and isinstance(strides, tuple) else (None,)
    sound = len(numbers) > 1 or shape == strides == ()
    if not sound or len(shape) != len(strides) or any(type(one) is not int for one in numbers):
        return OtherTensor(())
    if not isinstance(storage, Storage) or (len(others) > 2 and others[2]):
        return OtherTensor(shape)
    return Tensor(storage, offset, shape, strides)


def _other_tensor(*given: Any) -> OtherTensor:
    """A tensor that PyTorch rebuilds by a function that isn't known here; some have the arguments of the known ones."""
    found = _tensor(None, *given[1:4])
    return OtherTensor(found.shape)


def _parameter(data: Any = None, *_: Any) -> Any:
    return data


def _of_type(function: Any = None, _type: Any = None, arguments: Any = (), *_: Any) -> Any:
    """A tensor of a class of its own, which PyTorch rebuilds by one of the functions here.

    The function is as harmless as all that a pickle can name here, and the pickle could call it itself.
    """
    made = function(*arguments) if callable(function) and isinstance(arguments, tuple) else None
    return made if isinstance(made, Tensor | OtherTensor) else OtherTensor(())


def _refuse_quantized(*_: Any) -> Any:
    raise ImportRefusedError(_QUANTIZED)


def _array(*_: Any) -> PickledArray:
    return PickledArray()


def _array_of_bytes(content: Any = b"", dtype: Any = None, shape: Any = (), order: Any = "C", *_: Any) -> PickledArray:
    made = PickledArray()
    text = dtype if isinstance(dtype, _Dtype) else _Dtype()
    made.__setstate__((1, shape, text, order == "F", bytes(content) if isinstance(content, bytes | bytearray) else b""))
    return made


def _encode(text: Any = "", *_: Any) -> Any:
    """How protocols up to 2 store bytes."""
    return text.encode("latin-1", "replace") if isinstance(text, str) else b""


#: What stands for tensors, arrays and dictionaries; by module and name.
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _Dictionary,
    ("collections", "defaultdict"): _Dictionary,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch._utils", "_rebuild_qtensor"): _refuse_quantized,
    **{(f"numpy{core}.multiarray", "_reconstruct"): _array for core in (".core", "._core")},
    **{(f"numpy{core}.numeric", "_frombuffer"): _array_of_bytes for core in (".core", "._core")},
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, stored: Callable[[Any], Any] | None) -> None:
        super().__init__(file)
        self._stored = stored
        self._classes: dict[tuple[str, str], type] = {}
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.storage", "_load_from_bytes") and self._stored is not None:
            return _fresh(self._stored)
        if (known := _KNOWN.get((module, name))) is not None:
            # A function of its own, because a pickle may set attributes of what it is given.
            return known if isinstance(known, type) else _fresh(known)
        if module in ("torch._utils", "torch._tensor") and name.startswith("_rebuild"):
            return _fresh(_other_tensor)
        if "quantized" in module or name in ("qint8", "quint8", "ScriptObject"):
            raise ImportRefusedError(_QUANTIZED)
        return self._classes.setdefault((module, name), type(name, (Inert,), {"__module__": module}))

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module" and isinstance(pid[1], type):
            return pid[1]  # the class of a module, which PyTorch once stored with its source
        kind, storage, key, _, numbers, *view = pid if isinstance(pid, tuple) and len(pid) > 4 else (None,) * 5
        name = storage.__name__ if isinstance(storage, type) else ""
        if kind != "storage" or name not in STORAGES or type(numbers) is not int or view not in ([], [None]):
            return Inert()
        self.storages[str(key)] = STORAGES[name]
        return Storage(STORAGES[name], str(key), numbers)


def _fresh(function: Callable[..., Any]) -> Callable[..., Any]:
    def fresh(*given: Any) -> Any:
        return function(*given)

    return fresh


def read_pickle(file: BinaryIO, stored: Callable[[Any], Any] | None = None) -> tuple[Any, dict[str, str]]:
    """Read one pickle from the file's position on; the file is then behind it.

    Args:
        file: with the pickle.
        stored: gives the `Storage` of what torch.save has made of one, which is what pickles of tensors contain that
            torch.save didn't write; None to take these for inert objects.

    Returns:
        The object: numbers, texts, lists and dictionaries as they are, tensors and arrays as records, and anything else
        `Inert`. And the kinds of all storages that the pickle names, by their keys.

    Raises:
        ImportRefusedError: it is damaged, too large, or contains tensors that can't be imported.
    """
    start = file.tell()
    try:
        _check_operations(file)
        file.seek(start)
        unpickler = _Unpickler(file, stored)
        return unpickler.load(), unpickler.storages
    except ImportRefusedError:
        raise
    # A hostile pickle may make the unpickler call an Inert object in any way.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportRefusedError(f"it can't be read as a pickle ({reason:.200}); get a fresh copy") from error


def _check_operations(file: BinaryIO) -> None:
    """Check the operations before any is done: a memo or a text may claim gigabytes."""
    for count, (operation, argument, _) in enumerate(pickletools.genops(cast("BinaryIO", _Limited(file))), 1):
        too_far = operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument is not None and argument > count
        if count > _MOST_OPERATIONS or too_far:
            raise ImportRefusedError("its pickle is larger than any model's; get a fresh copy")


class _Limited(io.RawIOBase):
    """A file for `pickletools`, which refuses to read texts that are longer than any in a model."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > 16 * MOST_JSON_BYTES:
            raise ImportRefusedError(f"its pickle contains a text of {size:,} bytes; no model does")
        return self._file.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._file.readline(-1 if size is None else size)

    def tell(self) -> int:
        return self._file.tell()
