"""Arguments of NumPy's types, in place of Python's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.reading.arrays import why_masked


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
