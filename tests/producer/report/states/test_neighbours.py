"""The nearest points, against a plain sort."""

import numpy as np
import pytest

from producer.report.states import neighbours
from producer.report.states.neighbours import nearest_points


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_they_are_those_of_a_plain_sort(monkeypatch, count):
    """Whatever the number of points and blocks; a vector of zeros is never nearer than another vector."""
    monkeypatch.setattr(neighbours, "_BLOCK", 16)
    monkeypatch.setattr(neighbours, "_CHUNK", 3)
    vectors = np.random.default_rng(1).standard_normal((count, 5)).astype(np.float32)
    vectors[:1] = 0
    found, cosines = nearest_points(vectors, 5)
    assert found.shape == cosines.shape == (count, max(0, min(5, count - 1)))
    norms = np.linalg.norm(vectors, axis=1)
    norms[norms == 0] = 1
    unit = vectors / norms[:, None]
    for at in range(count):
        every = unit @ unit[at]
        order = [other for other in np.argsort(-every, kind="stable") if other != at][:5]
        np.testing.assert_allclose(cosines[at], every[order], atol=1e-6)
        np.testing.assert_allclose(every[found[at]], every[order], atol=1e-6)
        assert at not in found[at]


@pytest.mark.parametrize("scale", [1e-40, 1e-24, 1e20, 1e38])
def test_the_length_of_vectors_does_not_matter(scale):
    """Also where their squares can't be written in float32."""
    vectors = np.random.default_rng(2).uniform(-1, 1, (30, 4)).astype(np.float32)
    scaled = vectors * np.where(np.arange(30) % 2, scale, 1)[:, None].astype(np.float32)
    expected, found = nearest_points(vectors, 3), nearest_points(scaled, 3)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-4)
    assert found[0].tolist() == expected[0].tolist()
