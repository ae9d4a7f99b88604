"""Stores against a dictionary: any order of operations, by several stores on one place, and with faults of a server."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.bucket_server import Answer

from unrolled.errors import TransientError
from unrolled.store import settle
from unrolled.store.bucket import BucketStore
from unrolled.store.memory import Fault, MemoryStore
from unrolled.store.posix import PosixStore
from unrolled.store.store import Creation

FOLDERS = ["", "_unrolled", "_unrolled/log"]
NAMES = [f"{folder}/{name}".lstrip("/") for folder in FOLDERS for name in ("a", "b", "part-0.parquet")]
names = st.sampled_from(NAMES)
contents = st.binary(max_size=40) | st.integers(1, 3).map(lambda count: bytes(count * 600_000))


class Machine(RuleBasedStateMachine):
    """One place, used through several stores. Subclasses make the stores, and the faults."""

    def __init__(self):
        super().__init__()
        self.model = {}
        self.stores = self.make_stores()

    @rule(store=st.integers(0, 1), name=names, content=contents, by_pieces=st.booleans())
    def create(self, store, name, content, by_pieces):
        given = (lambda file: file.write(content)) if by_pieces else content
        answer = self.stores[store].create(name, given)
        assert answer is (Creation.EXISTS if name in self.model else Creation.CREATED)
        self.model.setdefault(name, content)

    @rule(store=st.integers(0, 1), name=names)
    def delete(self, store, name):
        self.stores[store].delete(name)
        self.model.pop(name, None)

    @rule(store=st.integers(0, 1), name=names, start=st.integers(0, 50), stop=st.none() | st.integers(0, 60))
    def read(self, store, name, start, stop):
        found = self.stores[store].read(name, start, stop)
        assert found == (self.model[name][start:stop] if name in self.model else None)

    @rule(store=st.integers(0, 1), name=names, position=st.integers(0, 50), size=st.integers(0, 700_000))
    def open(self, store, name, position, size):
        file = self.stores[store].open(name)
        assert (file is None) == (name not in self.model)
        if file is not None:
            with file:
                file.seek(position)
                assert file.read(size) == self.model[name][position : position + size]

    @rule(store=st.integers(0, 1), folder=st.sampled_from(FOLDERS))
    def sync(self, store, folder):
        self.stores[store].sync(folder)

    @invariant()
    def listings_have_all_that_is_there(self):
        for folder in FOLDERS:
            listed = sorted(self.stores[0].list(folder))
            assert listed == sorted(name for name in self.model if name.rpartition("/")[0] == folder)


@pytest.mark.parametrize("kind", ["posix", "bucket", "memory", "memory disk"])
def test_a_store_is_a_dictionary_that_replaces_nothing(kind, tmp_path_factory, request):
    """Whatever is done in whatever order, through two stores on one place."""
    server = request.getfixturevalue("server") if kind == "bucket" else None

    def make_stores(_):
        if kind.startswith("memory"):
            return [MemoryStore(is_disk=kind == "memory disk")] * 2
        place = tmp_path_factory.mktemp("place")
        if kind == "posix":
            return [PosixStore(place), PosixStore(place)]
        return [BucketStore(f"s3://{server.bucket}/{place.name}")] * 2

    machine = type("Machine", (Machine,), {"make_stores": make_stores})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=25, deadline=None))


class FaultyMachine(RuleBasedStateMachine):
    """One object a time, where each request may go wrong: what is known afterwards is never wrong."""

    def __init__(self):
        super().__init__()
        self.stores = self.make_stores()
        self.first = {}  # content of each name that was promised

    @rule(name=names, content=st.binary(min_size=1, max_size=20), faults=st.data())
    def create(self, name, content, faults):
        self.plan(faults)
        try:
            answer = self.stores[0].create(name, content)
        except TransientError:
            self.plan(None)
            return
        self.plan(None)
        found = self.stores[0].read(name)
        assert found is not None
        if answer is Creation.CREATED:
            assert name not in self.first
            assert found == content
        assert self.first.setdefault(name, found) == found

    @invariant()
    def nothing_is_replaced(self):
        for name, content in self.first.items():
            assert self.stores[0].read(name) == content


FAULTS = [Answer.CONFLICT, Answer.EXISTS_IN_VAIN, Answer.SLOW_DOWN, Answer.BROKEN, Answer.LOST_REQUEST,
          Answer.LOST_ANSWER, Answer.EXISTS_AFTER, Answer.HALF_ANSWER, Answer.THROTTLED]  # fmt: skip


def test_a_bucket_whose_server_goes_wrong_never_replaces(tmp_path_factory, server, monkeypatch):
    """409, 412, 429, 500, 503, and connections that end before, in and after the answer, in any order."""
    monkeypatch.setattr(settle, "PAUSES_SECONDS", (0.001,) * 6)

    def make_stores(_):
        return [BucketStore(f"s3://{server.bucket}/{tmp_path_factory.mktemp('place').name}")]

    def plan(_, data):
        fault = st.none() | st.sampled_from(FAULTS)
        server.faults = {} if data is None else {
            "PUT": data.draw(st.lists(fault, max_size=8)), "GET": data.draw(st.lists(fault, max_size=4)),
        }  # fmt: skip

    machine = type("FaultyMachine", (FaultyMachine,), {"make_stores": make_stores, "plan": plan})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=15, stateful_step_count=10, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow]),
    )  # fmt: skip


@pytest.mark.parametrize("is_disk", [True, False])
def test_a_memory_store_that_goes_wrong_never_replaces(is_disk):
    """The faults of the simulation, in any order, late requests included."""
    kinds = [fault for fault in Fault if "CRASH" not in fault.name]
    if not is_disk:
        kinds.remove(Fault.FULL)

    class Faulty(FaultyMachine):
        def make_stores(self):
            self.faults = []
            return [MemoryStore(lambda _: self.faults.pop(0) if self.faults else None, is_disk=is_disk)]

        def plan(self, data):
            fault = st.none() | st.sampled_from(kinds)
            self.faults = [] if data is None else data.draw(st.lists(fault, max_size=12))

        @rule()
        def deliver(self):
            for _ in self.stores[0].late:
                self.stores[0].deliver(0)

    run_state_machine_as_test(Faulty, settings=settings(max_examples=100, stateful_step_count=10, deadline=None))


CREATOR = """
import sys
from unrolled.store.place import open_store

store = open_store(sys.argv[1])
mine = sys.argv[2].encode() * 100_000
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    content = mine if number % 2 else lambda file: (file.write(mine[:30_000]), file.write(mine[30_000:]))
    print(store.create(f"f/{number}", content).value, flush=True)
"""


@pytest.mark.parametrize("kind", ["posix", "bucket"])
def test_processes_that_create_the_same_names(kind, tmp_path, request):
    """Each name has one winner, and is the winner's content, whole."""
    place = str(tmp_path)
    if kind == "bucket":
        place = str(request.getfixturevalue("bucket"))
    store = PosixStore(tmp_path) if kind == "posix" else BucketStore(place)
    command = [sys.executable, "-c", CREATOR, place]
    processes = [
        subprocess.Popen([*command, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    for number in range(40):
        said = [given[number] for given in answers]
        assert Counter(said) == {"created": 1, "exists": 3}
        assert store.read(f"f/{number}") == str(said.index("created")).encode() * 100_000
    assert len(list(store.list("f"))) == 40
