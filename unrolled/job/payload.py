"""The payload: a shard's rows as bytes, which a producer or a retry writes and a worker computes.

The layout, little-endian. Every number in the header is checked before memory is allocated:

| byte | content |
|---|---|
| 0 | `UNROLLED` |
| 8 | uint16: format version, 3 |
| 10 | uint16: bytes per token id, 2 or 4 |
| 12 | uint32: rows |
| 16 | uint64: token ids |
| 24 | uint64: bytes of row ids |
| 32 | uint32: bytes of facts |
| 36 | uint32: width of the vectors; 0 if the rows contain token ids |
| 40 | uint32: width of the initial states; 0 if rows bring none |
| 44 | SHA-256 of bytes 0 to 43 and of everything after byte 75 |
| 76 | facts (JSON), uint32[rows] row lengths, uint32[rows] id lengths, ids in UTF-8, token ids, states, vectors |

Rows of vectors are rows of ids: id i is row i - 1 of the table float32[vectors, width] at the end; 0 is padding. The
initial states are float32[rows, width].

The facts say to which job and shard the rows belong. The digest covers everything, so a shard's id, which contains
the beginning of the digest, is a function of everything in the shard: rows of another job or retry have another name.
"""

# Over 150 lines: the encoder of one format, and its decoder with every check.

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from unrolled.errors import PayloadError
from unrolled.tokenization.ragged import Ragged, offsets_of

MAGIC = b"UNROLLED"
VERSION = 3
_HEADER = struct.Struct("<8sHHIQQIII32s")
HEADER_BYTES = _HEADER.size
#: How many bytes of the header its digest covers: all bytes before the digest.
_HASHED = HEADER_BYTES - 32
#: Arrow's list offsets are int32, so a file can't hold more tokens than this.
MAX_TOKENS = 2**31 - 1
MAX_ROWS = 2**24
MAX_ID_BYTES = 2**31 - 1
MAX_FACT_BYTES = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Payload:
    """The rows of one shard.

    Attributes:
        ids: one string per row.
        tokens: token ids as they were read, padding zeros included; or numbers of vectors, with their table.
        facts: to which job and shard the rows belong, for JSON.
    """

    ids: pa.StringArray
    tokens: Ragged
    facts: dict[str, Any] = field(default_factory=dict)


def strings(texts: Sequence[str]) -> pa.StringArray:
    """Texts as an array. `pa.array` would load pandas, where that is installed, which takes 0.2 s.

    Raises:
        UnicodeEncodeError: a text contains a lone surrogate.
    """
    encoded = [text.encode() for text in texts]
    lengths = np.fromiter(map(len, encoded), np.uint32, len(encoded))
    return _string_array(offsets_of(lengths).astype(np.int32), b"".join(encoded))


def encode(payload: Payload) -> bytes:
    """The payload's bytes, a function of its rows and facts. Token ids take 2 bytes each if all of them fit.

    Raises:
        PayloadError: a token id is negative, there is no vector of its number, or states aren't one for each row.
    """
    values, _, vectors, states = payload.tokens
    lengths = payload.tokens.lengths
    if values.size and int(values.min()) < 0:
        raise PayloadError(f"token id {int(values.min())} is negative; 0 is padding, words are 1 and up")
    if vectors is not None and int(values.max(initial=0)) > len(vectors):
        raise PayloadError(f"vector {int(values.max())} is named, but the table has {len(vectors)}")
    if states is not None and len(states) != len(lengths):
        raise PayloadError(f"{len(states)} initial states are given for {len(lengths)} rows; give one for each")
    width = 2 if not values.size or int(values.max()) < 2**16 else 4
    id_offsets, id_bytes = _string_buffers(payload.ids)
    facts = json.dumps(payload.facts, sort_keys=True).encode()
    if len(facts) > MAX_FACT_BYTES:
        raise PayloadError(f"the facts of a shard take {len(facts):,} bytes; {MAX_FACT_BYTES:,} are allowed")
    body = b"".join(
        (
            facts,
            lengths.astype("<u4").tobytes(),
            np.diff(id_offsets).astype("<u4").tobytes(),
            id_bytes,
            values.astype(f"<u{width}").tobytes(),
            b"" if states is None else states.astype("<f4").tobytes(),
            b"" if vectors is None else vectors.astype("<f4").tobytes(),
        )
    )
    dims = (0 if table is None else table.shape[1] for table in (vectors, states))
    header = _HEADER.pack(MAGIC, VERSION, width, len(lengths), values.size, len(id_bytes), len(facts), *dims, b"")
    return header[:_HASHED] + _digest(header, body) + body


def content_hash(blob: bytes) -> str:
    """Twelve hexadecimal digits that name this content: `ShardId.hash`."""
    return blob[_HASHED : _HASHED + 6].hex()


class Header(NamedTuple):
    """Sizes from a payload's header, unchecked.

    Attributes:
        rows: at most `MAX_ROWS`.
        tokens: token ids, padding included; at most `MAX_TOKENS`.
        number_bytes: the most bytes that the table of vectors and the initial states can have; 0 if rows are only token
            ids.
    """

    rows: int
    tokens: int
    number_bytes: int = 0


def read_header(content: bytes) -> Header:
    """Read a header from at least the first `HEADER_BYTES` bytes; zeros if the content is shorter."""
    if len(content) < HEADER_BYTES:
        return Header(0, 0)
    _, _, _, rows, tokens, _, _, vector_dim, state_dim, _ = _HEADER.unpack_from(content)
    rows, tokens = min(rows, MAX_ROWS), min(tokens, MAX_TOKENS)
    return Header(rows, tokens, 4 * (vector_dim * tokens + state_dim * rows))


def decode_as(name: str, content: bytes) -> Payload:
    """Read a payload that must have this `content_hash`.

    Raises:
        PayloadError: it has another hash, its header doesn't fit the content, or the content is damaged.
    """
    _checked_header(content[:HEADER_BYTES], len(content))  # in another version, the digest is in another place
    if content_hash(content) != name:
        raise PayloadError("they are others than its name says")
    return decode(content)


def decode(content: bytes) -> Payload:
    """Read a payload.

    Raises:
        PayloadError: the header doesn't fit the content, or the content is damaged.
    """
    sizes = _checked_header(content[:HEADER_BYTES], len(content))
    width, rows, tokens, id_bytes, fact_bytes, vector_dim, state_dim, digest = sizes
    body = memoryview(content)[HEADER_BYTES:]
    if _digest(content[:HEADER_BYTES], body) != digest:
        raise PayloadError("the payload is damaged: its SHA-256 is not the one in its header")
    try:
        facts = json.loads(bytes(body[:fact_bytes]))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise PayloadError("the payload's facts are no JSON object")
    body = body[fact_bytes:]
    lengths = np.frombuffer(body, "<u4", rows)
    id_lengths = np.frombuffer(body, "<u4", rows, 4 * rows)
    if int(lengths.sum(dtype=np.uint64)) != tokens or int(id_lengths.sum(dtype=np.uint64)) != id_bytes:
        raise PayloadError("the payload's row lengths don't add up to its header's totals")
    values = np.frombuffer(body, f"<u{width}", tokens, 8 * rows + id_bytes)
    if width == 4 and tokens and int(values.max()) >= 2**31:  # noqa: PLR2004 - int32's end
        raise PayloadError("the payload holds a token id of 2^31 or more")
    end = 8 * rows + id_bytes + width * tokens
    states = _numbers(body[end : end + 4 * rows * state_dim], state_dim, "an initial state") if state_dim else None
    vectors = _numbers(body[end + 4 * rows * state_dim :], vector_dim, "a vector") if vector_dim else None
    if vectors is not None and int(values.max(initial=0)) > len(vectors):
        raise PayloadError(f"the payload names vector {int(values.max())}, but its table has {len(vectors)}")
    ids = _string_array(offsets_of(id_lengths).astype(np.int32), bytes(body[8 * rows : 8 * rows + id_bytes]))
    return Payload(ids, Ragged.from_lengths(values.astype(np.int32), lengths, vectors, states), facts)


def _numbers(table: memoryview, width: int, what: str) -> NDArray[np.float32]:
    """A table of vectors or of states, float32 (any number, width)."""
    numbers = np.frombuffer(table, "<f4").astype(np.float32).reshape(-1, width)
    if not np.isfinite(numbers).all():
        raise PayloadError(f"the payload holds {what} with a number that is NaN or infinite")
    return numbers


def _digest(header: bytes, body: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(header[:_HASHED])
    digest.update(body)
    return digest.digest()


def _checked_header(header: bytes, size: int) -> tuple[int, int, int, int, int, int, int, bytes]:
    if not MAGIC.startswith(header[:8]):
        raise PayloadError(f"not a payload: it begins with {header[:8]!r}, a payload begins with {MAGIC!r}")
    if size < HEADER_BYTES:
        raise PayloadError(f"cut off: the file has {size:,} bytes, a header {HEADER_BYTES}")
    _, version, width, rows, tokens, id_bytes, fact_bytes, vector_dim, state_dim, digest = _HEADER.unpack(header)
    if version != VERSION:
        raise PayloadError(
            f"payload version {version}; this release reads {VERSION}: use the release of unrolled that wrote it"
        )
    if width not in (2, 4):
        raise PayloadError(f"{width} bytes per token id; 2 or 4 are allowed")
    if rows > MAX_ROWS or tokens > MAX_TOKENS or id_bytes > MAX_ID_BYTES or fact_bytes > MAX_FACT_BYTES:
        raise PayloadError(
            f"the header claims {rows:,} rows, {tokens:,} tokens, {id_bytes:,} bytes of ids and {fact_bytes:,} of "
            "facts; "
            f"{MAX_ROWS:,}, {MAX_TOKENS:,}, {MAX_ID_BYTES:,} and {MAX_FACT_BYTES:,} are allowed"
        )
    expected = HEADER_BYTES + fact_bytes + 8 * rows + id_bytes + width * tokens + 4 * rows * state_dim
    # The table of vectors is all that follows: whole vectors, at most one for each token.
    rest = size - expected
    most = 4 * vector_dim * tokens
    if not 0 <= rest <= most or (rest and rest % (4 * vector_dim)):
        raise PayloadError(f"the header claims {_bytes(expected, most)} bytes, the file has {size:,}")
    return width, rows, tokens, id_bytes, fact_bytes, vector_dim, state_dim, digest


def _bytes(least: int, more: int) -> str:
    return f"{least:,} to {least + more:,}" if more else f"{least:,}"


def _string_array(offsets: NDArray[np.int32], data: bytes) -> pa.StringArray:
    array = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise PayloadError(f"the payload's row ids are not UTF-8: {error}") from error
    return array


def _string_buffers(ids: pa.StringArray) -> tuple[NDArray[np.int32], bytes]:
    """Offsets and the bytes between the first and the last, of an array without nulls, sliced or not."""
    _, offsets, data = ids.buffers()
    if not len(ids):
        return np.zeros(1, np.int32), b""
    starts = np.frombuffer(offsets, np.int32, len(ids) + 1, offset=4 * ids.offset)
    return starts, data.slice(starts[0], starts[-1] - starts[0]).to_pybytes() if data is not None else b""
