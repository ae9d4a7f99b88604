"""NumPy's archives, `.npz`, and directories of `.npy` files."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import UNKNOWN, Array, Found, as_float32
from worker.model_import.limits import check_array, check_count, most_unpacked
from worker.model_import.readers.torch.modules import find_modules, is_of_keras
from worker.model_import.readers.unirep import read_unirep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.model_import.found import Float32


def read_npz(path: Path) -> Found:
    """Read an archive whose arrays have PyTorch's names (weight_ih_l0, or w_ih), or UniRep's. Texts are skipped.

    Raises:
        ImportRefusedError: it isn't one, or an array is too large.
    """
    stored, objects = [], []
    try:
        with zipfile.ZipFile(path) as archive:
            check_count(path.name, len(archive.infolist()))
            for info in archive.infolist():
                if info.file_size > most_unpacked(info.compress_size):
                    raise ImportRefusedError(f"its {info.filename} claims {info.file_size:,} bytes; get a fresh copy")
                with archive.open(info) as file:
                    array = _header(file, info.filename, info.compress_size)
                if array is not None:
                    name, shape, other = array
                    stored.append(Array(name, shape, _npz_reading(path, name), other))
                if array is None or array[2] == UNKNOWN:
                    objects.append(info.filename.removesuffix(".npy"))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ImportRefusedError(f"it can't be read as a NumPy archive ({error}); get a fresh copy") from error
    found = _found(stored, "NumPy archive")
    if objects and not found.layers and not any(map(is_of_keras, stored)):
        found.why_empty = (
            f"its {objects[0]:.80} contains objects or texts, which aren't loaded, and no array of numbers is an "
            "LSTM's or a GRU's. If it is a dictionary of arrays, save those: np.savez('model.npz', **dictionary)"
        )
    return found


def read_npy_files(directory: Path) -> Found:
    """Read a directory of `.npy` files, each of which has the name of its array.

    Raises:
        ImportRefusedError: a file isn't one, or an array is too large.
    """
    stored = []
    paths = sorted(directory.glob("*.npy"))
    check_count(directory.name, len(paths))
    for path in paths:
        try:
            with path.open("rb") as file:
                array = _header(file, path.name, path.stat().st_size)
        except (EOFError, OSError, ValueError) as error:
            raise ImportRefusedError(
                f"its {path.name} can't be read as an array ({error}); get a fresh copy"
            ) from error
        if array is not None:
            name, shape, other = array
            stored.append(Array(name, shape, _npy_reading(path, name), other))
    return _found(stored, "directory of NumPy files")


def _found(stored: list[Array], format_: str) -> Found:
    return read_unirep(stored, format_) or find_modules(stored, format_)


def _header(file: Any, file_name: str, stored_bytes: int) -> tuple[str, tuple[int, ...], str] | None:
    """The name, the shape, and the kind of numbers that aren't floats; None for texts, and for a single object."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        return None
    shape, _, kind = read(file)
    name = file_name.removesuffix(".npy")
    if kind.kind in "fiub":
        shape = check_array(name, shape, kind.itemsize, stored_bytes)
        return name, shape, "" if kind.kind == "f" else kind.name
    # Numbers that NumPy has no name for, such as bfloat16, are V; objects may be numbers, too.
    return (name, check_array(name, shape, 1), UNKNOWN) if kind.kind in "OVc" and shape else None


def _npz_reading(path: Path, name: str) -> Callable[[], Float32]:
    def read() -> Float32:
        with np.load(path, allow_pickle=False) as archive:
            return as_float32(name, archive[name])

    return read


def _npy_reading(path: Path, name: str) -> Callable[[], Float32]:
    return lambda: as_float32(name, np.load(path, allow_pickle=False))
