"""Payloads: what goes in comes out, and nothing else gets through."""

import hashlib
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
from unrolled.job.payload import HEADER_BYTES, MAX_FACT_BYTES, Payload, decode, encode
from unrolled.tokenization.ragged import Ragged
from unrolled.tokenization.vectors import VectorRow, numbered

HOSTILE = Path(__file__).parents[2] / "hostile" / "payloads"

IDS = st.text(max_size=12)
TOKENS = st.one_of(st.integers(0, 3), st.integers(2**16 - 2, 2**16 + 1), st.integers(0, 2**31 - 1))
ROWS = st.lists(st.tuples(IDS, st.lists(TOKENS, max_size=6)), max_size=10)


FACTS = {"job": "0123456789abcdef", "index": 7, "source": None}


def payload_of(rows, facts=None):
    tokens = [row for _, row in rows]
    offsets = np.cumsum([0, *map(len, tokens)], dtype=np.int64)
    values = np.array([token for row in tokens for token in row], np.int32)
    return Payload(pa.array([row_id for row_id, _ in rows], pa.string()), Ragged(values, offsets), facts or {})


def rows_of(found):
    values, offsets, *_ = found.tokens
    rows = [values[a:b].tolist() for a, b in pairwise(offsets)]
    return list(zip(found.ids.to_pylist(), rows, strict=True))


def forged(
    rows=0,
    tokens=0,
    id_bytes=0,
    body=b"",
    *,
    width=2,
    version=3,
    facts=b"{}",
    fact_bytes=None,
    vector_dim=0,
    state_dim=0,
):
    """A payload with a right digest, whatever its header claims."""
    fact_bytes = len(facts) if fact_bytes is None else fact_bytes
    sizes = (rows, tokens, id_bytes, fact_bytes, vector_dim, state_dim)
    header = struct.pack("<8sHHIQQIII", b"UNROLLED", version, width, *sizes)
    return header + hashlib.sha256(header + facts + body).digest() + facts + body


@given(
    st.lists(st.lists(st.sampled_from([(0.0, 1.0), (-0.0, 1.0), (2.5, -1e38)]), max_size=4), max_size=4), st.booleans()
)
def test_round_trip_of_vectors(rows, masked):
    """Rows of vectors are read as they were written: each vector in the table once, by its bits; 0 is padding."""
    given = [np.array(row, np.float32).reshape(-1, 2) for row in rows]
    real = [np.array([not masked or x < 1 for x, _ in row], np.bool_) for row in rows]
    tokens = numbered([VectorRow(*pair) for pair in zip(given, real, strict=True)], 2)
    ids = pa.array([str(number) for number in range(len(rows))], pa.string())
    found = decode(encode(Payload(ids, tokens, FACTS))).tokens
    steps = np.concatenate([np.empty((0, 2), np.float32), *given])
    assert len(found.vectors) == len({vector.tobytes() for vector in steps[found.values > 0]})
    np.testing.assert_array_equal(found.values > 0, np.concatenate([np.empty(0, np.bool_), *real]))
    read = found.vectors[found.values[found.values > 0] - 1]
    assert read.tobytes() == steps[found.values > 0].tobytes()
    np.testing.assert_array_equal(found.lengths, [len(row) for row in rows])


@given(st.lists(st.lists(st.integers(0, 3), max_size=3), max_size=4), st.integers(1, 3), st.booleans())
def test_round_trip_of_initial_states(rows, width, has_vectors):
    """They are read as they were written, in every bit, beside ids or vectors."""
    states = np.random.default_rng(0).standard_normal((len(rows), width), np.float32)
    states[:1] = -0.0
    # The table has at most one vector for each token.
    given_vectors = has_vectors and sum(map(len, rows)) > 2
    vectors = np.arange(9, dtype=np.float32).reshape(3, 3) if given_vectors else None
    given = payload_of([("", row) for row in rows])
    given = Payload(given.ids, given.tokens._replace(vectors=vectors, states=states), FACTS)
    found = decode(encode(given)).tokens
    assert found.states.tobytes() == states.tobytes()
    np.testing.assert_array_equal(found.values, given.tokens.values)
    assert vectors is None or found.vectors.tobytes() == vectors.tobytes()


def test_as_many_initial_states_as_rows():
    """Another number would give rows the states of others."""
    tokens = payload_of([("", [1]), ("", [2])]).tokens._replace(states=np.zeros((3, 1), np.float32))
    with pytest.raises(PayloadError, match="3 initial states are given for 2 rows"):
        encode(Payload(pa.array(["a", "b"]), tokens))


@settings(deadline=None)
@given(ROWS)
def test_round_trip(rows):
    """Any ids and any ragged tokens are read as they were written, as int32 and int64."""
    found = decode(encode(payload_of(rows, FACTS)))
    assert rows_of(found) == rows
    assert found.facts == FACTS
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
    assert encode(sliced) == encode(payload_of(rows))


def test_offsets_that_begin_late():
    """An id array whose first offset isn't 0, as files may give, encodes like any other."""
    offsets = pa.py_buffer(np.array([3, 4, 6], np.int32))
    ids = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"xyzabc-"))
    found = decode(encode(Payload(ids, payload_of([("", [1]), ("", [])]).tokens)))
    assert rows_of(found) == [("a", [1]), ("bc", [])]


@pytest.mark.parametrize(("largest", "width"), [(0, 2), (2**16 - 1, 2), (2**16, 4), (2**31 - 1, 4)])
def test_width(largest, width):
    """Token ids take two bytes where all of them fit, four otherwise."""
    blob = encode(payload_of([("a", [0, largest])]))
    assert len(blob) == HEADER_BYTES + len("{}") + 8 + 1 + 2 * width
    assert rows_of(decode(blob)) == [("a", [0, largest])]


def test_exact_bytes():
    """The format is what the module says: these bytes, in this order."""
    blob = encode(payload_of([("é", [7, 0]), ("", [])], {"b": "ü", "a": 1}))
    facts = b'{"a": 1, "b": "\\u00fc"}'
    body = facts + struct.pack("<2I2I", 2, 0, 2, 0) + "é".encode() + struct.pack("<2H", 7, 0)
    assert blob[:44] == b"UNROLLED" + struct.pack("<HHIQQIII", 3, 2, 2, 2, 2, len(facts), 0, 0)
    assert blob[44:76] == hashlib.sha256(blob[:44] + body).digest()
    assert blob[76:] == body
    assert payload.content_hash(blob) == blob[44:50].hex()


def test_whose_rows_they_are_is_in_their_name():
    """The same rows of another job, or of another place in it, have another name."""
    rows = [("a", [1, 2])]
    names = {
        payload.content_hash(encode(payload_of(rows, FACTS | change)))
        for change in ({}, {"job": "f" * 16}, {"index": 8}, {"source": "000007-0123456789ab"})
    }
    assert len(names) == 4


def test_facts_are_bounded():
    """They are small, whatever a name in them is like."""
    assert decode(encode(payload_of([], {"file": "x" * (MAX_FACT_BYTES - 12)}))).facts["file"]
    with pytest.raises(PayloadError, match="65,537 bytes; 65,536 are allowed"):
        encode(payload_of([], {"file": "x" * (MAX_FACT_BYTES - 11)}))


def test_negative_tokens():
    """A negative token id is refused, because it would be read as another one."""
    with pytest.raises(PayloadError, match="token id -1 is negative"):
        encode(payload_of([("a", [-1])]))


@pytest.mark.parametrize("rows", [[], [("", [])], [("é", [1, 2, 0]), ("b", [70_000])]])
def test_every_mutation_is_refused(rows):
    """Whichever single byte is changed, and wherever the file is cut or goes on, it is a PayloadError."""
    blob = encode(payload_of(rows, FACTS))
    for place in range(len(blob)):
        for change in (1, 2, 6, 0x80, 0xFF):
            damaged = bytearray(blob)
            damaged[place] ^= change
            with pytest.raises(PayloadError):
                decode(bytes(damaged))
    for size in range(len(blob)):
        with pytest.raises(PayloadError):
            decode(blob[:size])
    with pytest.raises(PayloadError):
        decode(blob + b"\0")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.booleans(), st.data())
def test_any_bytes(noise, is_forged, data):
    """Whatever a file holds, even under a header and a digest that fit, it gives rows or a PayloadError."""
    if is_forged:
        rows, tokens, id_bytes, width = (data.draw(st.integers(*r)) for r in ((0, 3), (0, 3), (0, 3), (1, 4)))
        size = 8 * rows + id_bytes + width * tokens
        small = st.integers(0, 3).map(lambda n: n.to_bytes(4, "little"))
        lengths = data.draw(st.lists(small, min_size=2 * rows, max_size=2 * rows).map(b"".join))
        facts = data.draw(st.sampled_from([b"", b"{}", b"[]", b"7", b'{"a": 1}', b"[" * 9_000]) | st.binary(max_size=9))
        noise = forged(rows, tokens, id_bytes, (lengths + noise.ljust(size, b"a"))[:size], width=width, facts=facts)
    try:
        found = decode(noise)
    except PayloadError:
        return
    found.ids.validate(full=True)
    assert isinstance(found.facts, dict)
    assert found.tokens.offsets[-1] == found.tokens.values.size
    assert found.tokens.values.min(initial=0) >= 0


HOSTILE_PAYLOADS = {
    "empty": (b"", "cut off: the file has 0 bytes, a header 76"),
    "text": (b"id,text\n" * 20, "not a payload"),
    "header-cut": (forged()[:75], "cut off: the file has 75 bytes, a header 76"),
    "magic-cut": (forged()[:5], "cut off: the file has 5 bytes"),
    "a-trillion-tokens": (forged(rows=1, tokens=10**12, body=bytes(8)), "1,000,000,000,000 tokens"),
    "all-ones": (forged(rows=2**32 - 1, tokens=2**64 - 1, id_bytes=2**64 - 1), "are allowed"),
    "two-billion-tokens": (forged(rows=1, tokens=2**31 - 1, body=bytes(8)), "the file has 86"),
    "many-rows": (forged(rows=2**24), "the header claims 134,217,806 bytes"),
    "sizes-wrap-around": (forged(rows=1, tokens=2**63, body=bytes(8)), "are allowed"),
    "bytes-after-the-end": (forged(1, 0, 0, bytes(9)), "the header claims 86 bytes, the file has 87"),
    "width-3": (forged(width=3), "3 bytes per token id"),
    "version-1": (forged(version=1), "payload version 1"),
    "version-4": (forged(version=4), "payload version 4"),
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
    "facts-too-long": (forged(fact_bytes=2**32 - 1), "4,294,967,295 of facts; 16,777,216"),
    "facts-beyond-the-end": (forged(fact_bytes=9), "the header claims 85 bytes, the file has 78"),
    "facts-are-a-list": (forged(facts=b"[]"), "facts are no JSON object"),
    "facts-not-utf-8": (forged(facts=b'{"a": "\xff"}'), "facts are no JSON object"),
    "facts-deep": (forged(facts=b"[" * 60_000), "facts are no JSON object"),
    "vector-cut": (forged(1, 1, 0, struct.pack("<IIHf", 1, 0, 1, 0), vector_dim=2), "claims 88 to 96 bytes"),
    "vectors-too-many": (forged(1, 1, 0, struct.pack("<IIHff", 1, 0, 1, 0, 0), vector_dim=1), "claims 88 to 92 bytes"),
    "vector-that-is-absent": (forged(1, 1, 0, struct.pack("<IIHf", 1, 0, 2, 0), vector_dim=1), "names vector 2"),
    "vector-not-finite": (
        forged(1, 1, 0, struct.pack("<IIHf", 1, 0, 1, float("nan")), vector_dim=1),
        "NaN or infinite",
    ),
    "state-cut": (forged(1, 1, 0, struct.pack("<IIHf", 1, 0, 1, 0), state_dim=2), "claims 96 bytes, the file has 92"),
    "states-too-many": (forged(1, 1, 0, struct.pack("<IIHff", 1, 0, 1, 0, 0), state_dim=1), "claims 92 bytes"),
    "states-of-four-billion": (forged(2**24, 0, 0, state_dim=2**32 - 1), "the header claims 288,230,376,"),
    "state-not-finite": (
        forged(1, 1, 0, struct.pack("<IIHf", 1, 0, 1, float("inf")), state_dim=1),
        "initial state with a number that is NaN or infinite",
    ),
    "vectors-of-four-billion": (forged(1, 1, 0, struct.pack("<IIH", 1, 0, 1), vector_dim=2**32 - 1), "names vector 1"),
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
            decode(blob)
        assert reason in str(caught.value)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_header_alone():
    """Rows and tokens are read off the header alone, and are never more than a file can hold."""
    for blob, header in (
        (forged(rows=2**32 - 1, tokens=10**12), (2**24, 2**31 - 1, 0)),
        (forged(rows=3, tokens=5), (3, 5, 0)),
        (forged(rows=3, tokens=5, vector_dim=7), (3, 5, 140)),
        (forged(rows=3, tokens=5, vector_dim=7, state_dim=2), (3, 5, 164)),
        (b"short", (0, 0, 0)),
    ):
        assert payload.read_header(blob[:HEADER_BYTES]) == header
