"""Columns of vectors, read from a part's pages as they are.

A reader of Parquet decodes two levels for each number of a vector. The lengths of the rows say as much, so here the
numbers of a page are read in one piece. The pages are those of `worker.parquet.file`: version 1, PLAIN, uncompressed,
without nulls, each with a checksum.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

# Over 150 lines: a reader of one column's pages, from their headers to its vectors.

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from unrolled.errors import FileFormatError

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

# The numbers of types, fields and values in headers of pages.
_INTEGERS, _STRUCT = (4, 5, 6), 12
_TYPE, _SIZE, _CHECKSUM, _DATA_PAGE, _ENCODING = 1, 3, 4, 5, 2
_IS_DATA_PAGE, _IS_PLAIN = 0, 0
# A header has one structure in it, and its numbers are of 32 bits.
_MOST_NESTED, _LONGEST_NUMBER = 2, 5
#: Most bytes of a page's header; how much of a file is read at once, and from a disk before a page's values.
_LONGEST_HEADER, READ_BYTES, _BEGINNING_BYTES = 256, 8 * 2**20, 2**15
_DAMAGED = "damaged ({}); restore it from a copy"
_SHORT = _DAMAGED.format("it ends within a page")
_OTHER_NUMBER = _DAMAGED.format("its pages don't have the {} vectors of {} {} that its rows need")


def is_plain(created_by: str, chunk: pq.ColumnChunkMetaData) -> bool:
    """Whether `read_vectors` reads a column chunk, if it has no nulls: ours, and not rewritten by another program."""
    return (
        created_by.startswith("unrolled format ")
        and chunk.compression == "UNCOMPRESSED"
        and set(chunk.encodings) == {"PLAIN", "RLE"}
        and not chunk.has_dictionary_page
    )


def read_vectors(
    file: pa.NativeFile, chunk: pq.ColumnChunkMetaData, count: int, width: int, precision: str
) -> NDArray[Any]:
    """The vectors of a column chunk.

    Args:
        file: the part.
        chunk: where its pages are.
        count: the number of vectors.
        width: numbers in a vector.
        precision: "float32" or "float16".

    Returns:
        (count, width). Beside it, no more than some pages are in memory.

    Raises:
        FileFormatError: a page is damaged, or the pages have another number of vectors.
    """
    # Over 40 lines: a page, from its header to its place, is one step.
    size, begin = count * width * np.dtype(precision).itemsize, chunk.data_page_offset
    end = begin + chunk.total_compressed_size
    if not 0 <= size <= chunk.total_compressed_size:
        raise FileFormatError(_OTHER_NUMBER.format(count, width, precision))
    vectors = np.empty((count, width), precision)
    numbers = vectors.reshape(-1).view(np.uint8).data
    window, done = _Window(file, end), 0
    while begin < end:
        header, start = _header(window.at(begin, _LONGEST_HEADER), 0)
        stop = start + header[_SIZE]
        values = _end_of_levels(window, begin, start, stop)
        if done + stop - values > len(numbers):
            break
        target = numbers[done : done + stop - values]
        page = window.at(begin, values)[:stop]
        there = len(page) - values
        target[:there] = page[values:]
        window.read_into(begin + len(page), target[there:])
        if zlib.crc32(target, zlib.crc32(page[start:values])) != header[_CHECKSUM] & 0xFFFFFFFF:
            raise FileFormatError(_DAMAGED.format("the checksum of a page is wrong"))
        done, begin = done + len(target), begin + stop
    else:
        if done == len(numbers):
            return vectors
    raise FileFormatError(_OTHER_NUMBER.format(count, width, precision))


class _Window:
    """Some bytes of a file, read ahead.

    Args:
        file: the file.
        end: where the pages in it end.
    """

    def __init__(self, file: pa.NativeFile, end: int) -> None:
        self._file, self._end = file, end
        # A range of a bucket takes as long to ask for as megabytes take to arrive. On a disk, only the beginning of a
        # page is read here, and its values are read to where they belong.
        self._least = min(READ_BYTES, _BEGINNING_BYTES) if isinstance(file, pa.OSFile) else READ_BYTES
        self._begin, self._data = 0, memoryview(b"")

    def has(self, end: int) -> bool:
        """Whether the pages reach as far as a place."""
        return end <= self._end

    def at(self, begin: int, count: int) -> memoryview:
        """The bytes from a place on: at least `count`, unless the pages end before."""
        count = min(count, self._end - begin)
        if not self._begin <= begin <= begin + count <= self._begin + len(self._data):
            self._file.seek(begin)
            read = self._file.read_buffer(min(max(count, self._least), self._end - begin))
            self._begin, self._data = begin, memoryview(read).cast("B")  # pyarrow's bytes have signs
            if len(self._data) < count:
                raise FileFormatError(_SHORT)
        return self._data[begin - self._begin :]

    def read_into(self, begin: int, target: memoryview) -> None:
        """Fill memory with the bytes from a place on."""
        if len(target):
            self._file.seek(begin)
            if self._file.readinto(target) != len(target):
                raise FileFormatError(_SHORT)


def _end_of_levels(window: _Window, begin: int, start: int, stop: int) -> int:
    """Where a page's values begin, counted from the beginning of its header.

    Args:
        window: of the file.
        begin: where the header is.
        start: where the header ends, counted from its beginning.
        stop: where the page ends, counted from the beginning of its header.
    """
    for _ in range(2):  # repetition levels and definition levels, each after its size
        start += 4
        if start <= stop:
            start += int.from_bytes(window.at(begin, start)[start - 4 : start], "little")
    if start > stop or not window.has(begin + stop):
        raise FileFormatError(_SHORT)
    return start


def _header(data: memoryview, at: int) -> tuple[dict[int, Any], int]:
    """A page's header, and where it ends."""
    try:
        fields, end = _structure(data, at, 0)
        kinds = (fields[_TYPE], fields[_DATA_PAGE][_ENCODING])
        if kinds == (_IS_DATA_PAGE, _IS_PLAIN) and _CHECKSUM in fields and fields[_SIZE] >= 0:
            return fields, end
    except (IndexError, KeyError, TypeError, ValueError):
        pass
    raise FileFormatError(_DAMAGED.format("the header of a page can't be read"))


def _structure(data: memoryview, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a structure by number, and where it ends; fields are integers and structures alone.

    Raises:
        ValueError: there is something else in it.
        IndexError: the data ends in it.
    """
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        step, kind = head >> 4, head & 15
        number += step
        if kind in _INTEGERS:
            fields[number], at = _integer(data, at + 1)
        elif kind == _STRUCT and depth < _MOST_NESTED:
            fields[number], at = _structure(data, at + 1, depth + 1)
        else:
            raise ValueError(f"a field of type {kind}")
    return fields, at + 1


def _integer(data: memoryview, at: int) -> tuple[int, int]:
    """A number in zigzag form, and where it ends."""
    found = 0
    for place in range(_LONGEST_NUMBER):
        byte = data[at + place]
        found |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that the number goes on
            return found >> 1 ^ -(found & 1), at + place + 1
    raise ValueError("a number of more than 32 bits")
