"""Crafted model files: each is imported right, or refused with a reason and a way out; none is wrong in silence.

A case is a function that returns what it writes and the model's own computation. The decorator `cases.case` registers
it with the outcome that is expected, and `check` tests the outcome.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest
from support.imported import imported
from support.reference import begun, gru_states, layer_states, lstm_states

from unrolled.errors import ModelError
from worker.model_import.importer import ImportOptions
from worker.model_import.parity.own_graph import run_own
from worker.model_import.readers.formats import read_source
from worker.model_import.selection.choice import choose
from worker.model_import.selection.stack import AskedPadding

#: The outcome of a file that is imported and computes what its own program computes.
RIGHT = ""
VOCABULARY, WIDTH, UNITS = 10, 4, 5


@dataclass(frozen=True)
class Case:
    """One crafted file.

    Attributes:
        name: of the function that makes it.
        make: returns what is written, and a function from a row of the source's ids to its own states; if rows bring
            initial states, from these too.
        outcome: RIGHT, or a pattern that the refusal matches.
        options: of the import.
        then: options with which the import is right after the refusal; None if there are none.
        suffix: of the file.
        run: whether the file's graph is run, too, as the comparison of the import runs it.
    """

    name: str
    make: object
    outcome: str
    options: dict = field(default_factory=dict)
    then: dict | None = None
    suffix: str = ".safetensors"
    run: bool = False

    @property
    def padding(self):
        """How the user says that rows are padded, if the model is right then."""
        return (self.then or self.options).get("padding", None)

    def padded(self, own):
        """From a function of rows as the source reads them to one that pads rows, and gives the states of tokens."""
        padding = self.padding
        if padding is None:
            return own

        def of_tokens(row):
            states = own(padded_row(row, padding))
            return states[: len(row)] if padding.side == "after" else states[len(states) - len(row) :]

        return of_tokens


def padded_row(row, padding):
    """A row of the source's ids as its program pads it; -1 is a vector of zeros."""
    if padding is None:
        return np.array(row)
    more = [-1 if padding.zeros else padding.id or 0] * (padding.length - len(row))
    return np.array([*row, *more] if padding.side == "after" else [*more, *row])


def pad(length, side="after", **more):
    """The option --pad."""
    return AskedPadding(length, side, **more)


class Cases(list):
    """The cases of a test file."""

    def case(self, outcome=RIGHT, then=None, suffix=".safetensors", run=False, **options):
        def add(make):
            self.append(Case(make.__name__, make, outcome, options, then, suffix, run))
            return make

        return add

    @property
    def parameters(self):
        return [pytest.param(one, id=one.name) for one in self]


def check(case, source, own, directory, rows):
    """Check the outcome of a case whose file is written.

    Args:
        case: with its outcome.
        source: the file.
        own: from a row of source ids to (time, outputs).
        directory: for the model directories.
        rows: of the source's ids.
    """
    if case.run:
        assert_graph_runs(source, own, rows, ImportOptions(**(case.then or case.options)))
    if case.outcome == RIGHT:
        assert_right(source, own, directory / "model", rows, case.options)
        return
    with pytest.raises(ModelError, match=case.outcome):
        imported(source, directory / "model", **case.options)
    assert not (directory / "model").exists()
    if case.then is not None:
        assert_right(source, own, directory / "settled", rows, case.then)


def assert_right(source, own, directory, rows, options):
    """The imported model computes what the source computes, to 1e-5."""
    done = imported(source, directory, **options)
    if done.model.config.vector_dim is not None:
        assert_right_for_vectors(done.model, own, [len(row) for row in rows])
        return
    shift, config, random = 1 - done.made.ids_from, done.model.config, np.random.default_rng(8)
    for row in rows:
        states = random.normal(0, 0.6, config.given_dim).astype(np.float32)
        weights = begun(config, done.model.weights(), states)
        found = layer_states(config, weights, np.array(row) + shift)[-1]
        wanted = own(np.array(row), states) if config.given_dim else own(np.array(row))
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def assert_right_for_vectors(model, own, lengths):
    """The same for rows of vectors, of which every third is padding if the model has a mask."""
    config, random = model.config, np.random.default_rng(7)
    for length in lengths:
        row, real = random.standard_normal((length, config.vector_dim), np.float32), np.ones(length, bool)
        if config.mask_value is not None:
            real[1::3] = False
            row[~real] = config.mask_value
        found = layer_states(config, model.weights(), row[real])[-1]
        np.testing.assert_allclose(found, own(row)[real], rtol=0, atol=1e-5)


def assert_graph_runs(source, own, rows, options):
    """The import's comparison runs the file's graph, and gets its states."""
    found = read_source(source, None, None)
    padding = options.padding
    name, made = run_own(found, choose(found, options.asked), [padded_row(row, padding) for row in rows])
    assert not isinstance(made, str), f"{name}: {made}"
    for number, states in made.items():
        length = len(rows[number])
        start = 0 if padding is None or padding.side == "after" else len(states) - length
        np.testing.assert_allclose(states[start : start + length], own(np.array(rows[number])), rtol=0, atol=1e-5)


class Tensors(dict):
    """Arrays by name, with random numbers."""

    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(1)

    def add(self, name, *shape, scale=0.8):
        self[name] = self.random.normal(0, scale, shape).astype(np.float32)
        return self[name]


def torch_lstm(tensors, module, inputs, units=UNITS, layer=0, back=""):
    """Add the arrays of one pass of an nn.LSTM; returns its function from (time, inputs) to (time, units)."""
    names = [f"{module}{what}_l{layer}{back}" for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    shapes = [(4 * units, inputs), (4 * units, units), (4 * units,), (4 * units,)]
    w_ih, w_hh, b_ih, b_hh = (tensors.add(name, *shape, scale=0.6) for name, shape in zip(names, shapes, strict=True))
    return lambda x, **first: lstm_states(
        x, w_ih.T.astype(float), w_hh.T.astype(float), (b_ih + b_hh).astype(float), **first
    )


def keras_order(gates, axis=0):
    """Blocks r, z, n of PyTorch as z, r, n."""
    r, z, n = np.split(gates, 3, axis=axis)
    return np.concatenate([z, r, n], axis=axis)


def torch_gru(tensors, module, inputs, units=UNITS, layer=0):
    """Add the arrays of an nn.GRU; returns its function."""
    names = [f"{module}{what}_l{layer}" for what in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    shapes = [(3 * units, inputs), (3 * units, units), (3 * units,), (3 * units,)]
    w_ih, w_hh, b_ih, b_hh = (
        keras_order(tensors.add(name, *shape, scale=0.6)).astype(float)
        for name, shape in zip(names, shapes, strict=True)
    )
    return lambda x: gru_states(x, w_ih.T, w_hh.T, np.stack([b_ih, b_hh]))
