"""Points on a plane, by each method."""

from importlib.util import find_spec

import numpy as np
import pytest
from support.skips import unless

from producer.report.states.components import Covariance
from producer.report.states.projection import COMPONENTS, check_method, project, time_note
from unrolled.errors import OptionError


def groups_of(count, width=20):
    random = np.random.default_rng(5)
    middles = random.normal(0, 4, (3, width))
    return (middles[np.arange(count) % 3] + random.normal(0, 0.3, (count, width))).astype(np.float32)


def projected(method, vectors, count=COMPONENTS):
    added = Covariance(vectors.shape[1])
    added.add(vectors)
    return project(method, vectors, added.components(count))


def test_principal_components_are_named_with_their_shares():
    """A reader must not think that the map shows everything."""
    vectors = groups_of(60)
    found = projected("pca", vectors, 2)
    assert found.title == "principal components"
    assert "all 60 vectors, computed exactly" in found.note
    shares = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False) ** 2
    assert f"{100 * shares[:2].sum() / shares.sum():.1f}\N{NO-BREAK SPACE}% of the variance" in found.note


@pytest.mark.parametrize("method", ["pca", "umap", "tsne"])
@pytest.mark.parametrize(("count", "width"), [(0, 3), (1, 3), (4, 1), (7, 2)])
def test_few_points_are_placed_by_their_components(method, count, width):
    """The other methods mean nothing there."""
    found = projected(method, np.ones((count, width), np.float32))
    assert found.coordinates.shape == (count, 2)
    assert found.title == "principal components"


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("umap", marks=unless(find_spec("umap"), "umap-learn isn't installed")),
        pytest.param("tsne", marks=unless(find_spec("sklearn"), "scikit-learn isn't installed")),
    ],
)
def test_other_methods_keep_groups_together(method):
    """And give the same points each time."""
    vectors = groups_of(60)
    found = projected(method, vectors)
    assert np.array_equal(found.coordinates, projected(method, vectors).coordinates)
    middles = np.stack([found.coordinates[group::3].mean(axis=0) for group in range(3)])
    nearest = np.linalg.norm(found.coordinates[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == np.arange(60) % 3).all()
    assert "Distances between groups" in found.note


def test_a_method_without_its_library_is_refused(monkeypatch):
    """Before anything is read, with what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for method, package in (("umap", "umap-learn"), ("tsne", "scikit-learn")):
        with pytest.raises(OptionError, match=f"pip install {package}"):
            check_method(method)
    check_method("pca")
    check_method("none")


def test_a_slow_method_says_how_long_it_takes():
    """More points take more time; what is quick needs no note."""
    assert "20,000 points takes about 2 min" in time_note("tsne", 20_000)
    assert "--map pca takes seconds" in time_note("tsne", 5_000)
    assert "UMAP of 5,000 points may take" in time_note("umap", 5_000)
    assert not any(time_note(*one) for one in (("pca", 20_000), ("none", 20_000), ("tsne", 119), ("umap", 7)))
