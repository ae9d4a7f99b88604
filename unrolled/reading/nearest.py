"""The rows whose vectors are nearest to one: exact, of those that one product for each batch of rows leaves."""

# Over 150 lines: which column is compared and how, with what is refused of each.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from unrolled.format.columns import POOLINGS, column_name, parse_name
from unrolled.reading.arrays import numbers, row_vectors, why_masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from unrolled.format.columns import VectorColumn

Metric = Literal["cosine", "dot", "euclidean"]

# Products and squares of vectors of lengths between these are in the range of float32, and precise there.
_SHORT, _LONG = 1e-15, 1e15


class Neighbour(NamedTuple):
    """One row that is near.

    Attributes:
        id: its id.
        score: its cosine or dot product with the query, which is larger for nearer rows; or its Euclidean distance.
    """

    id: str
    score: float


def compared_column(columns: Sequence[VectorColumn]) -> str:
    """The column whose vectors are compared if none is named: the only one that has a vector for each row.

    Without a stored one, it is the mean of each row's vectors, which is computed.

    Args:
        columns: the columns of vectors that the job stored.

    Raises:
        ValueError: there are several.
    """
    found = row_columns(columns)
    if len(found) > 1:
        raise ValueError(f"rows have {len(found)} vectors; choose a column: {', '.join(found)}")
    return found[0]


def row_columns(columns: Sequence[VectorColumn]) -> list[str]:
    """The stored columns that have a vector for each row; without one, the means that can be computed."""
    stored = [each.name for each in columns if not each.per_token]
    return stored or [column_name("mean", each.layer) for each in columns]


def _choices(columns: Sequence[VectorColumn]) -> list[str]:
    """The columns that have a vector for each row, and those that can be computed."""
    stored = [each.name for each in columns if not each.per_token]
    computed = [column_name(how, each.layer) for each in columns if each.per_token for how in POOLINGS if how != "none"]
    return list(dict.fromkeys([*stored, *computed]))


def pooling_of(column: str, columns: Sequence[VectorColumn]) -> tuple[str, int | None]:
    """The pooling and the layer of a column that has a vector for each row.

    Args:
        column: its name.
        columns: the columns of vectors that the job stored.

    Raises:
        ValueError: it has none.
        KeyError: the job doesn't have it, and it can't be computed.
    """
    pooling, layer = parse_name(column) or ("none", None)
    choices = f"choose a column: {', '.join(_choices(columns))}"
    if pooling == "none":
        raise ValueError(f"column {column!r:.100} isn't one with a vector for each row; {choices}")
    if not {column, column_name("none", layer)} & {each.name for each in columns}:
        raise KeyError(f"no column {column!r:.100}, and none to compute it from; {choices}")
    return pooling, layer


def nearest(
    batches: Iterable[pa.RecordBatch],
    query: NDArray[np.float32],
    count: int,
    metric: Metric,
    without: int | None = None,
) -> list[Neighbour]:
    """The rows that are nearest to a vector, nearest first; of equal ones, the earlier row first.

    Args:
        batches: of the columns "id", "length" and one of vectors; rows of length 0 have no vector, and are left out.
        query: float32 (width,).
        count: how many rows, at least 1.
        metric: "cosine", "dot" or "euclidean".
        without: the number of a row that is left out, counted from 0 over all batches; None for none.

    Raises:
        ValueError: an argument isn't allowed, or the query is of another width, not finite, partly masked, or all zeros
            for "cosine".
        TypeError: the query isn't a vector, or the count no whole number.
    """
    # Over 40 lines: half of it is the description of its arguments.
    if why := why_masked(query):
        raise ValueError(f"the query is a masked array: {why}")
    _check(count, metric)
    wanted = _float32(query, metric)
    if not np.isfinite(wanted).all():
        raise ValueError("the query contains NaN or an infinite number; only finite vectors have neighbours")
    count = int(count)
    best: list[tuple[float, int, str]] = []  # how near, minus the row's number, id: larger is nearer
    seen = 0
    for rows in batches:
        vectors = row_vectors(rows.column(2)).astype(np.float32, copy=False)
        if wanted.shape != vectors.shape[1:]:
            raise ValueError(f"the query has the shape {wanted.shape}, the job's vectors {vectors.shape[1:]}")
        if metric == "cosine" and not wanted.any():
            raise ValueError("the query is a vector of zeros, which has no direction; take the metric dot or euclidean")
        is_allowed = numbers(rows.column(1)) > 0
        if without is not None and seen <= without < seen + len(rows):
            is_allowed[without - seen] = False
        maybe = _candidates(vectors, wanted, count, metric, is_allowed)
        near = _nearness(vectors[maybe], wanted, metric)
        best += [
            (float(near[at]), -(seen + int(maybe[at])), rows.column(0)[int(maybe[at])].as_py())
            for at in np.argsort(-near, kind="stable")[:count].tolist()
            if near[at] > -np.inf
        ]
        best = sorted(best, reverse=True)[:count]
        seen += len(rows)
    return [Neighbour(of, -near if metric == "euclidean" else near) for near, _, of in best]


def _float32(query: Any, metric: Metric) -> NDArray[np.float32]:
    """A query in float32; for "cosine", one whose numbers don't fit that is scaled, which keeps its direction."""
    try:
        given = np.asarray(query)
        if given.dtype.kind == "c":
            raise TypeError("complex")  # noqa: TRY301 - NumPy would drop the imaginary parts
        exact = given.astype(np.float64)  # None would become NaN
        if given.ndim != 1 or (given.dtype.kind == "O" and any(one is None for one in given)):
            raise TypeError("no vector")  # noqa: TRY301 - as above
    except (TypeError, ValueError) as error:
        raise TypeError(f"the query is a {type(query).__name__}; give a row's id, or one vector of numbers") from error
    largest = np.abs(exact).max(initial=0.0)
    limits = np.finfo(np.float32)
    if metric == "cosine" and np.isfinite(largest) and largest and not limits.tiny <= largest <= limits.max:
        exact = np.ldexp(exact, -int(np.frexp(largest)[1]))  # by a power of two, which rounds nothing
    with np.errstate(over="ignore", under="ignore"):  # numbers that are too small are zeros for a job's vectors, too
        wanted: NDArray[np.float32] = exact.astype(np.float32)
    if np.isfinite(exact).all() and not np.isfinite(wanted).all():
        raise ValueError("the query has numbers that float32 can't hold; the metric cosine takes such a one")
    return wanted


def _check(count: int, metric: Metric) -> None:
    if metric not in get_args(Metric):
        raise ValueError(f"metric is {metric!r}; allowed: {', '.join(get_args(Metric))}")
    if not isinstance(count, int | np.integer):
        raise TypeError(f"count is {count!r:.40}; a whole number is expected")
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")


def _candidates(
    vectors: NDArray[np.float32], query: NDArray[np.float32], count: int, metric: Metric, is_allowed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The rows among which the nearest ones are, ascending: all that rounding may have put behind others.

    One product in float32 is fast, but rounds equal rows differently, depending on their places.
    """
    if metric == "euclidean":
        return np.flatnonzero(is_allowed)
    unit = query / (np.abs(query).max(initial=0) or np.float32(1))  # so that only lengths of rows may leave the range
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        near, lengths = vectors @ unit, np.linalg.norm(vectors, axis=1)
        # Twice what it can be: half a unit in the last place for each number, and some for lengths and scores.
        slack = np.float32((len(unit) + 8) * 2.0**-23 * np.linalg.norm(unit)) * np.ones_like(near)
        if metric == "dot":
            slack *= lengths
        else:
            near /= lengths
        least, most = near - slack, near + slack
    is_odd = ~((lengths > _SHORT) & (lengths < _LONG))
    least[is_odd | ~is_allowed], most[is_odd] = -np.inf, np.inf
    bound = np.partition(least, -count)[-count] if count < len(least) else -np.inf
    return np.flatnonzero(is_allowed & (most >= bound))


def _nearness(vectors: NDArray[np.float32], query: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """For each vector a number that is larger for nearer ones, the same in any company: rounded once, from float64."""
    wide, wanted = vectors.astype(np.float64), query.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # of infinite numbers
        found = -np.linalg.norm(wide - wanted, axis=1) if metric == "euclidean" else (wide * wanted).sum(axis=1)
        if metric == "cosine":
            lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(wanted)
            lengths[lengths == 0] = np.inf  # a vector of zeros is near to none
            found = np.clip(found / lengths, -1, 1)  # rounding may go beyond
        rounded: NDArray[np.float32] = found.astype(np.float32)
    return rounded
