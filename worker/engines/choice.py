"""Which engine a worker takes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from unrolled.errors import UnrolledError

if TYPE_CHECKING:
    from unrolled.model_directory import ModelDirectory
    from worker.engines import Engine
    from worker.settings import Settings


def choose_engine(settings: Settings, model: ModelDirectory) -> Engine:
    """The engine that the settings ask for, or the quickest that is here.

    Raises:
        UnrolledError: it isn't here; the text says how to get it.
    """
    if find_spec("tensorflow") is None:
        raise UnrolledError("the tensorflow engine needs TensorFlow: pip install 'unrolled[tensorflow]'")
    from worker.engines.tensorflow import TensorFlowEngine  # noqa: PLC0415 - seconds, and 500 MB, that others need not pay

    return TensorFlowEngine(model, threads=settings.threads)
