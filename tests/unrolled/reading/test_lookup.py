"""Single rows of a job, by id and by number, and the rows that are nearest to one."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.jobs import finished_job

import unrolled
from unrolled.reading.nearest import nearest


@pytest.fixture(scope="module", params=[("none",), ("none", "mean"), ("mean",)], ids=",".join)
def dataset(request, tmp_path_factory):
    """Three parts."""
    out = tmp_path_factory.mktemp("out")
    finished_job(out, empty=[1], options={"pooling": list(request.param)})
    return unrolled.open(out)


def equal(one, other):
    assert (one.id, one.length) == (other.id, other.length)
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.vectors.keys() == other.vectors.keys()
    for name in one.vectors:
        np.testing.assert_array_equal(one[name], other[name])


def test_every_row_by_id_and_by_number(dataset):
    """In any order."""
    rows = list(dataset)
    for number in np.random.default_rng(0).permutation(len(rows)).tolist():
        equal(dataset[number], rows[number])
        equal(dataset[number - len(rows)], rows[number])
        equal(dataset[rows[number].id], rows[number])
        assert rows[number].id in dataset


def test_what_is_not_there(dataset):
    """An unknown id, or a number beyond the rows."""
    with pytest.raises(KeyError, match="no row has the id 'nobody'"):
        dataset["nobody"]
    assert "nobody" not in dataset
    assert 3 not in dataset
    for name in ("\udcff", "rows.txt#0\ud800"):  # no text in UTF-8, as an argument of a command may be
        assert name not in dataset
        with pytest.raises(KeyError, match="no row has the id"):
            dataset[name]
        with pytest.raises(KeyError, match="no row has the id"):
            dataset.neighbours(name)
    with pytest.raises(TypeError, match=r"for several, use itertools\.islice\(dataset, start, stop\)"):
        dataset[0:3]
    for key, kind in ((1.5, "float"), (None, "NoneType"), (True, "bool"), (np.arange(2), "ndarray")):
        with pytest.raises(TypeError, match=f"by its id, a text, or by its number, an integer; not by {kind}"):
            dataset[key]
    for number in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match=f"there is no row {number}; there are {len(dataset)}"):
            dataset[number]


def test_an_id_whose_hash_is_anothers(dataset, monkeypatch):
    """Rows are compared by their ids, not by hashes alone."""
    monkeypatch.setattr("unrolled.reading.id_index.hashes_of", lambda ids: np.zeros(len(ids), np.uint64))
    again = unrolled.open(dataset.files)
    for row in dataset:
        equal(again[row.id], row)
    assert "nobody" not in again


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_neighbours(dataset, metric):
    """As NumPy finds them among all rows, without those that have no vector."""
    ids, vectors = dataset.pooled("mean")
    lengths = np.array([row.length for row in dataset])
    query = vectors[lengths > 0][0] + 0.5
    score = {
        "cosine": vectors @ query / np.maximum(np.linalg.norm(vectors, axis=1) * np.linalg.norm(query), 1e-30),
        "dot": vectors @ query,
        "euclidean": np.linalg.norm(vectors - query, axis=1),
    }[metric]
    assert np.isnan(vectors[lengths == 0]).all()
    assert (lengths == 0).any()
    score[lengths == 0] = np.inf if metric == "euclidean" else -np.inf
    order = np.argsort(score if metric == "euclidean" else -score, kind="stable")[:4]
    found = dataset.neighbours(query, 4, metric=metric)
    assert [each.id for each in found] == [ids[row] for row in order]
    np.testing.assert_allclose([each.score for each in found], score[order], rtol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_no_cosine_is_beyond_one(sign):
    """Rounding may lead there, and acos would fail then."""
    vectors = np.random.default_rng(0).standard_normal((500, 7)).astype(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(vectors.ravel(), 7)
    rows = pa.record_batch({"id": map(str, range(500)), "length": pa.array([1] * 500, pa.int32()), "mean": lists})
    scores = [near.score for vector in vectors for near in nearest([rows], sign * vector, 500, "cosine")]
    assert max(map(abs, scores)) == 1


def batches_of(vectors, cuts=()):
    """Rows with these vectors, float32 (rows, width), in record batches that end at the cuts and at the last row."""
    count, width = vectors.shape
    lists = pa.FixedSizeListArray.from_arrays(vectors.ravel(), width)
    names = [str(row) for row in range(count)]
    rows = pa.record_batch({"id": names, "length": pa.array([1] * count, pa.int32()), "mean": lists})
    return [rows.slice(begin, end - begin) for begin, end in pairwise([0, *sorted(cuts), count])]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("width", [1, 2, 130, 513])
def test_of_equal_rows_the_earlier_first(metric, width):
    """With one score, wherever they are in a batch, for any count."""
    vector, query = np.random.default_rng(0).standard_normal((2, width)).astype(np.float32)
    for count in (1, 5, 1003):
        found = nearest(batches_of(np.tile(vector, (1003, 1))), query, count, metric)
        assert [near.id for near in found] == [str(row) for row in range(count)]
        assert len({near.score for near in found}) == 1


@given(
    vectors=arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 9)), elements=st.floats(-4, 4, width=32)),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    count=st.integers(1, 45),
    scale=st.sampled_from([1e-42, 1e-20, 1, 1e15]),
    metric=st.sampled_from(["cosine", "dot", "euclidean"]),
)
def test_scores_are_rounded_once(vectors, cuts, count, scale, metric):
    """They are those of float64, and so is the order; how the rows are divided into batches doesn't matter."""
    vectors = vectors * np.float32(scale)
    query = vectors[-1] + np.float32(scale)
    wide, wanted = vectors.astype(np.float64), query.astype(np.float64)
    distances = np.sqrt(np.square(wide - wanted).sum(axis=1))
    scores = -distances if metric == "euclidean" else (wide * wanted).sum(axis=1)
    if metric == "cosine":
        assume(wanted.any())
        lengths = np.sqrt(np.square(wide).sum(axis=1) * np.square(wanted).sum())
        scores = np.divide(scores, lengths, out=np.zeros_like(scores), where=lengths > 0)
    found = nearest(batches_of(vectors, {min(cut, len(vectors)) for cut in cuts}), query, count, metric)
    order = np.argsort(-scores.astype(np.float32), kind="stable")[:count]
    sign = -1 if metric == "euclidean" else 1
    np.testing.assert_allclose(
        [sign * near.score for near in found], scores[order].astype(np.float32), rtol=2e-7, atol=1e-12 * scale**2
    )
    assert found == nearest(batches_of(vectors), query, count, metric)


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e25, 1e37])
def test_a_cosine_is_of_directions_alone(dataset, scale):
    """However long or short the query is."""
    query = np.array([0.5, -0.25, 1], np.float32)
    wanted = dataset.neighbours(query, 9)
    found = dataset.neighbours(query.astype(np.float64) * scale, 9)
    assert [near.id for near in found] == [near.id for near in wanted]
    np.testing.assert_allclose([near.score for near in found], [near.score for near in wanted], rtol=1e-6)
    if scale > 1:
        assert len(dataset.neighbours(query.astype(np.float64) * scale, 9, metric="euclidean")) == len(wanted)


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-20, 1, 1e20, 1e38])
def test_a_cosine_is_of_directions_alone_in_the_job_too(scale):
    """However long or short the stored vectors are, and beside a vector of zeros and one that is missing."""
    vectors = np.array([[1, 0, 0], [0, 1, 0], [1, -1, 0], [0, 0, 0], [2, 2, 2]], np.float32) * np.float32(scale)
    lists = pa.array([*vectors.tolist(), None], pa.list_(pa.float32(), 3))
    rows = pa.record_batch({"id": [*"xyznt", "none"], "length": pa.array([1] * 6, pa.int32()), "mean": lists})
    found = {near.id: near.score for near in nearest([rows], np.array([3, 0, 0], np.float32), 9, "cosine")}
    wanted = {"x": 1, "y": 0, "z": 0.5**0.5, "n": 0, "t": 3**-0.5}
    assert found.keys() == wanted.keys()
    np.testing.assert_allclose(
        [found[name] for name in wanted], list(wanted.values()), rtol=1e-3 if scale < 1e-40 else 1e-6
    )


def test_neighbours_of_a_row(dataset):
    """A row isn't its own neighbour; the others are all there, if that many are asked for."""
    named = next(row.id for row in dataset if row.length)
    found = dataset.neighbours(named, 1000)
    assert {each.id for each in found} == {row.id for row in dataset if row.length and row.id != named}
    assert found == dataset.neighbours(named, 1000, column="mean", metric="cosine")
    assert dataset.neighbours(named, 1) == found[:1]


@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_neighbours_where_an_id_occurs_several_times(tmp_path, count):
    """The first row with the id is the query, and only it is left out: those that equal it are the nearest."""
    for name in "abcd":
        finished_job(tmp_path / name, shards=1, inputs=(name,))  # jobs of other inputs, and rows of the same ids
    dataset = unrolled.open([tmp_path / name for name in "abcd"])
    one = [row.id for row in unrolled.open(tmp_path / "a")]
    assert [row.id for row in dataset] == one * 4
    found = dataset.neighbours(one[2], count)
    assert [near.id for near in found[:3]] == [one[2]] * min(count, 3)
    assert len(found) == count
    every = dataset.neighbours(one[2], 100)
    assert sorted(near.id for near in every) == sorted(one * 3 + [name for name in one if name != one[2]])


def test_one_row_is_left_out_by_its_number():
    """In any batch, and no other row with its id."""
    vectors = np.array([[1, 0], [2, 0], [0, 1], [9, 0]], np.float32)
    lists = pa.FixedSizeListArray.from_arrays(vectors.ravel(), 2)
    rows = pa.record_batch({"id": ["a", "b", "c", "b"], "length": pa.array([1] * 4, pa.int32()), "mean": lists})
    pieces = [rows.slice(0, 1), rows.slice(1, 2), rows.slice(3)]
    for without, wanted in ((0, "bbc"), (1, "bac"), (2, "bba"), (3, "bac"), (None, "bba")):
        found = nearest(pieces, vectors[1], 3, "dot", without)
        assert "".join(near.id for near in found) == wanted
    assert nearest(pieces, vectors[1], 1, "dot", 3)[0].score == 4


def test_neighbours_of_a_row_without_a_token(dataset):
    """It has no vector, so nothing is near; the error says so."""
    with pytest.raises(ValueError, match=r"row 'rows\.txt#4' has no token, and so no vector"):
        dataset.neighbours("rows.txt#4")


def test_neighbours_of_a_row_without_a_stored_vector(tmp_path):
    """It has a token, but not at a position that the job stores; it is no other row's neighbour either."""
    finished_job(tmp_path, options={"positions": {"rule": "every", "count": 2}})
    dataset = unrolled.open(tmp_path)
    name = next(row.id for row in dataset if row.length == 1)
    with pytest.raises(ValueError, match=f"row '{name}' has no stored vector: none of its tokens is one of every:2"):
        dataset.neighbours(name)
    named = next(row.id for row in dataset if row.length > 1)
    assert name not in [near.id for near in dataset.neighbours(named, 100)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count is 0; it must be at least 1"),
        ({"count": 2.5}, r"count is 2\.5; a whole number is expected"),
        ({"query": None}, "the query is a NoneType; give a row's id, or one vector of numbers"),
        ({"query": [1.0, None, 2.0]}, "the query is a list; give a row's id, or one vector of numbers"),
        ({"query": 7}, "the query is a int; give a row's id, or one vector of numbers"),
        ({"query": ["a", "b"]}, "the query is a list; give a row's id, or one vector of numbers"),
        ({"count": 0, "query": "rows.txt#0"}, "count is 0; it must be at least 1"),
        ({"count": -3, "query": "rows.txt#0"}, "count is -3; it must be at least 1"),
        ({"metric": "l2"}, "metric is 'l2'; allowed: cosine, dot, euclidean"),
        (
            {"column": "outputs"},
            "column 'outputs' isn't one with a vector for each row; choose a column: mean(, max, last, first)?$",
        ),
        ({"column": "id"}, "column 'id' isn't one with a vector for each row"),
        ({"query": np.ones(2, np.float32)}, r"the query has the shape \(2,\), the job's vectors \(3,\)"),
        ({"query": np.zeros(2, np.float32)}, r"the query has the shape \(2,\), the job's vectors \(3,\)"),
        ({"query": np.zeros(3, np.float32)}, "the query is a vector of zeros"),
        ({"query": np.ma.array([1.0, 9.0, 0.0], mask=[0, 1, 0])}, "the query is a masked array: some of its values"),
        ({"query": np.array([1, np.nan, 0], np.float32)}, "the query contains NaN or an infinite number"),
    ],
)
def test_neighbours_that_can_not_be(dataset, options, message):
    """The error says what is allowed."""
    with pytest.raises((ValueError, TypeError), match=message):
        dataset.neighbours(**{"query": np.ones(3, np.float32), **options})


def test_queries_that_float32_can_not_hold():
    """For the cosine the direction counts; other metrics say so; imaginary parts are no part of a vector."""
    vectors = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
    query = np.arange(8.0) + 1
    wanted = [near.id for near in nearest(batches_of(vectors), query, 5, "cosine")]
    for factor in (1e39, 1e-44, 1e-50):
        assert [near.id for near in nearest(batches_of(vectors), query * factor, 5, "cosine")] == wanted
    with pytest.raises(ValueError, match="the query has numbers that float32 can't hold; the metric cosine"):
        nearest(batches_of(vectors), query * 1e39, 5, "dot")
    tiny, zero = (nearest(batches_of(vectors), query * factor, 5, "euclidean") for factor in (1e-50, 0))
    assert tiny == zero
    with pytest.raises(TypeError, match="the query is a ndarray; give"):
        nearest(batches_of(vectors), query + 1j, 5, "cosine")
