"""The outputs of an imported model, by the plain NumPy reference."""

import numpy as np
from support.reference import layer_states

from worker.model_import.importer import ImportOptions, import_model

#: Ragged rows of ids 1..9.
ROWS = [[3], [1, 2], [9, 4, 4, 1, 7], [5, 6, 7, 8, 9, 1, 1, 2, 3]]


def imported(source, directory, **options):
    """Import without parity, which has tests of its own."""
    return import_model(source, directory, ImportOptions(**{"parity": None, **options}))


def states_of(done, rows=ROWS, shift=0):
    """The last layer's states of each row of source ids, (length, outputs)."""
    weights = done.model.weights()
    return [layer_states(done.model.config, weights, np.array(row) + shift)[-1] for row in rows]


def padded(rows=ROWS):
    """int32 (rows, longest), with zeros on the right."""
    longest = max(map(len, rows))
    return np.array([row + [0] * (longest - len(row)) for row in rows], np.int32)


def assert_same(expected, found, bound=1e-5):
    """Every real token's outputs, of every row."""
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(other, one, rtol=0, atol=bound)
