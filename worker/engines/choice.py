"""Chooses the engine of a worker."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.errors import BrokenWorkerError, UnrolledError, install_command
from unrolled.job.offer import Offer
from worker.engines.fused.engine import FusedEngine
from worker.engines.fused.library import forced_isa, kernel_isa, why_no_tiles, why_unavailable
from worker.engines.padded import make_padded

if TYPE_CHECKING:
    from unrolled.model.directory import ModelDirectory
    from unrolled.settings.worker_options import WorkerOptions
    from worker.engines.engine import Engine

log = logging.getLogger(__name__)

#: Where Linux lists NVIDIA's GPUs; a look there shows that there is none without loading TensorFlow.
GPUS = Path("/proc/driver/nvidia/gpus")


def choose_engine(settings: WorkerOptions, model: ModelDirectory) -> Engine:
    """The engine that the settings ask for.

    With "auto" it is the TensorFlow engine if there is a GPU and the arithmetic is float32, and the fused engine
    otherwise. If that one isn't installed but the other is, the other serves, and a warning in the log says why, once
    in a program.

    Raises:
        UnrolledError: the engine isn't installed; the text says how to install it.
        BrokenWorkerError: the engine doesn't run on this machine; or the arithmetic is bfloat16x3, which is slower than
            float32 without matrix units, and the settings don't allow that.
        ModelError: the model's weights can't be read.
    """
    lacking = {"fused": why_unavailable(), "tensorflow": _why_no_tensorflow()}
    wanted = offer_of(settings, model).engine
    if reason := lacking[wanted]:
        has_another = wanted == "fused" and settings.arithmetic == "float32" and not lacking["tensorflow"]
        raise UnrolledError(f"{reason}, or use the tensorflow engine" if has_another else reason)
    if wanted == "fused":
        if settings.arithmetic == "bfloat16x3" and not settings.emulate:
            _check_tiles()
        return make_padded(model, lambda each: FusedEngine(each, settings.arithmetic, settings.threads))
    if settings.engine == "auto" and lacking["fused"] and not _has_gpu():
        _warn(f"using the tensorflow engine, which is slower: {lacking['fused']}")
    # It takes seconds and 500 MB to load.
    from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - only who needs it waits for it

    return make_padded(model, lambda each: TensorFlowEngine(each, threads=settings.threads))


@cache
def _warn(line: str) -> None:
    log.warning("%s", line)


def choose_and_measure(settings: WorkerOptions, model: ModelDirectory) -> Engine:
    """The engine that the settings ask for, like `choose_engine`; the fused engine's rate is measured and logged."""
    engine = choose_engine(settings, model)
    if engine.name == "fused":
        fused: Any = engine  # one that pads rows has what the engine within it has
        giga = fused.rate() / 1e9
        log.info("two layers of 256 units: %.0f GFLOP/s in %s by %s now", giga, fused.arithmetic, fused.isa)
    return engine


def offer_of(settings: WorkerOptions, model: ModelDirectory) -> Offer:
    """The offer of a worker with these settings; no engine is made.

    Raises:
        RequestError: the engine doesn't have the arithmetic.
        BrokenWorkerError: with "auto", no engine is installed.
    """
    wanted = settings.engine
    if wanted == "auto":
        wanted = _automatic(settings.arithmetic, {"fused": why_unavailable(), "tensorflow": _why_no_tensorflow()})
    return Offer(model.fingerprint, wanted, settings.arithmetic)  # type: ignore[arg-type]  # settings are checked


def _check_tiles() -> None:
    isa = kernel_isa(forced_isa(), "bfloat16x3")
    if isa != "amx":
        reason = why_no_tiles() or f"UNROLLED_ISA is {isa}"
        raise BrokenWorkerError(
            f"bfloat16x3 needs matrix units to be faster than float32, and there are none here: {reason}; "
            "take another machine, or give --emulate (in Python: emulate=True) to compute without them, more slowly "
            "than in float32"
        )


def _automatic(arithmetic: str, lacking: dict[str, str | None]) -> str:
    if arithmetic != "float32":
        return "fused"  # the only engine that has another
    if lacking["fused"] and lacking["tensorflow"]:
        raise BrokenWorkerError(f"{lacking['fused']}; {lacking['tensorflow']}")
    return "tensorflow" if lacking["fused"] or (not lacking["tensorflow"] and _has_gpu()) else "fused"


def _has_gpu() -> bool:
    return GPUS.is_dir() and any(GPUS.iterdir())


def _why_no_tensorflow() -> str | None:
    """Why the TensorFlow engine can't run here, or None if it can."""
    if find_spec("tensorflow") is None:
        return f"the tensorflow engine needs TensorFlow: {install_command('tensorflow')}"
    return None
