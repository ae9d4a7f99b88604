"""The seal of a file: what it notices, and that it doesn't depend on how the file was written."""

import io
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128

from unrolled.errors import FileFormatError
from unrolled.format.seal import SEAL_BYTES, Sealing, check_seal

FOOTER = b"footer" + (6).to_bytes(4, "little") + b"PAR1"


def sealed(portions):
    file = io.BytesIO()
    sealing = Sealing(file)
    for portion in [*portions, FOOTER]:
        sealing.write(portion)
    sealing.finish()
    return file.getvalue()


@given(st.lists(st.binary(max_size=30)))
def test_portions_make_no_difference(portions):
    """Only the bytes count; memoryviews are as good as bytes."""
    whole = b"".join(portions)
    assert sealed([memoryview(np.frombuffer(portion, np.uint8)) for portion in portions]) == sealed([whole])
    assert sealed([whole]) == whole + b"unrolled" + xxh3_128(whole + FOOTER).digest() + FOOTER


def test_the_digest_is_xxh3_as_it_is_published():
    """Not another hash, seed or byte order of this library's: the test vectors of xxHash itself."""
    assert xxh3_128(b"").hexdigest() == "99aa06d3014798d86001c324468d497f"
    assert xxh3_128(b"abc").digest().hex() == "06b05ab6733a618578af5f94892f3950"


@settings(max_examples=50)
@given(st.binary(max_size=3_000_000 // 1000).map(lambda some: some * 1000))
def test_a_sealed_file_is_sound(body):
    """However large; it contains the body and the footer as they were written, one before and one after the seal."""
    content = sealed([body])
    check_seal(io.BytesIO(content))
    assert content.startswith(body)
    assert content.endswith(FOOTER)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 40])
def test_any_flipped_bit_and_any_cut_is_noticed(size):
    """In the body, the seal, the footer or its length."""
    content = sealed([bytes(range(size))])
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileFormatError, match="not the bytes that were published"):
            check_seal(io.BytesIO(flipped))
    for end in range(len(content)):
        with pytest.raises(FileFormatError):
            check_seal(io.BytesIO(content[:end]))


@pytest.mark.parametrize(
    "golden", sorted(Path(__file__).parents[2].glob("golden*/*.parquet")), ids=lambda path: path.name
)
def test_no_reader_minds_the_seal(tmp_path, golden):
    """Readers see in a sealed file what they see in the file without its seal."""
    content = golden.read_bytes()
    check_seal(io.BytesIO(content))
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    path = tmp_path / golden.name
    path.write_bytes(content[: footer - SEAL_BYTES] + content[footer:])
    assert pq.read_table(golden, page_checksum_verification=True).equals(pq.read_table(path))
    assert pl.read_parquet(golden).equals(pl.read_parquet(path))
    found, expected = (duckdb.sql(f"SELECT * FROM '{each}' ORDER BY id").fetchall() for each in (golden, path))
    assert repr(found) == repr(expected)


def test_a_file_without_a_seal_is_reported():
    """Another program wrote it."""
    with pytest.raises(FileFormatError, match="another program"):
        check_seal(io.BytesIO(b"PAR1" + bytes(100) + FOOTER))
