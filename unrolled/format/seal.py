"""The seal of a published file: a digest of all its bytes, stored in the file itself.

Pages have checksums, but the rest of a Parquet file (its footer, the pages' headers) has none: a flipped bit there may
leave the rows readable and make a query skip some of them. So the 24 bytes between the last row group and the footer,
where no reader looks, are `unrolled` and the 16 bytes of the XXH3-128 digest (seed 0, big-endian) of all other bytes
of the file, in order.

XXH3 runs at the speed of memory. It finds damage, not malice: anybody who can write the file can also seal it.
Reading files doesn't need it, so it is part of the extras that write or verify them.
"""

from typing import BinaryIO

from xxhash import xxh3_128

from unrolled.errors import FileFormatError

MARK = b"unrolled"
SEAL_BYTES = len(MARK) + 16
_BLOCK = 1 << 20
#: The last bytes of a Parquet file are the footer's length and "PAR1".
_TAIL = 8


class Sealing:
    """A file that is written to, and sealed before the last bytes that were written: its footer, in one `write`.

    Args:
        file: the file to write; binary, open for writing, empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = xxh3_128()
        self._last = b""

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes, which reach the file with the next call, or a memoryview, which reaches it at once."""
        self._pass_on(self._last)
        if isinstance(data, bytes):
            self._last = data
        else:  # a page, which is still in the processor's cache
            self._last = b""
            self._pass_on(data)
        return len(data)

    def finish(self) -> None:
        """Write the seal, and the footer after it."""
        self._hash.update(self._last)
        self._file.write(MARK + self._hash.digest() + self._last)

    def _pass_on(self, data: bytes | memoryview) -> None:
        self._hash.update(data)
        self._file.write(data)


def check_seal(file: BinaryIO) -> None:
    """Compare a file with its seal, reading a mebibyte at a time.

    Args:
        file: binary, open for reading, with `seek`.

    Raises:
        FileFormatError: at least one bit is not as it was published.
        OSError: the file can't be read.
    """
    found = xxh3_128()
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    footer = int.from_bytes(file.read(4), "little")
    left = body = size - _TAIL - footer - SEAL_BYTES
    file.seek(0)
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        found.update(block)
        left -= len(block)
    seal = file.read(SEAL_BYTES)
    found.update(file.read())
    if body < 0 or seal != MARK + found.digest():
        raise FileFormatError(
            "not the bytes that were published: damaged, or rewritten by another program; restore it from a copy"
        )
