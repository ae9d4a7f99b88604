"""Arguments that several functions take: of NumPy's types, in place of Python's own, and those of an engine."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unrolled.format.columns import MOST_LAYERS
from unrolled.model.directory import config_there
from unrolled.reading.arrays import why_masked
from unrolled.settings.worker_options import MOST_THREADS, WorkerOptions
from unrolled.store.bucket_url import is_url

_ENGINES = ("auto", "fused", "tensorflow")
_ARITHMETICS = ("float32", "bfloat16", "bfloat16x3")


def plain_value(given: Any) -> Any:
    """A number or a truth value of NumPy as Python's own, and an array as a list of these; anything else as it is."""
    return given.tolist() if isinstance(given, np.generic | np.ndarray) else given


def refuse_masked(given: object, name: str) -> None:
    """Refuse an array of `numpy.ma` with masked values, which `numpy.asarray` would take as if they were not masked.

    Raises:
        TypeError: this is one.
    """
    if why := why_masked(given):
        raise TypeError(f"{name} are a masked array: {why}, such as 0 for token ids that are padding")


def refuse_set(given: object, name: str) -> None:
    """Refuse a set, which has no order, and so no first result.

    Raises:
        TypeError: this is one.
    """
    if isinstance(given, set | frozenset):
        raise TypeError(f"{name} are a set, which has no order, and so no first result; give a list")


def checked_switch(given: Any, name: str) -> bool:
    """A truth value, or 0 or 1; a text such as "no" would count as true.

    Raises:
        TypeError: it is something else.
    """
    value = plain_value(given)
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError(f"{name} is {given!r}; allowed: True or False")
    return bool(value)


def checked_model(model: Any) -> str | os.PathLike[str]:
    """The path or URL of a model directory.

    Raises:
        TypeError: it is neither a text nor a path.
        ValueError: it is empty, which would be the working directory.
    """
    if not isinstance(model, str | os.PathLike):
        raise TypeError(f"model is {model!r:.100}; allowed: the path or URL of a model directory")
    if not os.fspath(model):
        raise ValueError(
            "model is empty; allowed: the path or URL of a model directory, and '.' for the working directory"
        )
    return model


def engine_options(engine: Any, arithmetic: Any, threads: Any, *, emulate: Any) -> WorkerOptions:
    """The arguments of `unrolled.load` that say what computes and how, checked.

    Raises:
        ValueError: one isn't allowed; the text says what is.
        TypeError: `emulate` is no truth value.
    """
    for name, value, allowed in (("engine", engine, _ENGINES), ("arithmetic", arithmetic, _ARITHMETICS)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
    if engine == "tensorflow" and arithmetic != "float32":
        raise ValueError(f"the engine 'tensorflow' computes in float32 only; take the engine 'fused' for {arithmetic}")
    count = plain_value(threads)
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_THREADS):
        raise ValueError(
            f"threads is {threads!r}; allowed: a whole number from 1 to {MOST_THREADS}, or None for all cores"
        )
    return WorkerOptions(
        engine=engine, arithmetic=arithmetic, threads=count, emulate=checked_switch(emulate, "emulate")
    )


def checked_layer(layer: Any, model: str | os.PathLike[str]) -> int | None:
    """One layer's number as Python's integer; None for the last.

    Raises:
        ValueError: it is no such number, or the model, if it is on this machine, has fewer layers.
    """
    number = plain_value(layer)
    config = None if number is None or is_url(os.fspath(model)) else config_there(model)
    end = len(config.layers) if config else MOST_LAYERS
    if number is not None and (type(number) is not int or number not in range(end)):
        allowed = f"0 to {end - 1}" if config else "0"
        raise ValueError(f"layer is {layer!r}; allowed: None for the last, or a number from {allowed}")
    return number
