"""Functions of each token's vector above recurrent layers: as maps of the model they compute the same."""

import numpy as np
import pytest
from support.reference import map_outputs

from worker.model_import import token_maps
from worker.model_import.errors import ImportRefusedError
from worker.model_import.found import Array, Layer, Node, Pass
from worker.model_import.selection.steps import FIRST_INPUT, Step, parts_of

RANDOM = np.random.default_rng(4)
VECTORS = RANDOM.normal(0, 1, (5, 6))


def array(*shape, low=-1.0):
    numbers = RANDOM.uniform(low, 1, shape).astype(np.float32)
    return Array("array", shape, lambda: numbers)


FUNCTIONS = {
    "dense": token_maps.Dense(array(6, 3), array(3), "sigmoid"),
    "turned": token_maps.Dense(array(3, 6), None, "relu", turned=True),
    "layer norm": token_maps.LayerNorm(array(6), None, 1e-3),
    "plain layer norm": token_maps.LayerNorm(None, array(6), 1e-5),
    "batch norm": token_maps.BatchNorm(array(6), array(6, low=0.1), array(6), array(6), 1e-3),
    "sum": token_maps.with_constant("add", RANDOM.normal(0, 1, (1, 1, 6))),
    "difference": token_maps.with_constant("sub", np.array(2.0), constant_first=True),
    "product": token_maps.with_constant("mul", RANDOM.normal(0, 1, 6)),
    "quotient": token_maps.with_constant("div", np.array([4.0])),
    "tanh": token_maps.Activation("tanh"),
}


def node(name, function=None):
    return Node(name, "map", name, map=function or FUNCTIONS[name])


def lstm(name, inputs, units=6):
    return Layer(name, Pass("keras", "lstm", inputs, units, {}))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_map_computes_the_function(name):
    """With its configuration and tensors alone."""
    function = FUNCTIONS[name]
    assert function.computable
    made = function.layer(6)
    found = map_outputs(made.config, VECTORS, **made.tensors)
    np.testing.assert_allclose(found, function(VECTORS), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        token_maps.Dense(array(6, 3), None, "elu"),
        token_maps.Activation("softmax"),
        token_maps.LayerNorm(None, None, 0.0),
        token_maps.with_constant("div", np.ones(6), constant_first=True),
        token_maps.with_constant("div", np.zeros(6)),
    ],
)
def test_functions_that_no_map_computes(function):
    """Other activations, norms that may divide by zero, and quotients of another form."""
    assert not function.computable


def test_functions_that_follow_each_other_become_one_map():
    """A product, a sum, a norm's scale and a function; a function ends it."""
    plain = token_maps.Dense(FUNCTIONS["dense"].kernel, array(3), "linear")
    norm = token_maps.BatchNorm(array(3), array(3, low=0.1), array(3), array(3), 1e-3)
    steps = [
        Step(lstm("low", 4)),
        Step(node=node("product", plain)),
        Step(node=node("norm", norm)),
        Step(node=node("tanh")),
        Step(node=node("tanh")),
    ]
    parts = parts_of(steps)
    assert [part.name for part in parts] == [
        "low",
        "product (product), norm (norm), tanh (tanh)",
        "tanh (tanh)",
    ]
    found = map_outputs(parts[1].map.config, VECTORS, **parts[1].map.tensors)
    np.testing.assert_allclose(found, np.tanh(norm(plain(VECTORS))), rtol=0, atol=1e-12)
    assert str(parts[1].map.config) == "dense 3 (tanh)"


FAR, TEN = np.full(6, 2.46e6), np.full(6, 10.0)  # as days are counted from year -4712 on


def stored(numbers):
    return Array("numbers", numbers.shape, lambda: numbers.astype(np.float32))


@pytest.mark.parametrize(
    ("functions", "layers"),
    [
        ([token_maps.Normalization(stored(FAR), stored(TEN**2), turned=False)], 2),
        ([token_maps.with_constant("sub", FAR), token_maps.with_constant("div", TEN)], 2),
        ([token_maps.with_constant("add", -FAR), token_maps.with_constant("mul", 1 / TEN)], 2),
        ([token_maps.with_constant("sub", FAR, constant_first=True), token_maps.with_constant("div", TEN)], 2),
        ([token_maps.with_constant("sub", FAR), token_maps.with_constant("add", TEN / 30)], 2),
        ([token_maps.with_constant("sub", FAR), token_maps.with_constant("add", TEN)], 1),
        (
            [
                token_maps.with_constant("mul", np.full(6, 2.0)),
                token_maps.with_constant("sub", 2 * FAR),
                token_maps.with_constant("div", 2 * TEN),
            ],
            2,
        ),
        ([token_maps.with_constant("sub", FAR + 0.12), token_maps.with_constant("div", TEN)], 2),
        ([token_maps.with_constant("sub", FAR + 0.12, constant_first=True)], 2),
        ([token_maps.with_constant("sub", FAR), token_maps.Activation("tanh")], 1),
        ([token_maps.with_constant("sub", FAR), token_maps.with_constant("mul", np.full(6, 0.25))], 1),
        ([token_maps.with_constant("sub", FAR), token_maps.with_constant("sub", -FAR)], 1),
    ],
    ids=[
        "a normalization",
        "a quotient",
        "a product",
        "a turned difference",
        "a sum with more digits",
        "a sum",
        "after an exact product",
        "a quotient of float64",
        "a turned difference of float64",
        "a function",
        "an exact product",
        "another difference",
    ],
)
def test_numbers_near_a_large_mean_keep_their_digits(functions, layers):
    """In float32, one layer would round before it subtracts."""
    steps = [*(Step(None, node("one", function)) for function in functions), Step(lstm("above", 6))]
    vectors = (FAR + RANDOM.normal(0, 10, (50, 6))).astype(np.float32)
    made, exact = vectors, vectors.astype(np.float64)
    for function in functions:
        exact = function(exact)
    maps = [part.map for part in parts_of(steps)[:-1]]
    for one in maps:
        single = {name: tensor.astype(np.float32) for name, tensor in one.tensors.items()}
        made = map_outputs(one.config, made, **single)
    assert len(maps) == layers
    np.testing.assert_allclose(made, exact, rtol=3e-7, atol=1e-6)


@pytest.mark.parametrize("mean", [3.0, 5.0])
def test_a_normalization_is_one_layer_where_that_loses_no_digits(mean):
    """Two of float32's digits may be lost; the names of two layers tell which part each computes."""
    function = token_maps.Normalization(stored(np.full(6, mean)), stored(np.ones(6) * 1.1), turned=False)
    parts = parts_of([Step(None, node("norm", function)), Step(None, node("tanh")), Step(lstm("top", 6))])
    expected = ["norm (norm), tanh (tanh)"] if mean == 3.0 else ["norm (norm): its mean", "norm (norm), tanh (tanh)"]
    assert [part.name for part in parts[:-1]] == expected


def test_what_is_added_elsewhere_stays_a_layer():
    """Spans count the layers of the new model."""
    steps = [
        Step(lstm("low", 6)),
        Step(node=node("product")),
        Step(node=node("sum")),
        Step(node=node("tanh"), source=1),
        Step(lstm("top", 6), source=FIRST_INPUT),
    ]
    parts = parts_of(steps)
    assert [(part.name, part.span) for part in parts] == [
        ("low", 0),
        ("product (product)", 0),
        ("sum (sum), tanh (tanh)", 1),
        ("top", 4),
    ]


def test_a_sum_of_two_widths():
    """Keras adds a number to each place of a vector."""
    steps = [Step(lstm("low", 6)), Step(None, node("one", token_maps.Dense(array(6, 1), None, "linear")), source=0)]
    with pytest.raises(ImportRefusedError, match=r"one \(one\) makes vectors 1 wide, which are added to others 6 wide"):
        parts_of([*steps, Step(lstm("top", 6))])


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (FUNCTIONS["dense"], "top reads vectors 6 wide, but those below it are 3 wide"),
        (
            token_maps.Dense(array(5, 6), None, "linear"),
            r"its array has the shape \(5, 6\), but it reads vectors 6 wide",
        ),
        (token_maps.LayerNorm(array(4), array(4), 1e-3), r"its array has the shape \(4,\)"),
        (token_maps.with_constant("mul", np.ones(4)), "its arrays don't fit vectors 6 wide"),
        (lambda vectors: vectors, "no layer of Unrolled computes it"),
    ],
)
def test_widths_that_do_not_fit(function, reason):
    """The error names the function or the layer."""
    with pytest.raises(ImportRefusedError, match=reason):
        parts_of([Step(lstm("low", 4)), Step(node=node("function", function)), Step(lstm("top", 6))])
