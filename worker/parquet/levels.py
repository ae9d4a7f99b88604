"""Parquet's levels, which say how a flat sequence of values is divided into rows and lists.

Each value has a repetition level (0: it begins a row, 1: it begins an element of the row's list, 2: it goes on with
that element) and a definition level (the full depth if there is a value, 0 if the row's list is empty or null). Both
are written as stretches of one repeated level or of packed bits.

Source: https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unrolled.tokenization.ragged import offsets_of
from worker.parquet.thrift import varint


class Entries(NamedTuple):
    """The entries of a list column in a page: one for each token, and one for each row without tokens.

    Attributes:
        begins: bool (entries,), True where a row begins.
        empty: bool (entries,), True where the row has no token.
    """

    begins: NDArray[np.bool_]
    empty: NDArray[np.bool_]

    @classmethod
    def of_rows(cls, ends: NDArray[np.int64]) -> "Entries":
        """The entries of whole rows, from the numbers of tokens before each row: int64 (rows + 1,)."""
        counts = np.diff(ends)
        places = offsets_of(np.maximum(counts, 1))
        begins, empty = np.zeros((2, int(places[-1])), np.bool_)
        begins[places[:-1]] = True
        empty[places[:-1]] = counts == 0
        return cls(begins, empty)

    @classmethod
    def of_tokens(cls, tokens: int, *, begins: bool) -> "Entries":
        """The entries of some tokens of one row; `begins` if these are its first ones."""
        entries = cls(*np.zeros((2, tokens), np.bool_))
        entries.begins[0] = begins
        return entries


def token_levels(entries: Entries) -> bytes:
    """Repetition and definition levels, each up to 1, for tokens that are one value each."""
    some_empty = entries.empty.any()
    definition = _packed(~entries.empty) if some_empty else _repeated(1, len(entries.empty))
    return _sized(_packed(~entries.begins)) + _sized(definition)


def row_vector_levels(rows: int, units: int) -> bytes:
    """Repetition and definition levels, each up to 1, for rows that are one vector of `units` values each."""
    return _sized(_vector_repetition(units) * rows) + _sized(_repeated(1, units * rows))


def optional_vector_levels(is_null: NDArray[np.bool_], units: int) -> bytes:
    """Levels for rows that are one vector of `units` values each, or null: repetition up to 1, definition up to 2.

    Args:
        is_null: bool (rows,).
        units: values in a vector.
    """
    if not is_null.any():
        return _sized(_vector_repetition(units) * len(is_null)) + _sized(_repeated(2, units * len(is_null)))
    null, row, defined = _repeated(0, 1), _vector_repetition(units), _repeated(2, units)
    repetition = b"".join(null if missing else row for missing in is_null.tolist())
    definition = b"".join(null if missing else defined for missing in is_null.tolist())
    return _sized(repetition) + _sized(definition)


def _vector_repetition(units: int) -> bytes:
    # One stretch for a vector's first value and one for its other values: every row has the same few bytes.
    return _repeated(0, 1) + (_repeated(1, units - 1) if units > 1 else b"")


def vector_levels(entries: Entries, units: int) -> bytes:
    """Repetition and definition levels, each up to 2, for tokens that are one vector of `units` values each."""
    # One stretch for a vector's first value and one for its other values: every token has the same few bytes.
    token = _repeated(1, 1) + (_repeated(2, units - 1) if units > 1 else b"")
    repetition = np.tile(np.frombuffer(token, np.uint8), (len(entries.empty), 1))
    repetition[entries.begins, 1] = 0
    defined = _repeated(2, units)
    if entries.empty.any():
        definition = np.tile(np.frombuffer(defined, np.uint8), (len(entries.empty), 1))
        # A row without tokens is a single level 0: the first two bytes of either pattern, without the rest.
        definition[entries.empty, :2] = np.frombuffer(_repeated(0, 1), np.uint8)
        kept = ~entries.empty[:, None]
        in_repetition = kept | (np.arange(len(token)) < len(_repeated(0, 1)))
        in_definition = kept | (np.arange(len(defined)) < len(_repeated(0, 1)))
        return _sized(repetition[in_repetition].tobytes()) + _sized(definition[in_definition].tobytes())
    return _sized(repetition.tobytes()) + _sized(_repeated(2, units * len(entries.empty)))


def _repeated(level: int, count: int) -> bytes:
    return varint(count << 1) + bytes([level])


def _packed(bits: NDArray[np.bool_]) -> bytes:
    packed = np.packbits(bits, bitorder="little").tobytes()
    return varint(len(packed) << 1 | 1) + packed


def _sized(levels: bytes) -> bytes:
    return len(levels).to_bytes(4, "little") + levels
