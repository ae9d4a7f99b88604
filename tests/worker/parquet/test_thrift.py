"""Thrift's compact protocol, against the examples of its specification."""

import pytest

from worker.parquet.thrift import binary, i16, i32, i64, sequence, struct, varint


@pytest.mark.parametrize(("number", "data"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (50399, "df8903")])
def test_varint(number, data):
    """A number has seven bits in each byte, the lowest first."""
    assert varint(number).hex() == data


@pytest.mark.parametrize(
    ("number", "data"),
    [(0, "00"), (-1, "01"), (1, "02"), (-2, "03"), (2**31 - 1, "feffffff0f"), (-(2**31), "ffffffff0f")],
)
def test_signed_numbers_zigzag(number, data):
    """Small numbers of either sign are short."""
    assert i32(number).data.hex() == data
    assert i64(number).data == i16(number).data == i32(number).data


def test_binary():
    """A text is UTF-8; the bytes follow their length."""
    assert binary("Åb").data == b"\x03\xc3\x85b"
    assert binary(b"\0").data == b"\x01\0"


def test_struct():
    """The type and the step from the last field's number share a byte; a zero ends the structure."""
    fields = {1: i32(1), 3: binary("a"), 4: struct({}), 19: i64(0)}
    assert struct(fields).data.hex() == "1502" + "280161" + "1c00" + "f600" + "00"
    with pytest.raises(ValueError, match="field 16"):
        struct({16: i32(0)})


def test_lists():
    """The number of values shares a byte with their type up to fourteen, and follows it from fifteen on."""
    assert sequence([i32(1), i32(2)]).data.hex() == "250204"
    assert sequence([i64(0)] * 15).data.hex() == "f60f" + "00" * 15
    assert sequence([]).data.hex() == "0c"
