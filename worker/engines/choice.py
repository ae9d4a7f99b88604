"""Which engine a worker takes."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from unrolled.errors import UnrolledError
from worker.engines.fused.library import why_unavailable

if TYPE_CHECKING:
    from unrolled.model_directory import ModelDirectory
    from worker.engines import Engine
    from worker.settings import Settings

log = logging.getLogger(__name__)

#: Where Linux lists NVIDIA's GPUs; looked at so that no TensorFlow need be loaded to learn that there is none.
GPUS = Path("/proc/driver/nvidia/gpus")


def choose_engine(settings: Settings, model: ModelDirectory) -> Engine:
    """The engine that the settings ask for; with "auto", TensorFlow's on a GPU and the fused one elsewhere.

    Raises:
        UnrolledError: it isn't here; the text says how to get it.
    """
    wanted = settings.engine
    lacking = why_unavailable()
    if wanted == "auto":
        wanted = _automatic(settings, lacking)
    if wanted == "fused":
        if lacking:
            raise UnrolledError(lacking)
        from worker.engines.fused import FusedEngine  # noqa: PLC0415 - only the engine that is taken is loaded

        return FusedEngine(model, settings.precision, settings.threads)
    if find_spec("tensorflow") is None:
        raise UnrolledError("the tensorflow engine needs TensorFlow: pip install 'unrolled[tensorflow]'")
    from worker.engines.tensorflow import TensorFlowEngine  # noqa: PLC0415 - seconds, and 500 MB, that others need not pay

    return TensorFlowEngine(model, threads=settings.threads)


def _automatic(settings: Settings, lacking: str | None) -> str:
    has_tensorflow = find_spec("tensorflow") is not None
    if settings.precision == "float32" and has_tensorflow and GPUS.is_dir() and any(GPUS.iterdir()):
        return "tensorflow"
    if lacking and has_tensorflow and settings.precision == "float32":
        log.warning("%s. The tensorflow engine serves", lacking)
        return "tensorflow"
    return "fused"
