"""The nearest points of each point, by cosine: exact among the points of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Points that are compared with all others at once, and others of which the nearest one is found first.
_BLOCK, _CHUNK = 128, 64


def nearest_points(vectors: NDArray[np.float32], count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest others of each vector, nearest first.

    Args:
        vectors: float32 (points, width).
        count: how many others; fewer where there are fewer points.

    Returns:
        int32 (points, count): the numbers of the others; float32 (points, count): their cosines.
    """
    points = len(vectors)
    count = max(0, min(count, points - 1))
    if not count:
        return np.empty((points, 0), np.int32), np.empty((points, 0), np.float32)
    unit = _unit(vectors)
    found, near_by = np.empty((points, count), np.int32), np.empty((points, count), np.float32)
    chunks = -(-points // _CHUNK)
    for start in range(0, points, _BLOCK):
        cosines = np.full((min(_BLOCK, points - start), chunks * _CHUNK), -np.inf, np.float32)
        np.matmul(unit[start : start + _BLOCK], unit.T, out=cosines[:, :points])
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        near = _largest(cosines, count)
        near.sort(axis=1)  # of equal ones the earlier first, in whatever order they were found
        values = np.take_along_axis(cosines, near, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        found[start : start + _BLOCK] = np.take_along_axis(near, order, axis=1)
        near_by[start : start + _BLOCK] = np.take_along_axis(values, order, axis=1)
    return found, near_by


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors with length 1; zeros stay zeros."""
    # First by the largest number: the squares of tiny and of huge ones can't be written in float32.
    largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))[:, None]
    unit = (vectors / np.where(largest == 0, 1, largest)).astype(np.float32, copy=False)
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    unit /= np.where(norms == 0, 1, norms)
    return unit


def _largest(cosines: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The places of the largest numbers of each row, which are in the chunks with the largest maxima."""
    chunks = cosines.reshape(len(cosines), -1, _CHUNK)
    if chunks.shape[1] <= count:
        return np.argpartition(cosines, -count, axis=1)[:, -count:]
    best = np.argpartition(chunks.max(axis=2), -count, axis=1)[:, -count:]
    places = (best[:, :, None] * _CHUNK + np.arange(_CHUNK)).reshape(len(cosines), -1)
    chosen = np.argpartition(np.take_along_axis(cosines, places, axis=1), -count, axis=1)[:, -count:]
    return np.take_along_axis(places, chosen, axis=1)
