"""Principal components of any number of vectors, exactly: one pass, in float64, with memory for one matrix."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Vectors that are converted to float64 at once.
_BLOCK = 4096
#: Widest vectors whose components are all computed; of wider ones, the first few are found by iteration.
_DENSE = 1024
#: Vectors of the iteration, its steps at most, and the change at which it ends.
_VECTORS, _STEPS, _SETTLED = 12, 400, 1e-10


class Components(NamedTuple):
    """The directions in which vectors vary most.

    Attributes:
        mean: float64 (width,).
        axes: float64 (count, width), of length 1. The largest number of each is positive, so that the same vectors
            always give the same axes.
        explained: float64 (count,), the share of the whole variance along each axis.
        vectors: number of vectors that they were computed from.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: NDArray[np.float64]
    vectors: int

    def project(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Coordinates (vectors, count) along the axes."""
        coordinates = np.empty((len(vectors), len(self.axes)))
        for start in range(0, len(vectors), _BLOCK):
            coordinates[start : start + _BLOCK] = (vectors[start : start + _BLOCK] - self.mean) @ self.axes.T
        return coordinates


class Covariance:
    """Adds up the covariance of vectors, block by block.

    The first vector is subtracted from all, so that what is added up is small.

    Args:
        width: numbers in a vector.
    """

    def __init__(self, width: int) -> None:
        self.vectors = 0
        self._shift: NDArray[np.float64] | None = None
        self._sum = np.zeros(width)
        self._products = np.zeros((width, width))

    def copy(self) -> Self:
        """A copy, which is added to by itself."""
        found = copy.copy(self)
        found._sum, found._products = self._sum.copy(), self._products.copy()  # noqa: SLF001 - another of this class
        return found

    def add(self, vectors: NDArray[np.floating]) -> None:
        """Add vectors (any number, width)."""
        if not len(vectors):
            return
        if self._shift is None:
            self._shift = vectors[0].astype(np.float64)
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK].astype(np.float64)
            block -= self._shift
            self._sum += block.sum(axis=0)
            self._products += block.T @ block  # NumPy computes one half of it, since it is a matrix and itself
        self.vectors += len(vectors)

    def components(self, count: int) -> Components:
        """The first components; fewer vectors than components give axes without a share."""
        width = len(self._sum)
        count = min(count, width)
        if self.vectors == 0 or self._shift is None:
            return Components(np.zeros(width), np.eye(count, width), np.zeros(count), 0)
        offset = self._sum / self.vectors
        covariance = self._products / self.vectors - np.outer(offset, offset)
        whole = float(np.trace(covariance))
        values, axes = _largest(covariance, count)
        largest = np.abs(axes).argmax(axis=1)
        axes *= np.where(axes[np.arange(count), largest] < 0, -1.0, 1.0)[:, None]
        explained = np.maximum(values, 0) / whole if whole > 0 else np.zeros(count)
        return Components(self._shift + offset, axes, explained, self.vectors)


def _largest(matrix: NDArray[np.float64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest eigenvalues of a symmetric matrix, and their vectors as rows."""
    if len(matrix) <= _DENSE:
        values, vectors = np.linalg.eigh(matrix)
        return values[::-1][:count].copy(), vectors.T[::-1][:count].copy()
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((len(matrix), max(_VECTORS, count + 4))))[0]
    before = np.zeros(basis.shape[1])
    for _ in range(_STEPS):
        basis, triangle = np.linalg.qr(matrix @ basis)
        values = np.abs(np.diag(triangle))
        if np.allclose(values[:count], before[:count], rtol=_SETTLED, atol=0):
            break
        before = values
    small, rotation = np.linalg.eigh(basis.T @ matrix @ basis)
    return small[::-1][:count].copy(), (basis @ rotation).T[::-1][:count].copy()
