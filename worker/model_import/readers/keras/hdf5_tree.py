"""HDF5 as a tree of arrays: only hard links are followed, and sizes are checked before anything is read.

HDF5 can refer to other files (external links, external storage, virtual datasets); none of them is opened.
"""

from __future__ import annotations

import mmap
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import UnrolledError
from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import UNKNOWN, Array, Float32, as_float32
from worker.model_import.limits import MOST_JSON_BYTES, check_array, check_count
from worker.model_import.readers.keras.configuration import json_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import h5py
    from numpy.typing import NDArray

_DEPTH = 32
#: A collection of texts and lists begins with this, and its size in 8 bytes; each object in it with its number, in 2 of
#: 8 bytes, and its size in 8 bytes (the format's specification, III.E). Free space has the number 0.
_COLLECTION, _WRAPS = b"GCOL\1", 2**64
_DAMAGED = "it can't be read as HDF5 ({}); get a fresh copy"


def open_file(source: Path | bytes) -> h5py.File:
    """Open an HDF5 file for reading, by its path or its content.

    The library HDF5 holds a copy of the content, and no Python object: a file that is still open when the process ends
    is closed after Python has ended, and a call into Python would crash.

    Raises:
        ImportRefusedError: h5py isn't installed, or the file isn't HDF5, or reading it would never end.
    """
    try:
        import h5py  # noqa: PLC0415 - in the extra [import]
    except ModuleNotFoundError as error:
        raise refuse_missing("h5py", "import") from error
    try:
        _check_collections(source)
        file = h5py.File.in_memory(source) if isinstance(source, bytes) else h5py.File(source, "r")
    except (OSError, ValueError) as error:
        raise ImportRefusedError(_DAMAGED.format(error)) from error
    # `_check_collections` looks for sizes of 8 bytes, which every writer of models has. Opening reads no list.
    if (sizes := file.id.get_create_plist().get_sizes()) != (8, 8):
        file.close()
        raise ImportRefusedError(
            f"this HDF5 file has addresses of {sizes[0]} bytes and lengths of {sizes[1]}, not of 8 each; save the "
            "model again with Keras or h5py"
        )
    return file


def _check_collections(source: Path | bytes) -> None:
    """Refuse objects and free space that end where they begin: the library HDF5 would go on from there for ever.

    No signal would end that.

    Raises:
        OSError, ValueError: the file can't be read, or is empty.
        ImportRefusedError: there is such space.
    """
    if isinstance(source, bytes):
        _check_collections_in(source)
        return
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        _check_collections_in(content)


def _check_collections_in(content: bytes | mmap.mmap) -> None:
    # Each mark is followed, also within a collection: a forged one could hide a real one. As real ones don't overlap,
    # there are no more steps than objects have room.
    start, left = content.find(_COLLECTION), len(content) // 16
    while start >= 0:
        place = start + 16  # three bytes that are ignored, and the size
        end = min(start + int.from_bytes(content[start + 8 : place], "little"), len(content))
        while place + 16 <= end:
            number, size = (int.from_bytes(content[place + a : place + b], "little") for a, b in ((0, 2), (8, 16)))
            step = (16 + -(-size // 8) * 8 if number else size) % _WRAPS
            if not step:
                raise ImportRefusedError(_DAMAGED.format(f"what begins at {place:,} has no end"))
            place += step
            left -= 1
            if left < 0:
                raise ImportRefusedError(_DAMAGED.format("its lists overlap"))
        start = content.find(_COLLECTION, start + len(_COLLECTION))


@contextmanager
def damage_told() -> Iterator[None]:
    """Tell that a file is damaged where h5py raises an error of any kind, as it does of what it can't read.

    Raises:
        ImportRefusedError: in place of such an error.
    """
    try:
        yield
    except UnrolledError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        if "h5py" in where.replace("\\", "/").split("/") and not isinstance(error, MemoryError):
            raise ImportRefusedError(_DAMAGED.format(str(error).strip("'\""))) from error
        raise


def members(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """The members of a group in the file's order, without links that could lead elsewhere.

    Raises:
        ImportRefusedError: there are too many.
    """
    import h5py  # noqa: PLC0415 - `open_file` has imported it

    check_count(group.name, len(group))
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield name, group[name]


def group_at(group: h5py.Group, path: str) -> h5py.Group | None:
    """The group at a path below a group; None if there is none, or a link on the way could lead elsewhere."""
    import h5py  # noqa: PLC0415 - `open_file` has imported it

    for name in path.split("/"):
        if name in ("", ".") or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            return None
        group = group[name]
        if not isinstance(group, h5py.Group):
            return None
    return group


def arrays(group: h5py.Group, *, others: bool = False) -> Iterator[Array]:
    """All float arrays below a group, each named by its path from there.

    Args:
        group: the group.
        others: whether arrays of other numbers are returned, too.

    Raises:
        ImportRefusedError: groups are nested too deep or have several names, or `array_of` refuses an array.
    """
    return (array for array in _below(group, "", 0, set()) if others or not array.dtype)


def _below(group: h5py.Group, prefix: str, depth: int, seen: set[int]) -> Iterator[Array]:
    """The arrays below a group; `seen` are the places of groups in the file: links can lead to one in many ways."""
    import h5py  # noqa: PLC0415 - `open_file` has imported it

    place = h5py.h5o.get_info(group.id).addr
    if place in seen:
        raise ImportRefusedError(f"{group.name}: this group has several names in the file; no model's has")
    seen.add(place)
    if depth > _DEPTH:
        raise ImportRefusedError(f"{group.name}: groups are nested more than {_DEPTH} deep; no model's are")
    for name, member in members(group):
        if isinstance(member, h5py.Group):
            yield from _below(member, f"{prefix}{name}/", depth + 1, seen)
        elif isinstance(member, h5py.Dataset) and member.shape is not None and not _is_text(member):
            yield array_of(member, prefix + name)


def _is_text(dataset: h5py.Dataset) -> bool:
    import h5py  # noqa: PLC0415 - `open_file` has imported it

    return h5py.check_string_dtype(dataset.dtype) is not None


def array_of(dataset: h5py.Dataset, name: str) -> Array:
    """A dataset as an Array.

    Raises:
        ImportRefusedError: its numbers are in other files, or it claims more of them than are stored.
    """
    if dataset.is_virtual or dataset.external:
        raise ImportRefusedError(
            f"{name}: its numbers are in other files, which are not read; save the model as one file"
        )
    shape = check_array(name, dataset.shape or (), dataset.dtype.itemsize, dataset.id.get_storage_size())

    kind = dataset.dtype.kind
    # NumPy has no bfloat16; its bits are a float32's upper half. Only .weights.h5 of Keras 3 names it.
    if dataset.dtype == "V2" and text_attribute(dataset, "dtype") in (None, "bfloat16"):
        return Array(name, shape, damage_told()(lambda: _widened(np.asarray(dataset[()]))))
    if kind not in "fiub":
        return Array(name, shape, lambda: np.zeros(shape, np.float32), UNKNOWN)
    other = "" if kind == "f" else dataset.dtype.name
    is_wide = kind == "f" and dataset.dtype.itemsize == 8
    wide = damage_told()(lambda: np.asarray(dataset[()], np.float64)) if is_wide else None
    return Array(name, shape, damage_told()(lambda: as_float32(name, np.asarray(dataset[()]))), other, wide)


def _widened(numbers: NDArray[np.void]) -> Float32:
    return (numbers.view("<u2").astype(np.uint32) << 16).view(np.float32)


def text_attribute(group: h5py.Group | h5py.Dataset, name: str) -> str | None:
    """An attribute that is one text, or None if there is none."""
    if name not in group.attrs or group.attrs.get_id(name).get_storage_size() > MOST_JSON_BYTES:
        return None
    value = group.attrs[name]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def names_attribute(group: h5py.Group, name: str) -> list[str]:
    """An attribute that is a list of texts. Keras splits a long one into name0, name1, …."""
    found: list[str] = []
    pieces = [name] if name in group.attrs else []
    while f"{name}{len(pieces)}" in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
        check_count(name, len(pieces))
    for piece in pieces:
        values = np.asarray(group.attrs[piece]).ravel()
        found += [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
    return found


def json_attribute(group: h5py.Group, name: str) -> dict[str, Any] | None:
    """An attribute that is a JSON object, or None if there is no such attribute.

    Raises:
        ImportRefusedError: it is something else.
    """
    text = text_attribute(group, name)
    return None if text is None else json_object(text, name)
