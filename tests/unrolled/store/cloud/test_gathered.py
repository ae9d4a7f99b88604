"""The content of an object in memory, before it is sent."""

import os
from collections import deque

import numpy as np
import pytest

from unrolled.store.cloud import gathered as module
from unrolled.store.cloud.gathered import KEPT_PIECES, PIECE_BYTES, Gathered


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """No memory of other tests."""
    empty = deque(maxlen=KEPT_PIECES)
    monkeypatch.setattr(module, "_kept", empty)
    return empty


def writing(pieces):
    """A writer of these, each of which is taken whole."""

    def write(file):
        assert [file.write(piece) for piece in pieces] == [memoryview(piece).nbytes for piece in pieces]

    return write


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [PIECE_BYTES],
        [PIECE_BYTES - 1, 2, PIECE_BYTES],
        [0, 4096, 2 * PIECE_BYTES + 5, 0, 1],
        [1000] * 3000,
    ],
)
@pytest.mark.parametrize("advice", [None, -1, "own"], ids=["no advice", "unknown advice", "advice"])
def test_the_content_is_what_was_written(monkeypatch, sizes, advice):
    """In order and whole, wherever the pieces end, in new memory and in used one, whatever the system knows."""
    if advice != "own":
        monkeypatch.setattr(module, "_LARGE_PAGES", advice)
        monkeypatch.setattr(module, "_TAKE_IF_SHORT", advice)
    for _ in range(2):
        written = [os.urandom(size) for size in sizes]
        found = Gathered(writing(written))
        assert len(found) == sum(sizes)
        assert b"".join(found.pieces) == b"".join(written)
        found.release()


def test_any_buffer_is_taken():
    """Numbers are written as the bytes that they are."""
    numbers = memoryview(bytes(range(240))).cast("I", (6, 10))
    found = Gathered(writing([memoryview(np.zeros(0, np.float32)), numbers]))
    assert b"".join(found.pieces) == bytes(range(240))


def test_the_writer_may_use_its_own_memory_again():
    """At once: what it has written is copied."""
    source = bytearray(b"first")
    found = Gathered(writing([memoryview(source)]))
    source[:] = b"other"
    assert b"".join(found.pieces) == b"first"


@pytest.mark.parametrize(("end", "stays"), [(Gathered.release, False), (Gathered.abandon, True)])
def test_memory_is_used_again_only_after_a_release(end, stays):
    """A request that was given up may still be reading the first content."""
    first = Gathered(writing([b"first"]))
    end(first)
    first.release()
    second = Gathered(writing([b"other"]))
    assert b"".join(second.pieces) == b"other"
    assert b"".join(first.pieces) == (b"first" if stays else b"other")


def test_little_memory_is_kept(kept):
    """However many objects are created at once."""
    for content in [Gathered(writing([bytes(3 * PIECE_BYTES)])) for _ in range(KEPT_PIECES)]:
        content.release()
    assert len(kept) == KEPT_PIECES


def test_bytes_are_not_copied(kept):
    """They can't change."""
    content = b"content"
    found = Gathered(content)
    assert found.pieces[0] is content
    found.release()
    assert not kept
