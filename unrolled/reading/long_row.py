"""The vectors of a row that has a row group to itself, read a page at a time: no copy of them is made.

pyarrow decodes a column of lists into levels and copies, which take several times the size of the row. In a file of
this product, the values of a page are plain and follow the page's levels, so those of one row are read into one array.

Source: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

# Over 150 lines: a reader of one column of one row, from its page headers to its array.

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from unrolled.errors import FileFormatError

if TYPE_CHECKING:
    from typing import Any, BinaryIO

    import pyarrow.parquet as pq
    from numpy.typing import NDArray

#: Row groups of one row that are smaller are left to pyarrow.
LONG_BYTES = 16 << 20
#: Longest header of a page, and how much is read ahead.
_HEADER_BYTES, _BUFFER_BYTES = 256, 4 << 20
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)
_INTEGERS = (_I16, _I32, _I64)
_WIDE = {"halffloat": 2, "float": 4}


class _Page(NamedTuple):
    """The header of a page.

    Attributes:
        bytes: of the header itself.
        size: bytes of the page's levels and values.
        crc: its checksum.
        values: the number of its values.
        is_plain: whether it is a data page of version 1 with plain values.
    """

    bytes: int
    size: int
    crc: int
    values: int
    is_plain: bool


def is_long(group: pq.RowGroupMetaData) -> bool:
    """Whether a row group has one row, whose vectors are too many for pyarrow's way of reading them."""
    return bool(group.num_rows == 1 and group.total_byte_size > LONG_BYTES)


def read_vectors(file: BinaryIO, column: pq.ColumnChunkMetaData, field: pa.Field, length: int) -> pa.ListArray | None:
    """The vectors of all tokens of a row.

    Args:
        file: the part, open for reading.
        column: the column, in a row group with one row.
        field: its type: a list of lists of a fixed size.
        length: tokens of the row.

    Returns:
        An array of one list; None if another program has written the column in another way.

    Raises:
        FileFormatError: a page is damaged.
    """
    vector = field.type.value_type
    width, wide = vector.list_size, _WIDE[str(vector.value_type)]
    size = length * width * wide
    is_ours = column.compression == "UNCOMPRESSED" and column.num_values == length * width
    if not length or not is_ours or column.total_compressed_size < size:
        return None
    values = np.empty(size, np.uint8)
    reader = io.BufferedReader(file, _BUFFER_BYTES)  # type: ignore[type-var]  # in a bucket, each read is a request
    try:
        if not _fill(values, reader, column.data_page_offset, wide):
            return None
    finally:
        reader.detach()
    flat = pa.Array.from_buffers(vector.value_type, length * width, [None, pa.py_buffer(values)])
    lists = pa.Array.from_buffers(vector, length, [None], children=[flat])
    offsets = pa.py_buffer(np.array([0, length], np.int32))
    return pa.Array.from_buffers(field.type, 1, [None, offsets], children=[lists])


def _fill(values: NDArray[np.uint8], reader: io.BufferedReader[Any], at: int, wide: int) -> bool:
    """Read the values of all pages from a place in the file on; False if a page is of another form than ours."""
    filled = 0
    while filled < len(values):
        reader.seek(at)
        page = _read_header(reader.read(_HEADER_BYTES))
        count = page.values * wide if page else 0
        if page is None or not page.is_plain or not 0 < count <= min(page.size, len(values) - filled):
            return False
        into = values.data[filled : filled + count]
        reader.seek(at + page.bytes)
        levels = reader.read(page.size - count)
        if len(levels) != page.size - count or reader.readinto(into) != count:
            raise FileFormatError("ends within a row; restore it from a copy")
        if zlib.crc32(into, zlib.crc32(levels)) != page.crc:
            raise FileFormatError("a page isn't what its checksum says; restore it from a copy")
        filled += count
        at += page.bytes + page.size
    return True


def _read_header(data: bytes) -> _Page | None:
    """The header at the beginning of some bytes; None if this reader doesn't know its form."""
    try:
        fields, end = _read_struct(data, 0)
        data_page = fields.get(5)
        if not isinstance(data_page, dict):
            return None
        kind, size, packed, crc = (_number(fields[field]) for field in (1, 2, 3, 4))
        values, encoding = (_number(data_page[field]) for field in (1, 2))
        return _Page(end, size, crc & 0xFFFFFFFF, values, kind == 0 and size == packed and encoding == 0)
    except (IndexError, KeyError):
        return None


def _number(field: int | _Fields) -> int:
    if isinstance(field, int):
        return field
    raise KeyError("a structure in place of a number")


_Fields = dict[int, "int | _Fields"]


def _read_struct(data: bytes, at: int) -> tuple[_Fields, int]:
    """The numbered fields of a structure in Thrift's compact protocol, and where it ends."""
    fields: _Fields = {}
    number = 0
    while (head := data[at]) & 15 != _STOP:
        at += 1
        if not head >> 4:
            raise KeyError("a field number in the long form, which no page header needs")
        number += head >> 4
        kind = head & 15
        if kind in _INTEGERS:
            raw, at = _read_varint(data, at)
            fields[number] = raw >> 1 ^ -(raw & 1)
        elif kind == _STRUCT:
            fields[number], at = _read_struct(data, at)
        else:
            raise KeyError("a kind of field that this writer's headers don't have")
    return fields, at + 1


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
            return number, at
        shift += 7
