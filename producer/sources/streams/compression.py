"""Byte chunks of an input, decompressed as they are read; memory is bounded for any compression ratio."""

# Over 150 lines: two compressions, and what each shows of damage.

import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

from producer.sources.errors import CorruptInputError, DamagedInputError, TruncatedInputError
from producer.sources.options import Compression

CHUNK_BYTES = 256 * 1024
# Zstandard compresses at most 128 KiB into 4 bytes, so this many bytes become at most 16 MiB.
_ZSTD_INPUT_BYTES = 512
_GZIP_WBITS = 16 + zlib.MAX_WBITS

MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
# First bytes of frames that Zstandard readers skip, 0x184D2A50 to 0x184D2A5F; parallel compressors write them.
_ZSTD_SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))


class ByteStream(Protocol):
    """A file that is read from its start to its end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def sniff(head: bytes) -> Compression:
    """Recognize the compression by an input's first bytes; UTF-8 text can't begin with any of them."""
    if head.startswith(MAGIC["gzip"]):
        return "gzip"
    if head.startswith((MAGIC["zstd"], *_ZSTD_SKIPPABLE)):
        return "zstd"
    return "none"


def read_chunks(
    file: ByteStream, compression: Compression | None, on_bytes: Callable[[int], None] | None = None
) -> Iterator[bytes]:
    """Yield the content in non-empty chunks of about CHUNK_BYTES, at most 16 MiB.

    Args:
        file: opened for binary reading.
        compression: the compression of the file; None to recognize it by the first bytes.
        on_bytes: called with the number of bytes of the file that have been read since the last call.

    Raises:
        DamagedInputError: the file can't be read, or the compressed data is truncated or corrupt. It is raised after
            all intact content has been yielded, and what corrupt data became before its checksum.
    """
    raw = raw_chunks(file, on_bytes)
    first = next(raw, b"")
    yield from unpacked(chain([first], raw) if first else raw, sniff(first) if compression is None else compression)


def unpacked(raw: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    """Yield the content of raw chunks, as `read_chunks` does."""
    if compression == "none":
        yield from raw
    else:
        yield from _gathered(_gunzip(raw) if compression == "gzip" else _unzstd(raw))


def raw_chunks(file: ByteStream, on_bytes: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """Yield the bytes of a file as they are, in chunks of at most CHUNK_BYTES.

    Raises:
        DamagedInputError: the file can't be read.
    """
    while True:
        try:
            chunk = file.read(CHUNK_BYTES)
        except OSError as error:
            raise DamagedInputError(f"can't be read ({error.strerror or error})") from error
        if not chunk:
            return
        if on_bytes is not None:
            on_bytes(len(chunk))
        yield chunk


def _gathered(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Join small chunks into ones of at least CHUNK_BYTES, because each chunk has a fixed cost."""
    pieces: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except DamagedInputError:
        # The content before the damage may be intact.
        if pieces:
            yield b"".join(pieces)
        raise
    if pieces:
        yield b"".join(pieces)


def _gunzip(raw: Iterator[bytes]) -> Iterator[bytes]:
    member, given = zlib.decompressobj(_GZIP_WBITS), False
    try:
        for chunk in raw:
            rest = chunk
            while rest:
                if member.eof:
                    # gzip allows zeros between members; files from tapes have them.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member, given = zlib.decompressobj(_GZIP_WBITS), False
                piece = member.decompress(rest, CHUNK_BYTES)
                rest = member.unused_data if member.eof else member.unconsumed_tail
                if piece:
                    given = True
                    yield piece
        # zlib keeps output that didn't fit into a full chunk.
        while not member.eof and (piece := member.decompress(b"", CHUNK_BYTES)):
            yield piece
    except zlib.error as error:
        kind = CorruptInputError if given else DamagedInputError
        raise kind(f"the gzip data is corrupt ({error})") from error
    if not member.eof:
        raise TruncatedInputError("the gzip data is truncated")


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415 - imported only if an input needs it

    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    begun = False  # whether the frame has a byte: an empty one isn't truncated
    given = False  # whether there was content: a frame without a checksum may have given a wrong one
    try:
        for chunk in raw:
            for start in range(0, len(chunk), _ZSTD_INPUT_BYTES):
                rest = chunk[start : start + _ZSTD_INPUT_BYTES]
                while rest:
                    begun = True
                    piece = frame.decompress(rest)
                    rest = b""
                    if frame.eof:
                        rest = frame.unused_data
                        frame, begun = decompressor.decompressobj(), False
                    if piece:
                        given = True
                        yield piece
    except zstandard.ZstdError as error:
        kind = CorruptInputError if given else DamagedInputError
        raise kind(f"the zstd data is corrupt or needs too much memory ({error})") from error
    if begun:
        raise TruncatedInputError("the zstd data is truncated")
