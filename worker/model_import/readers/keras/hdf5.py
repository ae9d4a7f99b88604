"""HDF5 as a tree of float arrays: hard links only, sizes checked before anything is read.

HDF5 can name other files (external links, external storage, virtual datasets): none is followed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Array, Float32
from worker.model_import.limits import MOST_JSON_BYTES, check_array, check_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    import h5py

_DEPTH = 32


def open_file(source: Path | BinaryIO) -> h5py.File:
    """Open for reading.

    Raises:
        ImportRefusedError: h5py isn't installed, or it isn't HDF5.
    """
    try:
        import h5py  # noqa: PLC0415 - of the extra [import]
    except ModuleNotFoundError as error:
        raise refuse_missing("h5py", "pip install 'unrolled[import]'") from error
    try:
        return h5py.File(source, "r")
    except OSError as error:
        raise ImportRefusedError(f"it can't be read as HDF5 ({error}); get a fresh copy") from error


def members(group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """A group's own members in the file's order, without links that could lead elsewhere."""
    import h5py  # noqa: PLC0415 - `open_file` said where it is missing

    check_count(group.name, len(group))
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            yield name, group[name]


def arrays(group: h5py.Group, prefix: str = "", depth: int = 0) -> Iterator[Array]:
    """Every float array under a group, named by its path from there."""
    import h5py  # noqa: PLC0415 - `open_file` said where it is missing

    if depth > _DEPTH:
        raise ImportRefusedError(f"{group.name}: groups stand over {_DEPTH} deep, and no model's do")
    for name, member in members(group):
        if isinstance(member, h5py.Group):
            yield from arrays(member, f"{prefix}{name}/", depth + 1)
        elif isinstance(member, h5py.Dataset) and member.dtype.kind == "f":
            yield array_of(member, prefix + name)


def array_of(dataset: h5py.Dataset, name: str) -> Array:
    """A dataset as an Array.

    Raises:
        ImportRefusedError: it lies in other files, or claims more than is stored.
    """
    if dataset.is_virtual or dataset.external:
        raise ImportRefusedError(
            f"{name}: its numbers lie in other files, which are not read; save the model as one file"
        )
    shape = check_array(name, dataset.shape or (), dataset.dtype.itemsize, dataset.id.get_storage_size())

    def read() -> Float32:
        return np.asarray(dataset[()], np.float32)

    return Array(name, shape, read)


def text_attribute(group: h5py.Group, name: str) -> str | None:
    """An attribute that is one text, or None where there is none."""
    if name not in group.attrs or group.attrs.get_id(name).get_storage_size() > MOST_JSON_BYTES:
        return None
    value = group.attrs[name]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def names_attribute(group: h5py.Group, name: str) -> list[str]:
    """An attribute that is a list of texts, which Keras cuts into name0, name1, … where it is long."""
    found: list[str] = []
    parts = [name] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(f"{name}{len(parts)}")
        check_count(name, len(parts))
    for part in parts:
        values = np.asarray(group.attrs[part]).ravel()
        found += [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]
    return found


def json_attribute(group: h5py.Group, name: str) -> dict[str, Any] | None:
    """An attribute that is a JSON object, or None where there is none.

    Raises:
        ImportRefusedError: it isn't one.
    """
    text = text_attribute(group, name)
    if text is None:
        return None
    return json_object(text, name)


def json_object(text: str | bytes, place: str) -> dict[str, Any]:
    """A JSON object from its text.

    Raises:
        ImportRefusedError: it isn't one.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImportRefusedError(f"{place} is not JSON ({error}); get a fresh copy of the file") from error
    if not isinstance(found, dict):
        raise ImportRefusedError(f"{place} holds a {type(found).__name__}, and must hold an object")
    return found
