"""Objects through all weathers."""

import threading

import pytest

from unrolled.errors import TransientError
from unrolled.patience import at_once
from unrolled.protocol.objects import Objects
from unrolled.store.memory import MemoryStore


def test_the_first_content_counts():
    """The second one gets the content that exists."""
    store = MemoryStore()
    one, two = Objects(store, at_once), Objects(store, at_once)
    assert one.settle("a/b", b"first") == b"first"
    assert two.settle("a/b", b"second") == b"first"
    assert not two.create("a/b", b"third")
    assert two.read("a/b") == b"first"


def test_many_settle_on_one_content():
    """Threads that create one object at once all get one content."""
    store, given = MemoryStore(), []

    def settle(number):
        given.append(Objects(store, at_once).settle("name", b"%d" % number))

    threads = [threading.Thread(target=settle, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 16
    assert len(set(given)) == 1


def test_what_is_there_and_what_is_not():
    """An empty object is one; a deleted one is none, and deleting it again is fine."""
    objects = Objects(MemoryStore(), at_once)
    assert (objects.exists("a/b"), objects.read("a/b"), list(objects.list("a"))) == (False, None, [])
    objects.create("a/b", b"")
    objects.create("a/c", b"1")
    assert objects.read("a/b") == b""
    assert sorted(objects.list("a")) == ["a/b", "a/c"]
    objects.delete("a/c")
    objects.delete("a/c")
    assert list(objects.list("a")) == ["a/b"]


def test_every_operation_is_tried_again():
    """None reaches the store but by way of the caller's patience."""
    asked = []

    def steadily(what, action):
        asked.append(what.partition(" ")[0])
        return action()

    objects = Objects(MemoryStore(), steadily)
    objects.create("a", b"")
    objects.read("a")
    objects.exists("a")
    objects.list("")
    objects.sync("", "a")
    objects.delete("a")
    assert asked == ["write", "read", "read", "read", "write", "write", "write"]


def test_a_listing_that_fails_is_tried_again():
    """A listing is read to its end within the caller's patience, because later reads wouldn't be tried again."""
    objects = Objects(FailingOnce(), twice)
    assert list(objects.list("")) == ["a"]


def test_commands_that_answer_now_try_once():
    """And say why not."""
    with pytest.raises(TransientError, match="stale"):
        Objects(FailingOnce(), at_once).list("")


class FailingOnce(MemoryStore):
    """A store whose first listing breaks off."""

    def __init__(self):
        super().__init__()
        self.create("a", b"")
        self._fails = True

    def list(self, folder=""):
        yield from super().list(folder)
        if self._fails:
            self._fails = False
            raise TransientError("stale handle")


def twice(what, action):
    del what
    try:
        return action()
    except TransientError:
        return action()
