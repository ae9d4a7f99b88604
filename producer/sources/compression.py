"""Byte chunks of an input, decompressed as they are read; memory stays bounded whatever the ratio."""

import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import BinaryIO

from producer.sources.errors import DamagedInputError
from producer.sources.options import Compression

CHUNK_BYTES = 256 * 1024
# Zstandard packs at most 128 KiB into 4 bytes: this much input can't become more than 16 MiB at a time.
_ZSTD_INPUT_BYTES = 512
_GZIP_WBITS = 16 + zlib.MAX_WBITS

MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
# Frames that Zstandard readers skip, as parallel compressors write in front: 0x184D2A50 to 0x184D2A5F.
_ZSTD_SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))


def sniff(head: bytes) -> Compression:
    """Tell the compression by an input's first bytes; neither magic can begin UTF-8 text."""
    if head.startswith(MAGIC["gzip"]):
        return "gzip"
    if head.startswith((MAGIC["zstd"], *_ZSTD_SKIPPABLE)):
        return "zstd"
    return "none"


def read_chunks(
    file: BinaryIO, compression: Compression | None, on_bytes: Callable[[int], None] | None = None
) -> Iterator[bytes]:
    """Yield the content in non-empty chunks, of about CHUNK_BYTES (16 MiB at the very most).

    Args:
        file: opened for binary reading.
        compression: what is to be undone; None goes by the first bytes.
        on_bytes: told how many bytes of the file itself have been read since the last call.

    Raises:
        DamagedInputError: reading failed, or the compressed data is truncated or corrupt; raised after all
            that was intact has been yielded.
    """
    raw = _raw_chunks(file, on_bytes)
    first = next(raw, b"")
    raw = chain([first], raw) if first else raw
    compression = sniff(first) if compression is None else compression
    if compression == "none":
        yield from raw
    else:
        yield from _gathered(_gunzip(raw) if compression == "gzip" else _unzstd(raw))


def _raw_chunks(file: BinaryIO, on_bytes: Callable[[int], None] | None) -> Iterator[bytes]:
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
    """Join small chunks, so that what follows works on batches worth their overhead."""
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= CHUNK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
    except DamagedInputError:
        # What came out before the damage is intact.
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _gunzip(raw: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_WBITS)
    try:
        for chunk in raw:
            rest = chunk
            while rest:
                if member.eof:
                    # Members may be padded with zeros (tape blocks), as gzip itself allows.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    member = zlib.decompressobj(_GZIP_WBITS)
                piece = member.decompress(rest, CHUNK_BYTES)
                rest = member.unused_data if member.eof else member.unconsumed_tail
                if piece:
                    yield piece
        # A full buffer may have left output behind in zlib.
        while not member.eof and (piece := member.decompress(b"", CHUNK_BYTES)):
            yield piece
    except zlib.error as error:
        raise DamagedInputError(f"the gzip data is corrupt ({error})") from error
    if not member.eof:
        raise DamagedInputError("the gzip data is truncated")


def _unzstd(raw: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # noqa: PLC0415  (only where an input needs it)

    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    begun = False  # a frame that has no byte yet is not a truncated one
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
                        yield piece
    except zstandard.ZstdError as error:
        raise DamagedInputError(f"the zstd data is corrupt or needs too much memory ({error})") from error
    if begun:
        raise DamagedInputError("the zstd data is truncated")
