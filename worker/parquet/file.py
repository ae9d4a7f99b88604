"""Writes the pages, column chunks, row groups and footer of a Parquet file.

Every page is a version 1 data page, PLAIN, uncompressed, with a checksum. It is one file because
the numbers of all structures come from one specification:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

# Over 150 lines: a file from its first byte to its footer.

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unrolled.errors import PayloadError
from worker.parquet.thrift import Value, binary, i16, i32, i64, sequence, struct

_MAGIC = b"PAR1"
_LARGEST_PAGE = 2**31 - 1
_DATA_PAGE, _UNCOMPRESSED, _PLAIN, _RLE = 0, 0, 0, 3
_REQUIRED, _OPTIONAL, _REPEATED = 0, 1, 2
_CONVERTED_STRING, _CONVERTED_LIST = 0, 3
_LOGICAL_STRING, _LOGICAL_LIST, _LOGICAL_FLOAT16 = 1, 3, 15
_TYPES = {pa.bool_(): 0, pa.int32(): 1, pa.float32(): 4, pa.string(): 6, pa.float16(): 7}
#: Parquet stores a float16 as an array of two bytes, little-endian.
_FLOAT16_BYTES = 2


class Page(NamedTuple):
    """Some values of a column, in the format's own bytes.

    Attributes:
        entries: number of values; an empty list, or a null in place of one, counts as one.
        levels: repetition and definition levels; empty for a column without lists.
        values: the values, end to end; C-contiguous.
    """

    entries: int
    levels: bytes
    values: NDArray[Any]


class Chunk(NamedTuple):
    """The values of one column in a row group.

    Attributes:
        pages: at least one; each is made just before it is written.
        bounds: the least and the greatest value as PLAIN bytes, by which readers may skip the row group.
    """

    pages: Iterable[Page]
    bounds: tuple[bytes, bytes] | None = None


class _Leaf(NamedTuple):
    """A column of the file: its path in the schema, and its physical type."""

    path: tuple[str, ...]
    kind: int


class Writer:
    """Writes one file.

    Args:
        file: the file; binary, open for writing, at its beginning.
        schema: fields of strings, booleans, int32, float32, float16 and lists of these; only lists can be null.
        created_by: the program and its version.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema, created_by: str) -> None:
        self._file = file
        self._schema = schema
        self._created_by = created_by
        self._position = 0
        self._rows = 0
        self._row_groups: list[Value] = []
        self._leaves: list[_Leaf] = []
        # The root comes first, and every field before the fields in it.
        root = struct({3: i32(_REQUIRED), 4: binary("schema"), 5: i32(len(schema))})
        self._elements = [root, *(element for field in schema for element in self._describe(field, ()))]
        self._write(_MAGIC)

    def _describe(self, field: pa.Field, above: tuple[str, ...]) -> Iterator[Value]:
        path = (*above, field.name)
        name, required = binary(field.name), i32(_REQUIRED)
        if not (pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type)):
            self._leaves.append(_Leaf(path, _TYPES[field.type]))
            fields = {1: i32(_TYPES[field.type])}
            if field.type == pa.float16():
                fields |= {2: i32(_FLOAT16_BYTES)}
            fields |= {3: required, 4: name}
            if field.type == pa.float16():
                fields |= {10: struct({_LOGICAL_FLOAT16: struct({})})}
            if field.type == pa.string():
                fields |= {6: i32(_CONVERTED_STRING), 10: struct({_LOGICAL_STRING: struct({})})}
            yield struct(fields)
            return
        logical = struct({_LOGICAL_LIST: struct({})})
        repetition = i32(_OPTIONAL if field.nullable else _REQUIRED)
        yield struct({3: repetition, 4: name, 5: i32(1), 6: i32(_CONVERTED_LIST), 10: logical})
        yield struct({3: i32(_REPEATED), 4: binary("list"), 5: i32(1)})
        yield from self._describe(field.type.value_field, (*path, "list"))

    def write_row_group(self, rows: int, chunks: Sequence[Chunk]) -> None:
        """Write rows: a chunk for each column of the schema, in the schema's order.

        Raises:
            PayloadError: a page would reach 2 GiB, and the format stores its size in 31 bits.
            OSError: the file can't be written.
        """
        begin = self._position
        columns = [self._write_chunk(leaf, chunk) for leaf, chunk in zip(self._leaves, chunks, strict=True)]
        size = i64(self._position - begin)
        fields = {1: sequence(columns), 2: size, 3: i64(rows), 5: i64(begin), 6: size}
        self._row_groups.append(struct(fields | {7: i16(len(self._row_groups))}))
        self._rows += rows

    def _write_chunk(self, leaf: _Leaf, chunk: Chunk) -> Value:
        begin, entries = self._position, 0
        for page in chunk.pages:
            self._write_page(page)
            entries += page.entries
        size = i64(self._position - begin)
        metadata = {
            1: i32(leaf.kind),
            2: sequence([i32(_PLAIN), i32(_RLE)]),
            3: sequence([binary(name) for name in leaf.path]),
            4: i32(_UNCOMPRESSED),
            5: i64(entries),
            6: size,
            7: size,
            9: i64(begin),
        }
        if chunk.bounds:
            least, greatest = map(binary, chunk.bounds)
            metadata[12] = struct({3: i64(0), 5: greatest, 6: least})
        return struct({2: i64(0), 3: struct(metadata)})

    def _write_page(self, page: Page) -> None:
        values = page.values.reshape(-1).view(np.uint8)
        size = len(page.levels) + len(values)
        if size > _LARGEST_PAGE:
            raise PayloadError(f"a page of {size} bytes; a Parquet file's page holds at most {_LARGEST_PAGE}")
        checksum = zlib.crc32(values.data, zlib.crc32(page.levels))
        signed = checksum - (1 << 32) if checksum >> 31 else checksum
        data_page = struct({1: i32(page.entries), 2: i32(_PLAIN), 3: i32(_RLE), 4: i32(_RLE)})
        header = struct({1: i32(_DATA_PAGE), 2: i32(size), 3: i32(size), 4: i32(signed), 5: data_page})
        self._write(header.data + page.levels)
        self._write(values.data)

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the footer, which completes the file.

        Args:
            metadata: key-value pairs that describe the file.
        """
        # Parquet has no lists of a fixed size. Arrow's readers find them in Arrow's schema in the metadata.
        arrow = base64.b64encode(self._schema.serialize())
        pairs = [struct({1: binary("ARROW:schema"), 2: binary(arrow)})]
        pairs += [struct({1: binary(key), 2: binary(value)}) for key, value in metadata.items()]
        fields = {1: i32(2), 2: sequence(self._elements), 3: i64(self._rows)}
        fields[4] = sequence(self._row_groups)
        fields |= {5: sequence(pairs), 6: binary(self._created_by)}
        # Readers use bounds only if the file says that they have the type's own order.
        fields[7] = sequence([struct({1: struct({})})] * len(self._leaves))
        footer = struct(fields).data
        self._write(footer + len(footer).to_bytes(4, "little") + _MAGIC)

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._position += len(data)
