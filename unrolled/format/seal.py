"""A seal on a published file: a digest of all its bytes, in the file itself.

Pages have checksums of their own, but the rest of a Parquet file (its footer, the pages' headers) has none, and a bit
that flips there may leave the rows readable and have a query pass over some of them. So there stand, between the
last row group and the footer, where readers look for nothing, the eight bytes `unrolled` and sixteen of digest.

The digest is BLAKE2b over the number of bytes before the seal, the sum of their little-endian 8-byte words modulo 2^64
(the last one filled up with zeros), both as little-endian 8-byte integers, and the bytes after the seal. A sum runs as
fast as memory, notices any flipped bit, and is no more than the pages need beside their checksums.
"""

from hashlib import blake2b
from typing import BinaryIO

import numpy as np

from unrolled.errors import FileFormatError

MARK = b"unrolled"
_DIGEST_BYTES = 16
SEAL_BYTES = len(MARK) + _DIGEST_BYTES
_WORD = 8
_BLOCK = 1 << 20
#: The footer's length and "PAR1" are a Parquet file's last bytes.
_TAIL = 8


class WordSum:
    """The sum of 8-byte words of what it is given, in portions of any size.

    Attributes:
        size: bytes so far.
    """

    def __init__(self) -> None:
        self.size = 0
        self._sum = 0
        self._begun = b""  # of a word that goes on in the next portion

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes; of a memoryview, C-contiguous and of single bytes."""
        self.size += len(data)
        missing = -len(self._begun) % _WORD
        self._begun += bytes(data[:missing])
        if len(self._begun) == _WORD:
            self._sum += int.from_bytes(self._begun, "little")
            self._begun = b""
        if len(data) > missing:
            count, left = divmod(len(data) - missing, _WORD)
            # The sum of uint64 wraps around, which is what is wanted.
            self._sum += int(np.frombuffer(data, "<u8", count, missing).sum()) if count else 0
            self._begun = bytes(data[len(data) - left :])

    def digest(self, end: bytes) -> bytes:
        """The seal's digest, given the bytes that stand after it."""
        total = (self._sum + int.from_bytes(self._begun, "little")) % 2 ** (8 * _WORD)
        found = blake2b(self.size.to_bytes(8, "little"), digest_size=_DIGEST_BYTES)
        found.update(total.to_bytes(8, "little"))
        found.update(end)
        return found.digest()


class Sealing:
    """A file that is written to, and sealed before what was written last: its footer, as bytes, in one go.

    Args:
        file: where to; binary, open for writing, empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sum = WordSum()
        self._last = b""

    def write(self, data: bytes | memoryview) -> int:
        """Take bytes, which are in the file after the next call, or a memoryview, which is at once."""
        self._pass_on(self._last)
        if isinstance(data, bytes):
            self._last = data
        else:  # a page, which is still in the processor's cache
            self._last = b""
            self._pass_on(data)
        return len(data)

    def finish(self) -> None:
        """Write the seal, and the footer after it."""
        self._file.write(MARK + self._sum.digest(self._last) + self._last)

    def _pass_on(self, data: bytes | memoryview) -> None:
        self._sum.update(data)
        self._file.write(data)


def check_seal(file: BinaryIO) -> None:
    """Read a file, a mebibyte in memory at a time, and compare it with its seal.

    Args:
        file: binary, open for reading, with `seek`.

    Raises:
        FileFormatError: a bit of it isn't as it was published.
        OSError: it can't be read.
    """
    found = WordSum()
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - _TAIL))
    footer = int.from_bytes(file.read(4), "little")
    body = size - _TAIL - footer - SEAL_BYTES
    file.seek(0)
    while left := max(0, min(_BLOCK, body - found.size)):
        found.update(file.read(left))
    seal, end = file.read(SEAL_BYTES), file.read()
    if body < 0 or seal != MARK + found.digest(end):
        raise FileFormatError(
            "not the bytes that were published: damaged, or written by another program; restore it from a copy"
        )
