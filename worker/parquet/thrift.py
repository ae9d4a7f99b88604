"""The part of Thrift's compact protocol that writes Parquet's headers and footer.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

_I16, _I32, _I64, _BINARY, _LIST, _STRUCT = 4, 5, 6, 8, 9, 12
_SHORT = 15  # steps between fields, and list sizes, that fit into the byte of the type


class Value(NamedTuple):
    """An encoded value.

    Attributes:
        kind: the protocol's number of its type.
        data: its bytes.
    """

    kind: int
    data: bytes


def varint(number: int) -> bytes:
    """A number from 0 up, with seven bits in each byte, the lowest first (ULEB128)."""
    data = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def i16(number: int) -> Value:
    """A 16-bit integer."""
    return Value(_I16, _zigzag(number))


def i32(number: int) -> Value:
    """A 32-bit integer, or a value of an enumeration."""
    return Value(_I32, _zigzag(number))


def i64(number: int) -> Value:
    """A 64-bit integer."""
    return Value(_I64, _zigzag(number))


def binary(content: str | bytes) -> Value:
    """Bytes, or a text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    return Value(_BINARY, varint(len(data)) + data)


def struct(fields: Mapping[int, Value]) -> Value:
    """A structure of fields, numbered from 1 on and given in ascending order."""
    encoded: list[bytes] = []
    last = 0
    for number, value in fields.items():
        if number - last > _SHORT:
            raise ValueError(f"field {number} is more than {_SHORT} after {last}")
        encoded += [bytes([(number - last) << 4 | value.kind]), value.data]
        last = number
    return Value(_STRUCT, b"".join((*encoded, b"\0")))


def sequence(values: Sequence[Value]) -> Value:
    """A list of values of one type; an empty list has the type of structures."""
    kind, size = values[0].kind if values else _STRUCT, len(values)
    head = bytes([size << 4 | kind]) if size < _SHORT else bytes([0xF0 | kind]) + varint(size)
    return Value(_LIST, head + b"".join(value.data for value in values))
