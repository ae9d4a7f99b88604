"""Parquet's levels, against their definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.parquet.levels import Entries, row_vector_levels, token_levels, vector_levels

counts = st.lists(st.integers(0, 9), min_size=1, max_size=9)


def decoded(data, bits, number):
    """The two sequences of levels at the beginning of a page, each with `number` levels."""
    streams = []
    for _ in range(2):
        size = int.from_bytes(data[:4], "little")
        streams.append(runs(data[4 : 4 + size], bits)[:number])
        data = data[4 + size :]
    assert data == b""
    return streams


def runs(data, bits):
    """The levels in Parquet's hybrid of repeated and bit-packed levels, padding included."""
    levels, place = [], 0
    while place < len(data):
        header = shift = 0
        while True:
            byte = data[place]
            place += 1
            header |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if header & 1:
            packed = int.from_bytes(data[place : place + (header >> 1) * bits], "little")
            count = (header >> 1) * 8
            levels += [packed >> bits * number & (1 << bits) - 1 for number in range(count)]
            place += (header >> 1) * bits
        else:
            levels += [data[place]] * (header >> 1)
            place += 1
    return levels


def entries_of(rows):
    return Entries.of_rows(np.cumsum([0, *rows], dtype=np.int64))


@given(counts)
def test_token_levels(rows):
    """A row's first token begins it; an empty row is one entry that is not defined."""
    repetition, definition = [], []
    for count in rows:
        repetition += [0, *[1] * (count - 1)]
        definition += [1] * count or [0]
    assert decoded(token_levels(entries_of(rows)), 1, len(repetition)) == [repetition, definition]


@given(counts, st.sampled_from([1, 2, 3, 63, 64, 65, 300]))
def test_vector_levels(rows, units):
    """A row's first value begins it, a vector's first value the vector; an empty row is not defined."""
    repetition, definition = [], []
    for count in rows:
        for token in range(count):
            repetition += [1 if token else 0, *[2] * (units - 1)]
        repetition += [] if count else [0]
        definition += [2] * count * units or [0]
    assert decoded(vector_levels(entries_of(rows), units), 2, len(repetition)) == [repetition, definition]


@given(st.integers(1, 9), st.sampled_from([1, 2, 3, 63, 64, 65, 300]))
def test_row_vector_levels(rows, units):
    """A vector's first value begins its row, and no row is empty."""
    levels = decoded(row_vector_levels(rows, units), 1, rows * units)
    assert levels == [[0, *[1] * (units - 1)] * rows, [1] * units * rows]


@given(st.integers(1, 20), st.booleans())
def test_part_of_a_row(tokens, begins):
    """Only the first tokens of a row begin it."""
    first = 0 if begins else 1
    entries = Entries.of_tokens(tokens, begins=begins)
    levels = decoded(vector_levels(entries, 2), 2, 2 * tokens)
    assert levels == [[first, 2, *[1, 2] * (tokens - 1)], [2] * 2 * tokens]
