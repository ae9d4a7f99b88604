"""Two coordinates for each vector, by a method that the map names."""

# Over 150 lines: three methods, each with what people should know about it.

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from producer.terminal.text import duration
from unrolled.errors import OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from producer.report.options import Method
    from producer.report.states.components import Components

#: Components that UMAP and t-SNE start from: the others are mostly noise, and cost time.
COMPONENTS = 50
PERCENT = "\N{NO-BREAK SPACE}%"
#: Fewest points for which UMAP and t-SNE mean anything.
_FEWEST = 8
_PERPLEXITY = 30
#: Seconds of one core of 2023 for t-SNE of so many points; more points take n log n.
_TSNE_SECONDS, _TSNE_POINTS = 26, 5_000
#: A shorter time needs no note.
_SHORT_SECONDS = 5


class Projection(NamedTuple):
    """Points on a plane.

    Attributes:
        coordinates: float64 (points, 2).
        title: names the method, such as "principal components".
        note: what people should know about it, as a sentence or two.
    """

    coordinates: NDArray[np.float64]
    title: str
    note: str


def check_method(method: Method) -> None:
    """Refuse a method whose library isn't installed, before a job is read for it.

    Raises:
        OptionError: it is missing; the text says how to install it.
    """
    library = {"umap": "umap", "tsne": "sklearn"}.get(method)
    if library is None:
        return
    from importlib.util import find_spec  # noqa: PLC0415 - two methods need it

    if find_spec(library) is None:
        package = {"umap": "umap-learn", "sklearn": "scikit-learn"}[library]
        raise OptionError(f"--map {method} needs {package}; install it: pip install {package}, or take --map pca")


def time_note(method: Method, points: int) -> str:
    """How long a projection takes, as a line for people; "" if it is quick.

    Args:
        method: "pca", "umap" or "tsne".
        points: number of points.
    """
    if method == "umap" and points >= _FEWEST:
        return (
            f"UMAP of {points:,} points may take some minutes; fewer --points are quicker, and --map pca takes seconds"
        )
    if method != "tsne" or points < _FEWEST:
        return ""
    seconds = _TSNE_SECONDS * points * math.log(points) / (_TSNE_POINTS * math.log(_TSNE_POINTS))
    if seconds < _SHORT_SECONDS:
        return ""
    return (
        f"t-SNE of {points:,} points takes about {duration(seconds)} on an idle core; fewer --points are quicker, and "
        "--map pca takes seconds"
    )


def project(method: Method, vectors: NDArray[np.float32], components: Components) -> Projection:
    """Project vectors.

    Args:
        method: "pca", "umap" or "tsne".
        vectors: float32 (points, width).
        components: principal components of all vectors of the job, at least two; for "umap" and "tsne" `COMPONENTS`.
    """
    shares = [f"{100 * share:.1f}{PERCENT}" for share in components.explained]
    both = f"{100 * components.explained[:2].sum():.1f}{PERCENT}"
    basis = "the only vector" if components.vectors == 1 else f"all {components.vectors:,} vectors"
    if method == "pca" or len(vectors) < _FEWEST:
        flat = components.project(vectors)[:, :2]
        note = (
            f"The axes are the first two principal components of {basis}, computed exactly; they explain {both} of the "
            f"variance ({' and '.join(shares[:2])}). What the other directions hold can't be seen here."
        )
        return Projection(_two(flat), "principal components", note)
    reduced = components.project(vectors)
    start = _two(reduced[:, :2])
    kept = f"{100 * components.explained.sum():.0f}{PERCENT}"
    common = (
        f"It was computed from the first {len(components.axes)} principal components of {basis}, which hold {kept} of "
        f"the variance; the first two hold {both}. Near points are similar. Distances between groups, their sizes and "
        "the axes mean little."
    )
    if method == "umap":
        return Projection(_umap(reduced), "UMAP", common)
    return Projection(_tsne(reduced, start), "t-SNE", common)


def _umap(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    import warnings  # noqa: PLC0415 - umap says that it runs on one thread, as it was asked to

    import umap  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - slow to load, and often missing

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        neighbours = min(15, len(vectors) - 1)
        found = umap.UMAP(n_components=2, n_neighbors=neighbours, metric="cosine", random_state=0).fit_transform(
            vectors
        )
    return np.asarray(found, np.float64)


def _tsne(vectors: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import (  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415 - optional
        TSNE,
    )
    from threadpoolctl import (  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: PLC0415 - comes with scikit-learn
        threadpool_limits,
    )

    spread = start[:, 0].std() or 1.0
    method = TSNE(
        n_components=2,
        init=(start / spread * 1e-4).astype(np.float32),
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
        random_state=0,
    )
    # One thread: several add in another order each time, so that the same job gets another map; and while other
    # programs compute, they wait for each other, and take many times as long.
    with threadpool_limits(1, user_api="openmp"):
        return np.asarray(method.fit_transform(vectors.astype(np.float32)), np.float64)


def _two(coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two columns, also for vectors of one number."""
    missing = 2 - coordinates.shape[1]
    return np.pad(coordinates, ((0, 0), (0, missing))) if missing > 0 else coordinates
