"""Reads the files of `torch.save` without PyTorch: the zip that it writes now, and the format before it.

    zip     NAME/data.pkl is the pickle, NAME/data/KEY the numbers of a storage, NAME/byteorder "little" or "big"
    before  five pickles: a magic number, the protocol, facts about the machine, the object, and the storages' keys;
            then for each key, in order, the count as 8 bytes, little-endian, and the numbers

Source: torch/serialization.py. A plain pickle, such as one of a dictionary of NumPy arrays, is read too. In one
of tensors, each storage is what torch.save made of it, in the format before the zip (torch/storage.py).
"""

# Over 150 lines: two formats of one kind of file, which share how numbers are found and checked.

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import UNKNOWN, Array, own_float32
from worker.model_import.limits import MOST_JSON_BYTES, check_array, check_count, most_unpacked
from worker.model_import.readers.torch.unpickling import Inert, OtherTensor, PickledArray, Storage, Tensor, read_pickle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.model_import.found import Float32

_MAGIC = 0x1950A86A20F9469CFC6C
_ITEM_BYTES = {"bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file's content.

    Attributes:
        content: the object, as `read_pickle` gives it.
        array: gives an array that is still in the file, for a tensor or a `PickledArray` in the content and its name.
    """

    content: Any
    array: Callable[[str, Tensor | OtherTensor | PickledArray], Array]


def load(path: Path) -> Loaded:
    """Read a file of `torch.save`, or a plain pickle.

    Raises:
        ImportRefusedError: it is neither, or damaged.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _load_zip(path, archive)
        with path.open("rb") as file:
            return _load_before(path, file)
    except (zipfile.BadZipFile, RuntimeError, EOFError, KeyError, UnicodeDecodeError) as error:
        raise ImportRefusedError(f"it can't be read as a file of torch.save ({error}); get a fresh copy") from error


def _load_zip(path: Path, archive: zipfile.ZipFile) -> Loaded:
    check_count(path.name, len(archive.infolist()))
    pickles = [info for info in archive.infolist() if info.filename.endswith("data.pkl")]
    if len(pickles) != 1:
        raise ImportRefusedError(f"it contains {len(pickles)} files named data.pkl; torch.save writes one")
    prefix = pickles[0].filename.removesuffix("data.pkl")
    if pickles[0].file_size > min(16 * MOST_JSON_BYTES, most_unpacked(pickles[0].compress_size)):
        raise ImportRefusedError(f"its data.pkl claims {pickles[0].file_size:,} bytes; get a fresh copy")
    stored = {info.filename: info for info in archive.infolist()}
    if f"{prefix}byteorder" in stored and archive.read(f"{prefix}byteorder")[:8] != b"little":
        raise ImportRefusedError("its numbers are big-endian; save it again on another machine")
    with archive.open(pickles[0]) as packed:
        content, _ = read_pickle(io.BytesIO(packed.read()))

    def read(storage: Storage, first: int, count: int) -> bytes:
        with zipfile.ZipFile(path) as again, again.open(f"{prefix}data/{storage.key}") as one:
            one.seek(first)
            return one.read(count)

    def check(storage: Storage) -> int:
        info = stored.get(f"{prefix}data/{storage.key}")
        if info is None or info.file_size > most_unpacked(info.compress_size):
            raise ImportRefusedError(f"its numbers {storage.key:.80} aren't there, or damaged; get a fresh copy")
        return info.file_size

    return Loaded(content, partial(_array_of, check, read))


def _load_before(path: Path, file: BinaryIO) -> Loaded:
    size = file.seek(0, 2)
    file.seek(0)
    content, _ = read_pickle(file, _stored_within(size))
    places: dict[str, tuple[int, int]] = {}  # of each storage its first byte and its size in bytes
    if content == _MAGIC:
        read_pickle(file)
        read_pickle(file)
        content, kinds = read_pickle(file)
        keys, _ = read_pickle(file)
        places = _places(file, kinds, keys if isinstance(keys, list) else [])

    def read(storage: Storage, first: int, count: int) -> bytes:
        if storage.content is not None:
            return storage.content[first : first + count]
        with path.open("rb") as again:
            again.seek(places[storage.key][0] + first)
            return again.read(count)

    def check(storage: Storage) -> int:
        if storage.content is not None:
            return len(storage.content)
        if storage.key not in places:
            raise ImportRefusedError(f"its numbers {storage.key:.80} aren't there; get a fresh copy")
        return places[storage.key][1]

    return Loaded(content, partial(_array_of, check, read))


def _stored_within(most_bytes: int) -> Callable[[Any], Any]:
    """Gives the storages of a plain pickle of tensors; together they can't have more bytes than the file."""
    left = most_bytes

    def stored(given: Any) -> Any:
        nonlocal left
        if not isinstance(given, bytes | bytearray):
            return Inert()
        left -= len(given)
        if left < 0:
            raise ImportRefusedError("its pickle reads more than it contains; get a fresh copy")
        file = io.BytesIO(given)
        magic, _protocol, _machine = (read_pickle(file)[0] for _ in range(3))
        storage, kinds = read_pickle(file)
        keys, _ = read_pickle(file)
        places = _places(file, kinds, keys if isinstance(keys, list) else [])
        if magic != _MAGIC or not isinstance(storage, Storage) or storage.key not in places:
            return Inert()
        start, size = places[storage.key]
        return replace(storage, content=bytes(given[start : start + size]))

    return stored


def _places(file: BinaryIO, kinds: dict[str, str], keys: list[Any]) -> dict[str, tuple[int, int]]:
    """Where the numbers of each storage are."""
    at = file.tell()
    size = file.seek(0, 2)
    places: dict[str, tuple[int, int]] = {}
    for key in map(str, keys):
        file.seek(at)
        head = file.read(8)
        if key not in kinds:  # of a kind that isn't known, so the place of the next one isn't known either
            break
        count = int.from_bytes(head, "little") * _item_bytes(kinds[key])
        if len(head) < 8 or at + 8 + count > size:
            raise ImportRefusedError("it ends too early; get a fresh copy")
        places[key] = at + 8, count
        at += 8 + count
    return places


def _item_bytes(kind: str) -> int:
    return _ITEM_BYTES.get(kind) or np.dtype(kind).itemsize


def _array_of(
    check: Callable[[Storage], int],
    read: Callable[[Storage, int, int], bytes],
    name: str,
    found: Tensor | OtherTensor | PickledArray,
) -> Array:
    if isinstance(found, OtherTensor):
        shape = check_array(name, found.shape, 1)
        return Array(name, shape, lambda: np.zeros(shape, np.float32), UNKNOWN)
    if isinstance(found, PickledArray):
        return _array_in_pickle(name, found)
    kind, item = found.storage.kind, _item_bytes(found.storage.kind)
    shape = check_array(name, found.shape, max(item, 4))
    last = sum((size - 1) * stride for size, stride in zip(shape, found.strides, strict=True)) if 0 not in shape else -1
    size_bytes = check(found.storage)
    sound = found.offset >= 0 and all(stride >= 0 for stride in found.strides)
    if not sound or (found.offset + last + 1) * item > size_bytes:
        raise ImportRefusedError(f"{name}: {shape} is beyond the stored {size_bytes:,} bytes; get a fresh copy")

    def values() -> Float32:
        content = read(found.storage, found.offset * item, (last + 1) * item)
        if kind == "bfloat16":  # NumPy has none; its bits are the upper half of a float32
            numbers = (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            numbers = np.frombuffer(content, kind)
        steps = [stride * numbers.itemsize for stride in found.strides]
        return own_float32(name, np.lib.stride_tricks.as_strided(numbers, shape, steps))

    is_float = kind == "bfloat16" or np.dtype(kind).kind == "f"
    return Array(name, shape, values, "" if is_float else np.dtype(kind).name)


def _array_in_pickle(name: str, found: PickledArray) -> Array:
    content = found.content
    sizes = found.shape if isinstance(found.shape, tuple) and all(type(one) is int for one in found.shape) else (-1,)
    dtype = np.dtype(found.dtype) if found.dtype else None
    shape = check_array(name, sizes, 1 if dtype is None else dtype.itemsize)
    expected = int(np.prod(shape, dtype=np.int64)) * (1 if dtype is None else dtype.itemsize)
    if dtype is None or not isinstance(content, bytes) or len(content) != expected:
        return Array(name, shape, lambda: np.zeros(shape, np.float32), "object")

    def values() -> Float32:
        numbers = np.frombuffer(content, dtype).reshape(shape, order="F" if found.fortran else "C")
        return own_float32(name, numbers)

    return Array(name, shape, values, "" if dtype.kind == "f" else dtype.name)
