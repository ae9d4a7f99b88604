"""Columns of vectors, read from a part's pages as they are.

A reader of Parquet decodes two levels for each number of a vector. The lengths of the rows say as much, so here the
numbers of a page are copied in one piece. The pages are those of `worker.parquet.file`: version 1, PLAIN, uncompressed,
without nulls, each with a checksum.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

# Over 150 lines: a reader of one column's pages, from their headers to its vectors.

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.errors import FileFormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

# The numbers of types, fields and values in headers of pages.
_INTEGERS, _STRUCT = (4, 5, 6), 12
_TYPE, _SIZE, _CHECKSUM, _DATA_PAGE, _ENCODING = 1, 3, 4, 5, 2
_IS_DATA_PAGE, _IS_PLAIN = 0, 0
# A header has one structure in it, and its numbers are of 32 bits.
_MOST_NESTED, _LONGEST_NUMBER = 2, 5
#: Most bytes of a page's header; how much of a file is read at once, at least a page.
_LONGEST_HEADER, READ_BYTES = 256, 8 * 2**20
_DAMAGED = "damaged ({}); restore it from a copy"
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
    size, end = count * width * np.dtype(precision).itemsize, chunk.data_page_offset + chunk.total_compressed_size
    if not 0 <= size <= chunk.total_compressed_size:
        raise FileFormatError(_OTHER_NUMBER.format(count, width, precision))
    vectors = np.empty((count, width), precision)
    numbers = vectors.reshape(-1).view(np.uint8).data
    done = 0
    for values in _values_of(file, chunk.data_page_offset, end):
        if done + len(values) > len(numbers):
            break
        numbers[done : done + len(values)] = values
        done += len(values)
    else:
        if done == len(numbers):
            return vectors
    raise FileFormatError(_OTHER_NUMBER.format(count, width, precision))


def _values_of(file: pa.NativeFile, begin: int, end: int) -> Iterator[memoryview]:
    """The bytes of the values of each page between two places in the file."""
    read_bytes = READ_BYTES
    while begin < end:
        file.seek(begin)
        pages = memoryview(file.read_buffer(min(read_bytes, end - begin))).cast("B")  # pyarrow's bytes have signs
        done, is_last = 0, begin + len(pages) >= end
        if not len(pages):
            raise FileFormatError(_DAMAGED.format("it ends within a page"))
        while done < len(pages):
            if not is_last and done + _LONGEST_HEADER > len(pages):
                break
            header, start = _header(pages, done)
            page = pages[start : start + header[_SIZE]]
            if len(page) != header[_SIZE] and not is_last:
                read_bytes = max(read_bytes, header[_SIZE] + _LONGEST_HEADER)
                break
            if len(page) != header[_SIZE] or zlib.crc32(page) != header[_CHECKSUM] & 0xFFFFFFFF:
                raise FileFormatError(_DAMAGED.format("the checksum of a page is wrong"))
            done = start + header[_SIZE]
            # Repetition levels and definition levels, each after its size.
            start = 0
            for _ in range(2):
                start += 4 + int.from_bytes(page[start : start + 4], "little")
            yield page[start:]
        begin += done


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
