"""The tensors of a model: new ones, and the check that tensors fit a configuration."""

# Over 150 lines: tensors that are made and tensors that are read are checked alike.

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import numpy as np

from unrolled.errors import ModelError, from_extra
from unrolled.settings.machine_memory import memory_note
from unrolled.store.disk.git_lfs import IS_POINTER, LFS_HEAD_BYTES, is_lfs_pointer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from unrolled.model.config import ModelConfig

#: Numbers that are checked at a time.
_BLOCK_NUMBERS = 1 << 20
#: From a tensor's name to its type and shape.
_Kinds = Mapping[str, tuple[str, tuple[int, ...]]]


def new_weights(config: ModelConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Untrained weights, by Keras's default initializers.

    The embedding is uniform in ±0.05, kernels and projections are Glorot uniform, recurrent kernels are orthogonal.
    Biases and first states are 0, and 1 for an LSTM's forget gate; gains are 1. A seed always gives the same numbers,
    except that the recurrent kernels may differ in the last bits with another version of NumPy or LAPACK.
    """
    random = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in config.shapes().items():
        kind, _, part = name.partition(".")[0], *name.rpartition(".")[1:]
        if kind == "embedding":
            weights[name] = random.uniform(-0.05, 0.05, shape).astype(np.float32)
        elif part == "recurrent_kernel":
            weights[name] = _orthogonal(random, shape)
        elif part == "bias":
            weights[name] = np.zeros(shape, np.float32)
            if kind in ("lstm", "mlstm"):
                units = shape[0] // 4
                weights[name][units : 2 * units] = 1
        elif part.endswith("gain"):
            weights[name] = np.ones(shape, np.float32)
        elif part.startswith("first_") or part.endswith(("_shift", "_bias")):
            weights[name] = np.zeros(shape, np.float32)
        else:
            limit = math.sqrt(6 / sum(shape))
            weights[name] = random.uniform(-limit, limit, shape).astype(np.float32)
    return weights


def check_arrays(weights: Mapping[str, NDArray[np.float32]], config: ModelConfig, place: Path) -> None:
    """Check that arrays fit a configuration and are float32 and finite.

    Args:
        weights: the arrays, by name.
        config: the configuration.
        place: the file for which they are meant, for the error.

    Raises:
        ModelError: they don't fit, or aren't finite.
    """
    found = {name: (str(array.dtype), array.shape) for name, array in weights.items()}
    _compare(found, {name: ("float32", shape) for name, shape in config.shapes().items()}, place)
    check_finite(weights, place)


def check_header(place: Path, config: ModelConfig) -> None:
    """Check that a safetensors file fits a configuration, without reading the weights.

    Raises:
        ModelError: it doesn't, or can't be read.
        RequestError: safetensors isn't installed.
    """
    with from_extra("reading a model", "encode"):
        from safetensors import safe_open  # noqa: PLC0415 - in the extras; a reader of published files needs none

    with reading(place), safe_open(place, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - the file is not a dict
        found = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    _compare(found, {name: ("F32", shape) for name, shape in config.shapes().items()}, place)


def check_stored(place: Path) -> None:
    """Check that the tensors of a safetensors file are finite, in bounded memory.

    This takes a tenth of the time of the file's hash.

    Args:
        place: a file that `check_header` has accepted.

    Raises:
        ModelError: one isn't, or can't be read.
    """
    from safetensors import safe_open  # noqa: PLC0415 - `check_header` has imported it

    with reading(place), safe_open(place, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - the file is not a dict
            stored = file.get_slice(name)
            rows, *width = stored.get_shape()
            step = max(1, _BLOCK_NUMBERS // math.prod(width))
            for start in range(0, rows, step):
                check_finite({name: stored[start : min(rows, start + step)]}, place)


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Say what is wrong with a safetensors file while it is read.

    Raises:
        ModelError: it isn't there, or isn't whole; or there is too little memory for it.
    """
    try:
        yield
    except (ModelError, KeyboardInterrupt, SystemExit):
        raise
    except FileNotFoundError as error:  # of any file that can't be opened, by version
        try:
            place.open("rb").close()
        except FileNotFoundError:
            raise ModelError(f"{place}: isn't there any more; restore it from your copy") from error
        except OSError as reason:
            raise ModelError(f"{place}: can't be read ({reason.strerror})") from reason
        raise ModelError(f"{place}: can't be read ({error})") from error
    except BaseException as error:  # safetensors raises its own type, OSError or ValueError by version
        said = f"{type(error).__name__}: {error}"
        if isinstance(error, Exception):
            note = memory_note(said)
        elif type(error).__name__ == "PanicException":  # no Exception: its library in Rust got no memory for an object
            note = memory_note("MemoryError")
        else:
            raise
        if note:
            raise ModelError(f"{place}: can't be read{note}") from error
        if isinstance(error, OSError) and error.errno:
            raise ModelError(f"{place}: can't be read ({error.strerror})") from error
        raise ModelError(f"{place}: {_fault(place, error)}") from error


def _fault(place: Path, error: BaseException) -> str:
    """What is wrong with a file that safetensors can't read, and what to do."""
    with suppress(OSError), place.open("rb") as file:
        if is_lfs_pointer(file.read(LFS_HEAD_BYTES)):
            return IS_POINTER
    return f"is not a whole safetensors file ({error}); restore it from your copy"


def _compare(found: _Kinds, expected: _Kinds, place: Path) -> None:
    """Check that there are exactly the expected tensors.

    Raises:
        ModelError: a tensor is missing or unknown, or has another type or shape.
    """
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            seen = "missing" if name not in found else f"{found[name][0]} {found[name][1]}"
            raise ModelError(
                f"{place}: tensor {name} is {seen}, but the configuration needs {wanted[0]} {wanted[1]}; "
                "configuration and weights must come from the same model"
            )
    if unknown := sorted(found.keys() - expected.keys()):
        raise ModelError(f"{place}: has tensors that no layer uses: {unknown[:5]!s:.200}; save the model without them")


def check_finite(weights: Mapping[str, NDArray[np.float32]], place: Path) -> None:
    """Check that there is no NaN and no infinity, because they would spread to all outputs.

    Raises:
        ModelError: there is one.
    """
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ModelError(f"{place}: tensor {name} has NaN or infinity in it; use weights from before that happened")


def _orthogonal(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A matrix with orthogonal rows, or orthogonal columns if it has fewer of these."""
    q, r = np.linalg.qr(random.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return (q.T if shape[0] < shape[1] else q).astype(np.float32)
