"""Arguments that are no path, of NumPy's types, and arrays with masked values."""

import numpy as np
import pytest
from support.kernels import THREADS
from support.reference import random_weights

import unrolled
from unrolled.errors import RowError
from unrolled.model.config import ModelConfig
from unrolled.model.directory import save_model
from unrolled.model.layer import LayerConfig

VECTORS = ModelConfig(0, 9, None, (LayerConfig(4, given_state=True),), vector_dim=2, mask_value=0.0)


@pytest.fixture(scope="module")
def encoder(directory):
    return unrolled.load(directory, threads=THREADS and np.int64(THREADS), emulate=np.False_)


@pytest.fixture(scope="module")
def of_vectors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "vectors"
    save_model(folder, VECTORS, random_weights(VECTORS, seed=1))
    return unrolled.load(folder)


def masked(values, mask):
    return np.ma.array(values, mask=mask)


@pytest.mark.parametrize("layer", [np.int64(0), np.uint8(0), np.array(0)], ids=repr)
def test_a_layer_of_numpy(encoder, directory, layer):
    """One number gives one result, several give a dictionary with Python's integers as keys."""
    wanted = encoder.encode("a b", layers=0)
    np.testing.assert_array_equal(encoder.encode("a b", layers=layer), wanted)
    for several in ([layer, 1], np.array([0, 1])):
        found = encoder.encode("a b", layers=several)
        assert {type(number): number for number in found} == {int: 1}
        np.testing.assert_array_equal(found[0], wanted)
    one = unrolled.Vectorizer(directory, layer=layer, pooling="last").transform(["a b"])
    np.testing.assert_array_equal(one, wanted[-1:])


@pytest.mark.parametrize("layers", [1.5, np.True_, np.float32(0), np.int64(2), np.array([0.0]), masked([0, 1], [0, 1])])
def test_what_is_no_layer(encoder, layers):
    """Neither is a truth value, of which Python makes 0 or 1."""
    with pytest.raises(ValueError, match=r"(?s)layers is .*; allowed: 'last', 'all', or numbers from 0 to 1"):
        encoder.encode("a b", layers=layers)


def test_other_arguments_of_numpy(encoder, capsys):
    """Sizes, truth values, and integers in lists of token ids."""
    wanted = encoder.encode([[1, 2]], normalize=True)
    found = encoder.encode([[np.int64(1), np.uint8(2)]], normalize=np.True_, progress=np.False_)
    np.testing.assert_array_equal(found[0], wanted[0])
    (batch,) = encoder.encode_batches(["a b"], batch_rows=np.int32(3), add_special_tokens=np.False_)
    np.testing.assert_array_equal(batch[0], encoder.encode("a b", add_special_tokens=False))
    for wrong in (np.True_, np.int64(0), np.float64(1)):
        with pytest.raises(ValueError, match="batch_rows is "):
            next(encoder.encode_batches(["a"], batch_rows=wrong))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**32, 2**64, np.int64(2**32), 1.5, np.True_])
def test_what_is_no_number_of_threads(directory, threads):
    """A number that the engine's own 32 bits don't hold would be another one there."""
    with pytest.raises(ValueError, match="allowed: a whole number from 1 to 1024, or None for all cores"):
        unrolled.load(directory, threads=threads)


@pytest.mark.parametrize("state", [[0.5] * 8, [np.float32(0.5)] * 8, np.full(8, 0.5), masked([0.5] * 8, [0] * 8)])
def test_numbers_of_numpy_in_lists(of_vectors, state):
    """Of vectors and of initial states; an array without a masked value is one like others."""
    row = [[np.float32(1), 2], (np.int64(3), np.float64(4))]
    wanted = of_vectors.encode([[[1.0, 2.0], [3.0, 4.0]]], initial_states=[[0.5] * 8])
    np.testing.assert_array_equal(of_vectors.encode([row], initial_states=[state])[0], wanted[0])


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (masked([1, 2], [0, 1]), TypeError, "rows are a masked array"),
        (masked([[1, 2], [3, 4]], [[0, 1], [0, 0]]), TypeError, "rows are a masked array"),
        (masked(["a", "b"], [0, 1]), TypeError, "rows are a masked array"),
        ([[1], masked([1, 2], [0, 1])], RowError, "row 1: it is a masked array"),
        ([[1], [1, np.ma.masked]], RowError, "row 1: token masked at position 1"),
    ],
)
def test_masked_rows_are_refused(encoder, rows, error, message):
    """Their values would be computed as if they were not masked."""
    with pytest.raises(error, match=message):
        encoder.encode(rows)
    with pytest.raises((RowError, TypeError)):
        list(encoder.encode_batches(rows))


@pytest.mark.parametrize(
    ("rows", "states", "error", "message"),
    [
        (masked(np.ones((2, 2)), [[0, 0], [1, 0]]), None, TypeError, "rows are a masked array"),
        ([np.ones((2, 2)), masked(np.ones((2, 2)), np.eye(2))], None, RowError, "row 1: it is or has a masked array"),
        ([[masked([1.0, 2.0], [0, 1])]], None, RowError, "row 0: it is or has a masked array"),
        ([np.ones((2, 2))], masked(np.ones((1, 8)), np.eye(1, 8)), TypeError, "initial_states are a masked array"),
        ([np.ones((2, 2))], [masked(np.ones(8), [1] * 8)], RowError, "row 0: its initial state is a masked array"),
    ],
)
def test_masked_vectors_are_refused(of_vectors, rows, states, error, message):
    """And masked initial states."""
    with pytest.raises(error, match=message):
        of_vectors.encode(rows, initial_states=states)


def test_nothing_masked_is_nothing_lost(encoder):
    """An array of `numpy.ma` without a masked value is used."""
    np.testing.assert_array_equal(encoder.encode(masked([1, 2], [0, 0])), encoder.encode([1, 2]))


def test_rows_without_a_token_id(encoder):
    """NumPy gives an empty array the type float64; arrays of objects may contain integers."""
    rows = [np.array([1, 2]), np.array([]), np.array([], bool), np.array([3], object)]
    assert [len(row) for row in encoder.encode(rows)] == [2, 0, 0, 1]
    with pytest.raises(RowError, match=r"row 0: its tokens are 3; allowed: a list of integers"):
        encoder.encode([np.array(3), [1]])


def test_an_array_of_two_axes_as_a_row(encoder):
    """Its lists are no token ids, as of a list."""
    for row in ([[1, 2]], np.array([[1, 2]]), np.array([[1, 2], [3, 4]])):
        with pytest.raises(RowError, match=r"row 0: token \[1, 2\] at position 0"):
            encoder.encode([row])


@pytest.mark.parametrize("make", [unrolled.load, unrolled.Embedder, unrolled.Vectorizer])
def test_what_is_no_model(make):
    """An empty text, of a variable that is missing, isn't the working directory."""
    for given in (None, 5, b"model", []):
        with pytest.raises(TypeError, match=r"^model is .*; allowed: the path or URL of a model directory$"):
            make(given)
    with pytest.raises(ValueError, match=r"^model is empty; allowed: .*, and '\.' for the working directory$"):
        make("")
