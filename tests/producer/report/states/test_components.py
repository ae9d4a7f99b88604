"""Principal components, added up block by block, are those of all vectors at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.report.states import components
from producer.report.states.components import Covariance


def vectors_of(count, width, seed=0):
    random = np.random.default_rng(seed)
    spread = np.geomspace(3, 0.1, width)
    rotation = np.linalg.qr(random.standard_normal((width, width)))[0]
    return ((random.standard_normal((count, width)) * spread) @ rotation + 100).astype(np.float32)


def expected(vectors, count):
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    return axes[:count], (singular**2 / (singular**2).sum())[:count]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 99))
def test_any_blocks_give_those_of_the_whole(sizes, seed):
    """In whatever pieces the vectors come; far from the origin, too."""
    vectors = vectors_of(sum(sizes) + 12, 6, seed)
    added = Covariance(6)
    for piece in np.split(vectors, np.cumsum(sizes)):
        added.add(piece)
    found = added.components(3)
    axes, shares = expected(vectors, 3)
    assert found.vectors == len(vectors)
    np.testing.assert_allclose(found.explained, shares, rtol=1e-9)
    np.testing.assert_allclose(np.abs((found.axes * axes).sum(axis=1)), 1, atol=1e-6)
    np.testing.assert_allclose(found.mean, vectors.mean(axis=0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(found.project(vectors).mean(axis=0), 0, atol=1e-6)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in found.axes)


def test_wide_vectors_are_as_exact(monkeypatch):
    """Those of which only the first components are looked for."""
    vectors = vectors_of(300, 40)
    added = Covariance(40)
    added.add(vectors)
    dense = added.components(3)
    monkeypatch.setattr(components, "_DENSE", 1)
    found = added.components(3)
    np.testing.assert_allclose(found.explained, dense.explained, rtol=1e-8)
    np.testing.assert_allclose(found.axes, dense.axes, atol=1e-5)


@pytest.mark.parametrize(("count", "width"), [(0, 4), (1, 4), (5, 1)])
def test_few_vectors_and_narrow_ones(count, width):
    """There is always a plane to draw on."""
    added = Covariance(width)
    added.add(np.ones((count, width), np.float32))
    found = added.components(2)
    assert found.explained.tolist() == [0] * min(2, width)
    assert np.isfinite(found.project(np.ones((3, width), np.float32))).all()
