"""A model's tensors: fresh ones, and the check that given ones fit a configuration."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import ModelError
from unrolled.model.config import ModelConfig

#: Name → type and shape.
Kinds = Mapping[str, tuple[str, tuple[int, ...]]]


def new_weights(config: ModelConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Untrained weights by Keras's default initialisers.

    Embedding: uniform in ±0.05. Kernels and projections: Glorot uniform. Recurrent kernels: orthogonal. Biases:
    0, and 1 for an LSTM's forget gate. The same seed gives the same numbers with the same NumPy and LAPACK; with
    another, the orthogonal part may differ in the last bits.
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
            if kind == "lstm":
                units = shape[0] // 4
                weights[name][units : 2 * units] = 1
        else:
            limit = math.sqrt(6 / sum(shape))
            weights[name] = random.uniform(-limit, limit, shape).astype(np.float32)
    return weights


def check_arrays(weights: Mapping[str, NDArray[np.float32]], config: ModelConfig, place: Path) -> None:
    """See that arrays are the configuration's, float32 and finite.

    Raises:
        ModelError: they are not; the text says that they were to be written to `place`.
    """
    found = {name: (str(array.dtype), array.shape) for name, array in weights.items()}
    compare_tensors(found, {name: ("float32", shape) for name, shape in config.shapes().items()}, place)
    check_finite(weights, place)


def compare_tensors(found: Kinds, expected: Kinds, place: Path) -> None:
    """See that there are exactly the expected tensors.

    Raises:
        ModelError: one is missing, too much, or of another type or shape.
    """
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            seen = "missing" if name not in found else f"{found[name][0]} {found[name][1]}"
            raise ModelError(
                f"{place}: tensor {name} is {seen}, the configuration wants {wanted[0]} {wanted[1]}; "
                "configuration and weights must come from the same model"
            )
    if unknown := sorted(found.keys() - expected.keys()):
        raise ModelError(f"{place}: has tensors that no layer uses: {unknown[:5]!s:.200}; save the model without them")


def check_finite(weights: Mapping[str, NDArray[np.float32]], place: Path) -> None:
    """See that there is neither NaN nor infinity: they would spread to every output.

    Raises:
        ModelError: there is.
    """
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ModelError(
                f"{place}: tensor {name} holds NaN or infinity; its training went wrong, use other weights"
            )


def _orthogonal(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Orthogonal rows, or columns where they are fewer."""
    q, r = np.linalg.qr(random.standard_normal((max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return (q.T if shape[0] < shape[1] else q).astype(np.float32)
