"""An object that is read by ranges, as a binary file."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import TransientError
from unrolled.store.object_file import ObjectFile

CONTENT = bytes(range(100))


def opened(tail=0, fetched=None):
    def fetch(start, stop):
        if fetched is not None:
            fetched.append((start, stop))
        return CONTENT[start:stop]

    return ObjectFile(len(CONTENT), fetch, CONTENT[len(CONTENT) - tail :])


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(-1, 120))), st.integers(0, 100))
def test_it_reads_as_a_file_in_memory_does(reads, tail):
    """Whatever is read from wherever, with any part of its end at hand."""
    file, expected = opened(tail), io.BytesIO(CONTENT)
    for position, size in reads:
        assert file.seek(position) == expected.seek(position)
        assert file.read(size) == expected.read(size)
        assert file.tell() == expected.tell()


def test_what_is_at_hand_is_not_fetched():
    """What begins before it is fetched as one range."""
    fetched = []
    file = opened(tail=20, fetched=fetched)
    file.seek(80)
    assert file.read() == CONTENT[80:]
    assert fetched == []
    file.seek(70)
    assert file.read(20) == CONTENT[70:90]
    assert fetched == [(70, 90)]


def test_a_buffer_turns_small_reads_into_large_ones():
    """As for any raw file."""
    fetched = []
    with io.BufferedReader(opened(fetched=fetched), 50) as file:
        assert b"".join(iter(lambda: file.read(7), b"")) == CONTENT
    assert fetched == [(0, 50), (50, 100)]


def test_positions_before_the_beginning_are_refused():
    """As by any file; so is a file that is closed."""
    file = opened()
    with pytest.raises(ValueError, match="before the beginning"):
        file.seek(-101, io.SEEK_END)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


@pytest.mark.parametrize("answer", [None, b"short"])
def test_less_than_was_asked_for_is_an_error(answer):
    """It must not be taken for the end of the file."""
    with pytest.raises(TransientError, match=r"bytes 0 to 10 were asked for, and the object (is gone|gave 5 bytes)"):
        ObjectFile(100, lambda *_: answer).read(10)
