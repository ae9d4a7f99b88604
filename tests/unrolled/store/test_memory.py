"""A store in memory that fails where a test asks for it."""

import pytest

from unrolled.errors import TransientError
from unrolled.store.memory import Crash, Fault, Lag, MemoryStore, Operation
from unrolled.store.settle import PAUSES_SECONDS
from unrolled.store.store import Creation


class Script:
    """Gives the faults of a list, one for each operation, then none; remembers the operations."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.operations = []

    def __call__(self, operation):
        self.operations.append(operation)
        return self.faults.pop(0) if self.faults else None


UNKNOWN = [Fault.REFUSED, Fault.CONFLICT, Fault.LOST_REQUEST]
HIDDEN = [Fault.LOST_ANSWER, Fault.EXISTS]


@pytest.mark.parametrize("fault", UNKNOWN)
def test_a_bucket_creates_again_what_had_no_effect(fault):
    """The object is looked for, isn't there, and the second request creates it."""
    script = Script(fault)
    store = MemoryStore(script)
    assert store.create("a", b"1") is Creation.CREATED
    assert script.operations == [Operation("create", "a"), Operation("read", "a"), Operation("create", "a")]
    assert store.contents() == {"a": b"1"}


@pytest.mark.parametrize("fault", HIDDEN)
def test_a_bucket_finds_what_had_its_effect(fault):
    """Whether the object is one's own isn't known: it exists."""
    script = Script(fault)
    store = MemoryStore(script)
    assert store.create("a", b"1") is Creation.EXISTS
    assert script.operations == [Operation("create", "a"), Operation("read", "a")]
    assert store.contents() == {"a": b"1"}


def test_a_late_request_meets_what_was_created_meanwhile():
    """It has no effect then, and its caller has long been answered."""
    store = MemoryStore(Script(Fault.LATE))
    assert store.create("a", b"1") is Creation.CREATED
    assert store.late == [Operation("create", "a")]
    assert store.deliver(0) == Operation("create", "a")
    assert store.contents() == {"a": b"1"}


def test_a_late_delete_has_its_effect_after_its_error():
    """The caller learns that the outcome isn't known."""
    store = MemoryStore(Script(None, Fault.LATE))
    store.create("a", b"1")
    with pytest.raises(TransientError, match="cannot delete memory:/a"):
        store.delete("a")
    assert store.read("a") == b"1"
    store.deliver(0)
    assert store.read("a") is None


def test_a_bucket_that_never_answers_ends_the_creation():
    """After a bounded number of attempts, with the reason and what to do."""
    script = Script(*[Fault.REFUSED] * 1000)
    with pytest.raises(TransientError, match=r"cannot create memory:/a: 503.*looking for it.*check that"):
        MemoryStore(script).create("a", b"1")
    assert len(script.operations) == 2 * (len(PAUSES_SECONDS) + 1)


@pytest.mark.parametrize("fault", [*UNKNOWN, Fault.FULL, Fault.LATE])
def test_a_disk_says_so_when_nothing_was_created(fault):
    """There is nothing to look for: the caller tries again."""
    store = MemoryStore(Script(fault), is_disk=True)
    with pytest.raises(TransientError, match="cannot create memory:/a"):
        store.create("a", b"1")
    assert store.contents() == {}
    assert store.create("a", b"1") is Creation.CREATED


@pytest.mark.parametrize("is_disk", [True, False])
@pytest.mark.parametrize(("fault", "left"), [(Fault.CRASH_BEFORE, {}), (Fault.CRASH_AFTER, {"a": b"1"})])
def test_a_crash_comes_before_or_after(fault, left, is_disk):
    """It is no error that the product could handle."""
    store = MemoryStore(Script(fault), is_disk=is_disk)
    with pytest.raises(Crash):
        store.create("a", b"1")
    assert not issubclass(Crash, Exception)
    assert store.contents() == left


def test_a_power_cut_takes_back_what_was_not_synced():
    """On a disk a creation is durable when its folder is synced, which a crash can prevent; so is a deletion."""
    script = Script(None, None, None, Fault.CRASH_BEFORE, None)
    store = MemoryStore(script, is_disk=True)
    store.create("f/safe", b"1")
    with pytest.raises(Crash):
        store.create("f/lost", b"2")
    store.delete("f/safe")
    assert script.operations[:2] == [Operation("create", "f/safe"), Operation("sync", "f")]
    asked = []
    assert store.power_cut(lambda name: not asked.append(name)) == ["f/lost", "f/safe"]
    assert asked == ["f/lost", "f/safe"]
    assert store.contents() == {"f/safe": b"1"}


def test_who_finds_an_object_makes_it_durable():
    """A creation whose answer is "exists" has synced the folder as well."""
    store = MemoryStore(Script(Fault.CRASH_AFTER), is_disk=True)
    with pytest.raises(Crash):
        store.create("a", b"1")
    assert store.create("a", b"1") is Creation.EXISTS
    assert store.power_cut(lambda _: True) == []


def test_a_power_cut_spares_a_bucket():
    """Its answers are durable; a request that is still under way never arrives."""
    store = MemoryStore(Script(None, Fault.LATE))
    store.create("a", b"1")
    with pytest.raises(TransientError):
        store.delete("a")
    assert store.power_cut(lambda _: True) == []
    assert store.late == []
    assert store.contents() == {"a": b"1"}


def test_a_look_may_lag():
    """New names aren't seen yet, deleted ones still are listed, as on a network file system."""
    script = Script()
    store = MemoryStore(script, is_disk=True)
    for name in ("old", "gone", "new"):
        store.create(name, b"1")
    store.delete("gone")
    script.faults = [Lag(2), Lag(2), Lag(1), Lag(3)]
    assert list(store.list()) == ["gone", "old"]
    assert store.read("new") is None
    assert store.read("gone") is None
    assert store.read("old") == b"1"


@pytest.mark.parametrize("fault", [*UNKNOWN, Fault.LOST_ANSWER])
@pytest.mark.parametrize("look", [lambda store: store.read("a"), lambda store: list(store.list()),
                                  lambda store: store.open("a")])  # fmt: skip
def test_a_look_that_fails_says_so(look, fault):
    """No answer is not taken for "nothing there"."""
    with pytest.raises(TransientError):
        look(MemoryStore(Script(fault)))


def test_each_page_of_a_listing_is_an_operation():
    """What is created behind a page that was read already is not listed, what is created before it is."""
    script = Script()
    store = MemoryStore(script, page=2)
    for name in ("b", "d", "f", "g", "f/x"):
        store.create(name, b"")
    listing = store.list()
    begun = [next(listing), next(listing)]
    store.create("a", b"")
    store.create("e", b"")
    script.operations.clear()
    assert begun + list(listing) == ["b", "d", "e", "f", "g"]
    assert script.operations == [Operation("list", "")] * 2


def test_a_read_in_the_middle_of_a_file_may_fail():
    """The error goes through pyarrow as it is, and the next read works."""
    script = Script()
    store = MemoryStore(script)
    store.create("a", b"0123456789")
    with store.open("a") as file:
        assert file.read(3) == b"012"
        script.faults = [Fault.REFUSED]
        with pytest.raises(TransientError, match="cannot read memory:/a"):
            file.read(3)
        assert file.read(3) == b"345"
