"""The search for states among arrays: where they may be, and what the nearest ones show."""

import numpy as np
import pytest

from worker.model_import.parity.frameworks.state_search import Wanted, find_states

LENGTHS, ROWS, WIDTHS = (1, 2, 5, 8), 8, (3, 2)
RANDOM = np.random.default_rng(0)
#: (rows, time, width) of each length; the middle row is the one that is wanted.
STATES = {number: RANDOM.normal(size=(ROWS, length, sum(WIDTHS))) for number, length in enumerate(LENGTHS)}


def wanted(known=True):
    made = {}
    for number, states in STATES.items():
        row = states[ROWS // 2]
        ends = row[[0, -1]] if known else np.full_like(row[[0, -1]], np.nan)
        made[number] = Wanted(row, np.ones(len(row), np.bool_), ends)
    return made


def tensor(of):
    """What a graph has for the rows of each length."""
    return {number: of(states) for number, states in STATES.items()}


def noise(states):
    return np.zeros((*states.shape[:2], sum(WIDTHS)))


FORWARD, BACKWARD = (lambda states: states[:, :, :3]), (lambda states: states[:, :, 3:])
LAST_FORWARD, LAST_BACKWARD = (lambda states: states[:, -1, :3]), (lambda states: states[:, 0, 3:])


def joined(states):
    return np.concatenate([LAST_FORWARD(states), LAST_BACKWARD(states)], axis=1)


@pytest.mark.parametrize(
    ("graph", "ways"),
    [
        ([noise, lambda states: states], ("all",)),
        ([lambda states: states.swapaxes(0, 1)], ("all",)),  # as many rows as tokens, in one length
        ([FORWARD, lambda states: BACKWARD(states)[:, ::-1]], ("all", "all")),
        ([FORWARD, LAST_BACKWARD, joined], ("all", "last")),
        ([LAST_FORWARD, LAST_BACKWARD], ("last", "last")),
        ([LAST_FORWARD, LAST_BACKWARD, joined], ("last",)),
        ([lambda states: FORWARD(states)[:, :-1], BACKWARD], ("but_last", "all")),
    ],
)
def test_the_same_states(graph, ways):
    """Those that show most are found, whatever else the graph has."""
    found = find_states([tensor(one) for one in graph], wanted(), WIDTHS, 1e-9)
    assert found.ways == ways
    assert found.difference <= 1e-9
    assert set(found.states) == {number for number, length in enumerate(LENGTHS) if length > ("but_last" in ways)}


def test_other_states():
    """The nearest are given, with their difference; a number that is none is no near one."""
    near = [tensor(lambda states, by=by: states + by) for by in (0.5, 0.25, np.nan, 1.0)]
    found = find_states([tensor(noise), *near], wanted(), WIDTHS, 1e-9)
    assert found.difference == pytest.approx(0.25)
    assert find_states([near[2]], wanted(), WIDTHS, 1e-9).difference == np.inf
    assert find_states([tensor(lambda states: states[:, :, 1:])], wanted(), WIDTHS, 1e-9) is None


def test_ends_that_are_not_known():
    """Then only the states of all tokens can be found."""
    assert find_states([tensor(joined)], wanted(known=False), WIDTHS, 1e-9) is None
    assert find_states([tensor(lambda states: states)], wanted(known=False), WIDTHS, 1e-9).ways == ("all",)


@pytest.mark.parametrize("side", ["before", "after"])
def test_padded_rows_without_their_last_step(side):
    """Their tokens count, but for one that is the last step."""
    tokens, rows, graph = 3, {}, {}
    real = np.arange(8) >= 8 - tokens if side == "before" else np.arange(8) < tokens
    for number in range(2):
        states = RANDOM.normal(size=(ROWS, 8, 3))
        rows[number] = Wanted(states[ROWS // 2][real], real, np.full((2, 3), np.nan))
        graph[number] = states[:, :-1].copy()
    found = find_states([graph], rows, (3,), 1e-9)
    assert (found.ways, set(found.states)) == (("but_last",), {0, 1})
    graph[1][ROWS // 2, np.flatnonzero(real)[0]] += 1
    assert find_states([graph], rows, (3,), 1e-9).difference == pytest.approx(1)


def test_a_difference_after_padding():
    """It counts, though none of the model's tokens is there."""
    rows = wanted()
    for each in rows.values():
        each.ends[1] += 1  # as if padding were computed, and the graph hid it
    assert find_states([tensor(joined)], rows, WIDTHS, 1e-9).difference == pytest.approx(1)
