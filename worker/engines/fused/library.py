"""Finds, checks and calls the compiled kernel.

It is a shared library with a C interface, so one build serves every version of Python. The structures and signatures
here mirror that interface, and so are in one file.
"""

# Over 150 lines: the C++ library's structures and functions, declared as its headers have them.

import ctypes
import os
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p
from functools import cache
from pathlib import Path

from unrolled.errors import BrokenWorkerError

ABI_VERSION = 12
FILE_NAME = "_kernel.so"
ISA_VARIABLE = "UNROLLED_ISA"
ISAS = ("amx", "avx512_bf16", "avx512", "avx2", "portable", "amx-emulated")
#: The numbers of the arithmetics in src/kernel/kernel.h.
ARITHMETICS = {"float32": 0, "bfloat16": 1, "bfloat16x3": 2}

# The statuses in src/pool/api.cpp.
OK, OUT_OF_MEMORY, NO_KERNEL, BAD_OFFSETS, BAD_TOKEN, TOO_MANY_ROWS, ROW_TOO_LONG = range(7)
BAD_MODEL, BAD_COLUMNS, FAILED = range(7, 10)


class PassWeights(Structure):
    """Addresses of one direction's tensors, in Keras's layout (src/model/model.h)."""

    _fields_ = (
        ("kernel", c_void_p),
        ("recurrent_kernel", c_void_p),
        ("bias", c_void_p),
        ("projection", c_void_p),
        ("input_factor", c_void_p),
        ("state_factor", c_void_p),
        ("first_state", c_void_p),
        ("first_cell", c_void_p),
        ("gain", c_void_p),
        ("input_shift", c_void_p),
        ("input_gain", c_void_p),
        ("state_shift", c_void_p),
        ("state_gain", c_void_p),
        ("cell_gain", c_void_p),
        ("cell_bias", c_void_p),
    )


class LayerWeights(Structure):
    """One layer: its kind as src/model/model.h numbers it, its sizes, and the tensors of one or two directions.

    A map has one direction, the forward one.
    """

    _fields_ = (
        ("cell", c_int32),
        ("direction", c_int32),
        ("span", c_int32),
        ("gates", c_int32),
        ("cell_clip", c_float),
        ("projection_clip", c_float),
        ("inputs", c_int64),
        ("units", c_int64),
        ("projection", c_int64),
        ("epsilon", c_double),
        ("norm", c_int32),
        ("activation", c_int32),
        ("passes", PassWeights * 2),
        ("given_state", c_int32),
    )


class Column(Structure):
    """One column: whose layer's outputs it has, and how they are pooled (src/pool/outputs.h)."""

    _fields_ = (("layer", c_int32), ("pooling", c_int32))


class Shard(Structure):
    """Addresses and sizes of one shard's rows, vectors and initial states, and of its arrays for outputs.

    There is an array for each column.
    """

    _fields_ = (
        ("values", c_void_p),
        ("offsets", c_void_p),
        ("rows", c_int64),
        ("value_count", c_int64),
        ("outputs", c_void_p),
        ("vectors", c_void_p),
        ("vector_count", c_int64),
        ("states", c_void_p),
    )


class PoolStats(Structure):
    """The statistics of one computed pool (src/pool/engine.h)."""

    _fields_ = (
        ("tokens", c_int64),
        ("nodes", c_int64),
        ("plan_seconds", c_double),
        ("compute_seconds", c_double),
    )


class Problem(Structure):
    """Where the caller's arrays are wrong (src/pool/api.cpp)."""

    _fields_ = (("shard", c_int64), ("position", c_int64), ("value", c_int64))


_SIGNATURES = {
    "unrolled_abi_version": (c_int32, ()),
    "unrolled_kernel_isa": (c_char_p, (c_char_p, c_int32)),
    "unrolled_why_no_tiles": (c_char_p, ()),
    "unrolled_engine_new": (
        c_int32,
        (
            *(c_char_p, c_int32, c_int32, c_int64, c_int64, c_int64, c_int64, c_void_p),
            *(c_int64, POINTER(LayerWeights), POINTER(c_void_p), POINTER(c_int32)),
        ),
    ),
    "unrolled_engine_free": (None, (c_void_p,)),
    "unrolled_engine_compute": (
        c_int32,
        (c_void_p, POINTER(Shard), c_int64, POINTER(Column), c_int64, POINTER(PoolStats), POINTER(Problem)),
    ),
    "unrolled_plan": (
        c_int32,
        (POINTER(Shard), c_int64, c_int32, c_void_p, c_void_p, POINTER(c_int64), POINTER(Problem)),
    ),
    "unrolled_cell_update": (c_int32, (c_char_p, c_int32, c_int64, *(c_void_p,) * 7)),
    "unrolled_rate": (c_double, (c_char_p, c_int32, c_int32)),
    "unrolled_spin": (c_double, (c_char_p, c_int32, c_int64)),
}


@cache
def load() -> ctypes.CDLL:
    """The compiled kernel.

    Raises:
        BrokenWorkerError: it was not built on this machine, or it is of another version.
    """
    path = Path(__file__).with_name(FILE_NAME)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise BrokenWorkerError(_why_missing(path, error)) from error
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise _other_version(path, "an unknown interface") from error
        function.restype = result
        function.argtypes = arguments
    version = library.unrolled_abi_version()
    if version != ABI_VERSION:
        raise _other_version(path, f"interface {version}")
    return library


def _why_missing(path: Path, error: OSError) -> str:
    """Why the library can't be loaded, and what helps; an installation without it has kept the reason."""
    try:
        reason = path.with_suffix(".txt").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        reason = ""
    if reason and not path.exists():
        return f"the fused engine's kernel was not built: {reason}"
    return f"the fused engine's kernel can't be loaded ({error}); install a C++ compiler and reinstall"


def _other_version(path: Path, found: str) -> BrokenWorkerError:
    return BrokenWorkerError(f"{path} has {found}, this version needs {ABI_VERSION}; reinstall the package")


def why_unavailable() -> str | None:
    """Why the fused engine can't run here, or None if it can."""
    try:
        load()
    except BrokenWorkerError as error:
        return str(error)
    return None


def forced_isa() -> bytes | None:
    """The instruction set in UNROLLED_ISA, or None for the best that this machine has.

    Raises:
        BrokenWorkerError: there is no instruction set of this name.
    """
    isa = os.environ.get(ISA_VARIABLE)
    if not isa:
        return None
    if isa not in ISAS:
        raise BrokenWorkerError(f"{ISA_VARIABLE} is {isa!r}; allowed: {', '.join(ISAS)}, or unset for the best")
    return isa.encode()


def available_isas(arithmetic: str = "float32") -> list[str]:
    """The instruction sets that have a kernel for an arithmetic and that this machine can run."""
    return [isa for isa in ISAS if kernel_isa(isa.encode(), arithmetic) == isa]


def why_no_tiles() -> str | None:
    """Why the processor's matrix units are not used, or None if they are."""
    reason: bytes | None = load().unrolled_why_no_tiles()
    return reason.decode() if reason else None


def rate(arithmetic: str, threads: int) -> float:
    """How fast a small model is computed at this moment: operations of its products per second, 0 if it can't be."""
    found: float = load().unrolled_rate(forced_isa(), ARITHMETICS[arithmetic], threads)
    return found


def kernel_isa(isa: bytes | None, arithmetic: str) -> str | None:
    """The instruction set whose kernel is taken.

    Args:
        isa: the instruction set that is asked for, or None for the fastest one. One that has no kernel of its own for
            the arithmetic gives another one.
        arithmetic: the arithmetic.

    Returns:
        The instruction set, or None if this machine can't run what is asked for.
    """
    found: bytes | None = load().unrolled_kernel_isa(isa, ARITHMETICS[arithmetic])
    return found.decode() if found else None
