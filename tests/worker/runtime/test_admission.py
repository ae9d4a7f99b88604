"""Who may be on board together."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.processes import eventually

from worker.errors import GivenBackError
from worker.runtime.admission import Admission, size_on_board

BUDGET = 100


class Passenger:
    """A thread that asks to be admitted, shows when it is, and stays until it is released."""

    def __init__(self, admission, size, *, alone=False):
        self.size, self.alone = size, alone
        self.aboard, self.leave, self.refused = threading.Event(), threading.Event(), False
        self._admission = admission
        self.thread = threading.Thread(target=self._travel, daemon=True)
        self.thread.start()

    def _travel(self):
        try:
            with self._admission.admit(self.size, alone=self.alone):
                self.aboard.set()
                self.leave.wait()
        except GivenBackError:
            self.refused = True

    def go(self):
        self.leave.set()
        self.thread.join()


def queue_up(admission, wishes):
    """Passengers in a known order: each one waits, or is aboard, before the next one arrives."""
    passengers = []
    for size, alone in wishes:
        passenger = Passenger(admission, size, alone=alone)
        passengers.append(passenger)
        advance(admission, passengers)
    return passengers


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), min_size=1, max_size=8), st.randoms())
def test_those_aboard_may_be_together(wishes, random):
    """First come first served; never over the budget but for one alone; a suspect never has company."""
    admission = Admission(BUDGET)
    passengers = queue_up(admission, wishes)
    order = []
    while True:
        aboard = [p for p in passengers if p.aboard.is_set() and not p.leave.is_set()]
        order += [p for p in aboard if p not in order]
        assert order == passengers[: len(order)]
        if len(aboard) > 1:
            assert sum(p.size for p in aboard) <= BUDGET
            assert not any(p.alone for p in aboard)
        if not aboard:
            break
        # The next one has a reason to wait.
        if len(order) < len(passengers):
            head = passengers[len(order)]
            assert head.alone or aboard[0].alone or sum(p.size for p in aboard) + head.size > BUDGET
        random.choice(aboard).go()
        advance(admission, passengers)
    assert order == passengers


def advance(admission, passengers):
    """Wait until every thread that fits is on board."""

    def still():
        with admission._changed:
            waiting = len(admission._waiting)
            inside = admission._on_board
        here = [p for p in passengers if p.aboard.is_set() and not p.leave.is_set()]
        came = sum(p.aboard.is_set() for p in passengers)
        if inside != len(here) or came + waiting != len(passengers):
            return False
        if came == len(passengers):
            return True
        head = passengers[came]
        fits = not here or not (head.alone or here[0].alone or sum(p.size for p in here) + head.size > BUDGET)
        return not fits

    eventually(still, "all that fit on board")


def test_an_empty_shard_is_no_company_for_a_suspect():
    """Nothing at all is let on board beside one, were it of no size."""
    admission = Admission(BUDGET)
    suspect, empty = queue_up(admission, [(10, True), (0, False)])
    assert suspect.aboard.is_set()
    assert not empty.aboard.is_set()
    suspect.go()
    empty.aboard.wait(60)
    empty.go()


def test_closing_sends_everybody_away_who_waits():
    """Those on board stay; those that wait, and those that arrive later, are given back."""
    admission = Admission(BUDGET)
    passengers = queue_up(admission, [(80, False), (80, False), (10, True), (10, False)])
    admission.close()
    for passenger in passengers[1:]:
        passenger.thread.join(60)
        assert passenger.refused
    assert passengers[0].aboard.is_set()
    passengers[0].go()
    with pytest.raises(GivenBackError), admission.admit(1):
        pass


def test_room_is_given_back_after_an_error():
    """Whatever happens on board, the next one finds the room."""
    admission = Admission(BUDGET)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), admission.admit(BUDGET, alone=True):
            raise ZeroDivisionError
    with admission.admit(BUDGET):
        pass


def test_many_threads_never_exceed_the_budget():
    """A crowd of real threads, each looking at the sum while it is aboard."""
    admission = Admission(BUDGET)
    lock = threading.Lock()
    aboard = []

    def travel(size):
        with admission.admit(size):
            with lock:
                aboard.append(size)
                assert sum(aboard) <= BUDGET or len(aboard) == 1
            with lock:
                aboard.remove(size)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(travel, [(i * 37) % 120 for i in range(400)]))
    assert aboard == []


@pytest.mark.parametrize(("tokens", "aboard"), [(10, 8), (11, 4)])
def test_of_shards_that_are_computed_in_parts_few_are_on_board(tokens, aboard):
    """Pooled shards weigh little and hold many ids: their rows would all be read while the engine is at the first."""
    size = size_on_board(vector_bytes=1, tokens=tokens, pool_tokens=10, budget_bytes=BUDGET)
    passengers = queue_up(Admission(BUDGET), [(size, False)] * 8)
    assert sum(passenger.aboard.is_set() for passenger in passengers) == aboard
    for passenger in passengers:
        passenger.leave.set()
    for passenger in passengers:
        passenger.thread.join()


def test_a_shard_of_many_vectors_counts_as_those():
    """However it is computed."""
    assert size_on_board(vector_bytes=90, tokens=11, pool_tokens=10, budget_bytes=BUDGET) == 90
