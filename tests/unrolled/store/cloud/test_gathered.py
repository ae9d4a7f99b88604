"""The content of an object in memory, before it is sent."""

import errno
import os

import numpy as np
import pyarrow as pa
import pytest

from unrolled.store.cloud import gathered as module
from unrolled.store.cloud.gathered import KEPT_PIECES, PIECE_BYTES, Gathered


@pytest.fixture(autouse=True)
def kept():
    """No memory of other tests."""
    module._kept.clear()
    return module._kept


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
    found = Gathered(writing([memoryview(np.zeros((0, 5), np.float32)), numbers]))
    assert b"".join(found.pieces) == bytes(range(240))


def test_the_writer_may_use_its_own_memory_again():
    """At once: what it has written is copied."""
    source = bytearray(b"first")
    found = Gathered(writing([memoryview(source)]))
    source[:] = b"other"
    assert b"".join(found.pieces) == b"first"


def test_memory_is_used_again_after_a_release(kept):
    """By the next content; once, however often it is released."""
    first = Gathered(writing([b"first"]))
    first.release()
    first.release()
    (memory,) = kept
    second = Gathered(writing([b"other"]))
    assert not kept
    assert bytes(memory[:5]) == b"".join(second.pieces) == b"other"


def test_memory_that_was_abandoned_stays(kept):
    """A request that was given up may still be reading it."""
    content = Gathered(writing([b"first"]))
    content.abandon()
    content.release()
    assert not kept
    assert b"".join(content.pieces) == b"first"


def test_memory_that_is_read_stays(kept):
    """Even if the answer to the request said that all of it had arrived."""
    content = Gathered(writing([bytes(PIECE_BYTES), b"last"]))
    reader = pa.py_buffer(content.pieces[-1])
    content.release()
    assert not kept
    assert reader.to_pybytes() == b"last"


def test_memory_is_kept_only_if_the_system_may_take_it(monkeypatch, kept):
    """Otherwise it would be missing elsewhere."""
    monkeypatch.setattr(module, "_TAKE_IF_SHORT", None)
    Gathered(writing([b"content"])).release()
    assert not kept


def test_little_memory_is_kept(kept):
    """However many objects are created at once."""
    assert kept.maxlen == KEPT_PIECES
    for content in [Gathered(writing([bytes(3 * PIECE_BYTES)])) for _ in range(KEPT_PIECES // 2)]:
        content.release()
    assert len(kept) == KEPT_PIECES


def test_a_writer_that_fails(kept):
    """Its error goes through, and its memory isn't used again."""

    def write(file):
        file.write(b"begun")
        raise KeyError("x")

    with pytest.raises(KeyError):
        Gathered(write)
    assert not kept


def test_a_system_without_memory(monkeypatch):
    """A worker tries a shard again if memory is short, as the same error from elsewhere says."""

    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(module.mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match="has no 8 MiB of memory"):
        Gathered(writing([b"content"]))


def test_bytes_are_not_copied(kept):
    """They can't change."""
    content = b"content"
    found = Gathered(content)
    assert found.pieces[0] is content
    found.release()
    assert not kept
