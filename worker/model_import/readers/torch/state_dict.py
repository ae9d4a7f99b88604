"""PyTorch's state dicts: `.pt` by torch.load(weights_only=True), `.safetensors`, and `.npz` with the same names."""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open

from worker.model_import.errors import ImportRefusedError, refuse_missing
from worker.model_import.found import Array, Found
from worker.model_import.limits import LARGEST_RATIO, check_array, check_count
from worker.model_import.readers.torch.modules import find_modules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.model_import.found import Float32


def read_torch(path: Path) -> Found:
    """Read a `.pt` or `.pth` file with a state dict, also within the dictionaries of a checkpoint.

    Raises:
        ImportRefusedError: PyTorch isn't installed, or the file contains more than tensors.
    """
    try:
        import torch  # noqa: PLC0415 - large, and in no extra
    except ModuleNotFoundError as error:
        raise refuse_missing(
            "PyTorch", "pip install torch, or save the weights with safetensors.torch.save_file(model.state_dict(), …)"
        ) from error
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # torch raises pickle's, zipfile's and its own errors
        raise ImportRefusedError(
            f"torch.load(weights_only=True) refuses it ({_first_line(error)}). A file with a whole model runs code "
            "when it is loaded; if you trust it, save torch.save(model.state_dict(), …) and import that"
        ) from error

    def of(name: str, tensor: Any) -> Array:
        return Array(name, tuple(tensor.shape), lambda: np.asarray(tensor.detach().float().numpy(), np.float32))

    return find_modules(_tensors(loaded, torch.Tensor, of), "PyTorch state dict")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _tensors(loaded: Any, kind: type, of: Any) -> list[Array]:
    """The tensors of the state dict in a checkpoint; of the largest one if there are several."""
    best: list[Array] = []
    waiting = [(loaded, 0)]
    while waiting:
        value, depth = waiting.pop()
        if not isinstance(value, dict) or depth > 3:
            continue
        here = [of(str(name), part) for name, part in value.items() if isinstance(part, kind)]
        best = max(best, here, key=len)
        waiting += [(part, depth + 1) for part in value.values()]
    return best


def read_safetensors(path: Path) -> Found:
    """Read a `.safetensors` file.

    Raises:
        ImportRefusedError: it isn't such a file, or a tensor is too large.
    """
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the file is not a dict
            kinds = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except Exception as error:  # safetensors raises its own type, OSError or ValueError by version
        raise ImportRefusedError(f"it can't be read as safetensors ({error}); get a fresh copy") from error

    def of(name: str, kind: str, shape: tuple[int, ...]) -> Array:
        check_array(name, shape, 4)
        return Array(name, shape, lambda: _safetensor(path, name, kind, shape))

    stored = [of(name, kind, shape) for name, (kind, shape) in kinds.items() if kind in ("F64", "F32", "F16", "BF16")]
    return find_modules(stored, "safetensors state dict")


def _safetensor(path: Path, name: str, kind: str, shape: tuple[int, ...]) -> Float32:
    if kind != "BF16":
        with safe_open(path, "numpy") as file:
            return np.asarray(file.get_tensor(name), np.float32)
    # NumPy has no bfloat16; its bits are a float32's upper half. The header was checked when the file was opened.
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        first, last = json.loads(file.read(header_bytes))[name]["data_offsets"]
        file.seek(8 + header_bytes + first)
        high = np.frombuffer(file.read(last - first), "<u2").astype(np.uint32) << 16
    return high.view(np.float32).reshape(shape)


def read_npz(path: Path) -> Found:
    """Read a NumPy archive whose arrays have PyTorch's names (weight_ih_l0, or w_ih). Objects in it are skipped.

    Raises:
        ImportRefusedError: it isn't one, or an array is too large.
    """
    stored = []
    try:
        with zipfile.ZipFile(path) as archive:
            check_count(path.name, len(archive.infolist()))
            for info in archive.infolist():
                if info.file_size > LARGEST_RATIO * max(info.compress_size, 1):
                    raise ImportRefusedError(f"its {info.filename} claims {info.file_size:,} bytes; get a fresh copy")
                with archive.open(info) as file:
                    array = _npy_header(file, info)
                if array is not None:
                    stored.append(Array(array[0], array[1], _npz_reading(path, array[0])))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise ImportRefusedError(f"it can't be read as a NumPy archive ({error}); get a fresh copy") from error
    return find_modules(stored, "NumPy archive")


def _npy_header(file: Any, info: zipfile.ZipInfo) -> tuple[str, tuple[int, ...]] | None:
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        return None
    shape, _, kind = read(file)
    if kind.kind != "f":
        return None
    name = info.filename.removesuffix(".npy")
    return name, check_array(name, shape, kind.itemsize, info.compress_size)


def _npz_reading(path: Path, name: str) -> Callable[[], Float32]:
    def read() -> Float32:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name], np.float32)

    return read
