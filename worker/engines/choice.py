"""Which engine a worker takes."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import UnrolledError
from unrolled.job.offer import Offer
from worker.engines.fused.engine import FusedEngine
from worker.engines.fused.library import why_unavailable

if TYPE_CHECKING:
    from unrolled.model.config import ModelConfig
    from unrolled.model.directory import ModelDirectory
    from worker.engines.engine import Engine
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: Where Linux lists NVIDIA's GPUs; looked at so that no TensorFlow need be loaded to learn that there is none.
GPUS = Path("/proc/driver/nvidia/gpus")


def choose_engine(settings: Settings, model: ModelDirectory) -> Engine:
    """The engine that the settings ask for; with "auto", TensorFlow's on a GPU and the fused one elsewhere.

    With "auto" the other engine serves where that one isn't here or can't compute the model, and a line in the log
    says why.

    Raises:
        UnrolledError: an engine that is asked for, or each there is, isn't here or can't compute the model.
    """
    wanted = offer_of(settings, model).engine
    lacking = _why_not(wanted, model.config)
    if lacking:
        raise UnrolledError(lacking)
    if wanted == "fused":
        return FusedEngine(model, settings.arithmetic, settings.threads)
    from worker.engines.tensorflow.engine import TensorFlowEngine  # noqa: PLC0415 - seconds, and 500 MB, that others need not pay

    return TensorFlowEngine(model, threads=settings.threads)


def offer_of(settings: Settings, model: ModelDirectory) -> Offer:
    """What a worker with these settings offers, without an engine being made.

    Raises:
        RequestError: the engine doesn't have the arithmetic.
        UnrolledError: with "auto", no engine is here that can compute the model.
    """
    wanted = _automatic(settings, model.config) if settings.engine == "auto" else settings.engine
    return Offer(model.fingerprint, wanted, settings.arithmetic)  # type: ignore[arg-type]  # settings are checked


def _automatic(settings: Settings, config: ModelConfig) -> str:
    if settings.arithmetic != "float32":
        return "fused"  # no other has it
    without_tensorflow = _why_not("tensorflow", config)
    if not without_tensorflow and GPUS.is_dir() and any(GPUS.iterdir()):
        return "tensorflow"
    without_fused = _why_not("fused", config)
    if not without_fused:
        return "fused"
    if without_tensorflow:
        raise UnrolledError(f"{without_fused}; {without_tensorflow}")
    log.warning("the tensorflow engine serves: %s", without_fused)
    return "tensorflow"


def _why_not(engine: str, config: ModelConfig) -> str | None:
    """Why an engine can't serve, and how it could; None where it can."""
    if engine == "fused":
        return why_unavailable() or FusedEngine.why_not(config)
    if find_spec("tensorflow") is None:
        return "the tensorflow engine needs TensorFlow: pip install 'unrolled[tensorflow]'"
    return None
