"""Payloads: what goes in comes out, and nothing else gets through."""

import io
import struct
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import PayloadError
from unrolled.job import payload
from unrolled.job.payload import HEADER_BYTES, Payload
from unrolled.ragged import Ragged

HOSTILE = Path(__file__).parents[2] / "hostile" / "payloads"

IDS = st.text(max_size=12)
TOKENS = st.one_of(st.integers(0, 3), st.integers(2**16 - 2, 2**16 + 1), st.integers(0, 2**31 - 1))
ROWS = st.lists(st.tuples(IDS, st.lists(TOKENS, max_size=6)), max_size=10)


def payload_of(rows):
    tokens = [row for _, row in rows]
    offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    values = np.array([token for row in tokens for token in row], np.int32)
    return Payload(pa.array([row_id for row_id, _ in rows], pa.string()), Ragged(values, offsets))


def rows_of(found):
    values, offsets = found.tokens
    rows = [values[a:b].tolist() for a, b in pairwise(offsets)]
    return list(zip(found.ids.to_pylist(), rows, strict=True))


def read(blob):
    return payload.read(io.BytesIO(blob), len(blob))


def forged(rows=0, tokens=0, id_bytes=0, body=b"", *, width=2, version=1):
    """A payload with a right digest, whatever its header claims."""
    header = struct.pack("<8sHHIQQ32s", b"UNROLLED", version, width, rows, tokens, id_bytes, b"")
    return header[: payload._HASHED] + payload._digest(header, body) + body


@settings(deadline=None)
@given(ROWS)
def test_round_trip(rows):
    """Any ids and any ragged tokens come back as they went in, as int32 and int64."""
    found = read(payload.encode(payload_of(rows)))
    assert rows_of(found) == rows
    assert found.tokens.values.dtype == np.int32
    assert found.tokens.offsets.dtype == np.int64
    found.ids.validate(full=True)


@settings(deadline=None)
@given(st.lists(IDS))
def test_strings_are_those_of_pyarrow(ids):
    """Texts become the array that pyarrow makes of them."""
    assert payload.strings(ids).equals(pa.array(ids, pa.string()))


@settings(deadline=None)
@given(ROWS, st.data())
def test_bytes_depend_on_rows_alone(rows, data):
    """A slice of a larger array gives the same bytes as the rows alone; so do chunks put together."""
    before = data.draw(st.lists(st.tuples(IDS, st.just([])), max_size=3))
    after = data.draw(st.lists(st.tuples(IDS, st.just([])), max_size=3))
    whole = payload_of([*before, *rows, *after]).ids
    tokens = payload_of(rows).tokens
    sliced = Payload(whole.slice(len(before), len(rows)), tokens)
    assert payload.encode(sliced) == payload.encode(payload_of(rows))


def test_offsets_that_begin_late():
    """An id array whose first offset isn't 0, as files may give, encodes like any other."""
    offsets = pa.py_buffer(np.array([3, 4, 6], np.int32))
    ids = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"xyzabc-"))
    found = read(payload.encode(Payload(ids, payload_of([("", [1]), ("", [])]).tokens)))
    assert rows_of(found) == [("a", [1]), ("bc", [])]


@pytest.mark.parametrize(("largest", "width"), [(0, 2), (2**16 - 1, 2), (2**16, 4), (2**31 - 1, 4)])
def test_width(largest, width):
    """Token ids take two bytes where all of them fit, four otherwise."""
    blob = payload.encode(payload_of([("a", [0, largest])]))
    assert len(blob) == HEADER_BYTES + 8 + 1 + 2 * width
    assert rows_of(read(blob)) == [("a", [0, largest])]


def test_exact_bytes():
    """The format is what the module says: these bytes, in this order."""
    blob = payload.encode(payload_of([("é", [7, 0]), ("", [])]))
    assert blob[:32] == b"UNROLLED" + struct.pack("<HHIQQ", 1, 2, 2, 2, 2)
    assert blob[64:] == struct.pack("<2I2I", 2, 0, 2, 0) + "é".encode() + struct.pack("<2H", 7, 0)
    assert payload.content_hash(blob) == blob[32:38].hex()


def test_negative_tokens():
    """A negative token id is refused, where it would come back as another one."""
    with pytest.raises(PayloadError, match="token id -1 is negative"):
        payload.encode(payload_of([("a", [-1])]))


@pytest.mark.parametrize("rows", [[], [("", [])], [("é", [1, 2, 0]), ("b", [70_000])]])
def test_every_mutation_is_refused(rows):
    """Whichever single byte is changed, and wherever the file is cut or goes on, it is a PayloadError."""
    blob = payload.encode(payload_of(rows))
    for place in range(len(blob)):
        for change in (1, 2, 6, 0x80, 0xFF):
            damaged = bytearray(blob)
            damaged[place] ^= change
            with pytest.raises(PayloadError):
                read(bytes(damaged))
    for size in range(len(blob)):
        with pytest.raises(PayloadError):
            read(blob[:size])
    with pytest.raises(PayloadError):
        read(blob + b"\0")
    with pytest.raises(PayloadError):  # the file shrank after its size was taken
        payload.read(io.BytesIO(blob[:-1]), len(blob))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.data())
def test_any_bytes(noise, is_forged, data):
    """Whatever a file holds, even under a header and a digest that fit, it gives rows or a PayloadError."""
    if is_forged:
        rows, tokens, id_bytes, width = (data.draw(st.integers(*r)) for r in ((0, 3), (0, 3), (0, 3), (1, 4)))
        size = 8 * rows + id_bytes + width * tokens
        small = st.integers(0, 3).map(lambda n: n.to_bytes(4, "little"))
        lengths = data.draw(st.lists(small, min_size=2 * rows, max_size=2 * rows).map(b"".join))
        noise = forged(rows, tokens, id_bytes, (lengths + noise.ljust(size, b"a"))[:size], width=width)
    try:
        found = read(noise)
    except PayloadError:
        return
    found.ids.validate(full=True)
    assert found.tokens.offsets[-1] == found.tokens.values.size
    assert found.tokens.values.min(initial=0) >= 0


HOSTILE_PAYLOADS = {
    "empty": (b"", "not a payload"),
    "text": (b"id,text\n" * 20, "not a payload"),
    "header-cut": (forged()[:63], "not a payload"),
    "a-trillion-tokens": (forged(rows=1, tokens=10**12, body=bytes(8)), "1,000,000,000,000 tokens"),
    "all-ones": (forged(rows=2**32 - 1, tokens=2**64 - 1, id_bytes=2**64 - 1), "are allowed"),
    "two-billion-tokens": (forged(rows=1, tokens=2**31 - 1, body=bytes(8)), "the file has 72"),
    "many-rows": (forged(rows=2**24), "the header claims 134,217,792 bytes"),
    "sizes-wrap-around": (forged(rows=1, tokens=2**63, body=bytes(8)), "are allowed"),
    "bytes-after-the-end": (forged(1, 0, 0, bytes(9)), "the header claims 72 bytes, the file has 73"),
    "width-3": (forged(width=3), "3 bytes per token id"),
    "version-2": (forged(version=2), "payload version 2"),
    "lengths-too-long": (forged(1, 1, 0, struct.pack("<IIH", 2, 0, 5)), "don't add up"),
    "lengths-wrap-around": (
        forged(3, 1, 0, struct.pack("<6IH", 2**31, 2**31, 1, 0, 0, 0, 5)),
        "don't add up",
    ),
    "id-lengths-too-long": (forged(1, 1, 1, struct.pack("<II", 1, 9) + b"a" + bytes(2)), "don't add up"),
    "id-not-utf-8": (forged(1, 1, 1, struct.pack("<II", 1, 1) + b"\xff" + bytes(2)), "not UTF-8"),
    "id-cut-in-a-letter": (
        forged(2, 0, 2, struct.pack("<4I", 0, 0, 1, 1) + "é".encode()),
        "not UTF-8",
    ),
    "id-surrogate": (forged(1, 0, 3, struct.pack("<2I", 0, 3) + b"\xed\xa0\x80"), "not UTF-8"),
    "token-above-int32": (forged(1, 1, 0, struct.pack("<III", 1, 0, 2**31), width=4), "2^31 or more"),
    "digest-wrong": (forged(1, 1, 1, struct.pack("<IIcH", 1, 1, b"a", 7))[:-1] + b"\x01", "damaged"),
}


def test_hostile_files_are_as_stated():
    """The folder of hostile payloads has exactly the bytes that are made here; missing files are written."""
    HOSTILE.mkdir(parents=True, exist_ok=True)
    for name, (blob, _) in HOSTILE_PAYLOADS.items():
        path = HOSTILE / f"{name}.rows"
        if not path.exists():
            path.write_bytes(blob)
        assert path.read_bytes() == blob, name
    assert {path.stem for path in HOSTILE.iterdir()} == set(HOSTILE_PAYLOADS)


@pytest.mark.parametrize("name", HOSTILE_PAYLOADS)
def test_hostile_files(name):
    """Each hostile payload is refused with its reason, and costs next to no memory."""
    blob, reason = HOSTILE_PAYLOADS[name]
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError) as caught:
            read(blob)
        assert reason in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_header_alone(tmp_path):
    """Rows and tokens are read off the header alone, and are never more than a file can hold."""
    file = tmp_path / "x.rows"
    for blob, header in (
        (forged(rows=2**32 - 1, tokens=10**12), (2**24, 2**31 - 1)),
        (forged(rows=3, tokens=5), (3, 5)),
        (b"short", (0, 0)),
    ):
        file.write_bytes(blob)
        assert payload.read_header(file) == header
